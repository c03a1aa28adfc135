import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import type { Engine, EngineOutput } from '../base/engine.ts';
import type { Random } from '../base/random.ts';
import { type Family, familyOf, isMartian, type ListedNode } from './addresses.ts';
import { Bootstrap } from './bootstrap.ts';
import { Connection, type FamilyState } from './connection.ts';
import { type DhtEvent, type DhtState, EventQueue } from './events.ts';
import { FastPath, type FastReply } from './fast-path.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import { Maintenance } from './maintenance.ts';
import type { OldUpdate, QueryMessage, UpdateQuery } from './message.ts';
import type { Node } from './node.ts';
import type { OperationId } from './operation.ts';
import { Operations } from './operations.ts';
import { Republisher } from './republisher.ts';
import { Restart } from './restart.ts';
import { RoutingTable, type TableEntry } from './routing-table.ts';
import { Rpc } from './rpc.ts';
import { Scheduler } from './scheduler.ts';
import type { SearchHost } from './search-host.ts';
import { Searches } from './searches.ts';
import { Server } from './server.ts';
import type { KeptValue, StateToKeep } from './state-file.ts';
import {
  DEFAULT_STORAGE_LIMITS,
  Storage,
  type StorageChange,
  type StorageLimits,
  type StoredValue,
} from './storage.ts';
import type { Query, Value } from './value.ts';
import type { ValuePolicy } from './value-types.ts';

export interface DhtOptions {
  /** Own node id, the same in both families. */
  readonly id: InfoHash;
  /** 0 is the main network. */
  readonly network?: number;
  /** The families that there is a socket for. */
  readonly families: readonly Family[];
  readonly random: Random;
  readonly policy: ValuePolicy;
  /**
   * Use the network without being part of it: every message asks others not to keep us (opendht.md 15.3). Whoever asks
   * us all the same is answered as by any node, stores included.
   */
  readonly client?: boolean;
  /** Our address does not change: listens are renewed every 290 s, not every 20, and lost searches blame no line. */
  readonly publicStable?: boolean;
  /** Hand values over to nodes that are closer to their keys, every 10 minutes; see also `leave`. Default false. */
  readonly republish?: boolean;
  readonly storage?: Partial<StorageLimits>;
  /** Default true: so many queries a second and no more (opendht.md 18.1). */
  readonly rateLimit?: boolean;
}

/**
 * A node of the DHT (opendht.md): it serves others and does what the program asks. Start reading here.
 *
 * `Rpc` turns datagrams into messages, known nodes and answered requests; `Server` answers queries out of `Storage`;
 * a `Search` for each key goes out for gets, puts and listens; `Maintenance` and `Bootstrap` keep us in touch.
 * IPv4 and IPv6 are separate DHTs with one id: each has its own table and searches, an operation runs in both.
 */
export class Dht implements Engine<DhtEvent> {
  readonly id: InfoHash;
  readonly #random: Random;
  readonly #publicStable: boolean;
  readonly #scheduler = new Scheduler();
  readonly #events = new EventQueue();
  readonly #rpc: Rpc;
  readonly #storage: Storage;
  readonly #server: Server;
  readonly #fastPath: FastPath;
  #reply: FastReply | undefined;
  readonly #bootstrap: Bootstrap;
  readonly #restart: Restart;
  readonly #families = new Map<Family, FamilyState>();
  readonly #searches = new Map<Family, Searches>();
  readonly #operations: Operations;
  readonly #connection: Connection;
  readonly #republisher: Republisher;
  /** Wall clock minus monotonic clock, ms. */
  #clockOffset: Millis | undefined;

  constructor(options: DhtOptions, now: Millis) {
    const { id, random, policy, network = 0, client = false, families } = options;
    this.id = id;
    this.#random = random;
    this.#publicStable = options.publicStable ?? false;
    this.#rpc = new Rpc({
      self: id,
      network,
      client,
      families,
      random,
      scheduler: this.#scheduler,
      rateLimit: options.rateLimit ?? true,
      handlers: {
        onQuery: (message, values, node, from, then) =>
          this.#onQuery(message, values, node, from, then),
        onHeard: (node, isReply, isNews, then) => this.#onHeard(node, isReply, isNews, then),
        onListed: (nodes, then) => {
          for (const node of nodes) this.#families.get(node.family)?.maintenance.listed(node, then);
        },
        onNodeExpired: (node, then) => this.#onNodeExpired(node, then),
      },
    });
    this.#storage = new Storage(
      this.#scheduler,
      { ...DEFAULT_STORAGE_LIMITS, ...options.storage },
      (change, stored, then) => this.#onStorageChange(change, stored, then),
    );
    this.#operations = new Operations({
      scheduler: this.#scheduler,
      random,
      policy,
      storage: this.#storage,
      events: this.#events,
      searches: this.#searches,
      unixMs: (then) => this.#unixMs(then),
    });
    const tables = new Map(families.map((family) => [family, new RoutingTable(id)] as const));
    this.#server = new Server(
      {
        self: id,
        rpc: this.#rpc,
        tables,
        storage: this.#storage,
        policy,
        wallClock: { unixMs: (then) => this.#unixMs(then) },
        random,
        listensHere: (key) => this.#operations.isListening(key),
      },
      now,
    );
    this.#fastPath = new FastPath({
      self: id,
      network,
      client,
      rpc: this.#rpc,
      tables,
      storage: this.#storage,
      server: this.#server,
    });
    this.#restart = new Restart({
      self: id,
      rpc: this.#rpc,
      tables,
      storage: this.#storage,
      policy,
    });
    this.#bootstrap = new Bootstrap(this.#rpc, this.#scheduler, {
      isConnected: () => this.#connection.lastState === 'connected',
      isSettled: (then) => {
        const { peers4, peers6 } = this.state(then);
        return peers4 + peers6 >= PROTOCOL.targetNodes;
      },
      onRound: () => this.#events.push({ type: 'bootstrap' }),
      // Who is near us on its side may be news to us.
      onAnswer: (node, then) => this.#families.get(node.family)?.maintenance.verify(node, then),
      onIdle: (then) => {
        this.#connection.update(then);
        this.#stepSearches(then);
      },
    });
    this.#connection = new Connection({
      self: id,
      rpc: this.#rpc,
      events: this.#events,
      families: this.#families,
      searches: this.#searches,
      bootstrap: this.#bootstrap,
      publicStable: this.#publicStable,
    });
    this.#republisher = new Republisher({
      self: id,
      scheduler: this.#scheduler,
      storage: this.#storage,
      tables,
      searches: this.#searches,
      unixMs: (then) => this.#unixMs(then),
      isListenedTo: (key) => this.#server.listeners.has(key) || this.#operations.isListening(key),
    });
    if (options.republish ?? false) this.#republisher.start(now);
    for (const [family, table] of tables) {
      const maintenance = new Maintenance(
        {
          self: id,
          rpc: this.#rpc,
          table,
          scheduler: this.#scheduler,
          random,
          dualStack: families.length > 1,
        },
        now,
      );
      this.#searches.set(family, new Searches(this.#searchHost(family)));
      this.#families.set(family, { table, maintenance });
    }
    this.#scheduleCleanUp(now);
  }

  // ---- Engine

  receive(packet: Uint8Array, from: Address, now: Millis): void {
    // Not fetched yet? Then it must not be overwritten.
    if (this.#reply !== undefined) this.#rpc.send(this.#reply.to, this.#reply.packet.slice());
    const reply = this.#fastPath.answer(packet, from, now);
    this.#reply = reply ?? undefined;
    if (reply === undefined) this.#rpc.receive(packet, from, now);
  }

  timeout(now: Millis): void {
    this.#scheduler.runDue(now);
  }

  nextTimeout(): Millis {
    return this.#scheduler.next();
  }

  poll(): EngineOutput<DhtEvent> | undefined {
    const reply = this.#reply;
    if (reply !== undefined) {
      this.#reply = undefined;
      return reply;
    }
    const sent = this.#rpc.poll();
    if (sent !== undefined) return sent;
    const event = this.#events.shift();
    return event === undefined ? undefined : { type: 'event', event };
  }

  // ---- clock and way in

  /** Tell the wall clock: it dates our puts and judges the age of those of others. Until then neither is done. */
  setWallClock(unixMs: number, now: Millis): void {
    this.#clockOffset = unixMs - now;
  }

  #unixMs(now: Millis): number | undefined {
    return this.#clockOffset === undefined ? undefined : now + this.#clockOffset;
  }

  /** Names of nodes are being looked up: what is asked for meanwhile waits for `bootstrap`, which must follow. */
  expectBootstrap(now: Millis): void {
    this.#bootstrap.awaitNames();
    this.#connection.update(now);
  }

  /** Ping nodes at these addresses, and again while nobody is there. Replaces the addresses given before. */
  bootstrap(addresses: readonly Address[], now: Millis): void {
    const reachable = addresses.filter((address) => this.#families.has(familyOf(address)));
    this.#bootstrap.set(reachable, now);
    this.#connection.update(now);
  }

  /** Take a node for known that is said to be there, and ask it when we know few. */
  insertNode(id: InfoHash, address: Address, now: Millis): void {
    if (id.equals(this.id) || id.isZero || isMartian(address)) return;
    const node = this.#rpc.nodes(familyOf(address))?.listed(id, address, now);
    const maintenance = this.#families.get(familyOf(address))?.maintenance;
    if (node === undefined || maintenance === undefined) return;
    if (node.expired) maintenance.verify(node, now);
    else maintenance.listed(node, now);
    this.#connection.update(now);
  }

  // ---- restart

  /** What is worth keeping over a restart. Without a wall clock no values: they could not be dated. */
  keep(now: Millis): StateToKeep {
    const unixMs = this.#unixMs(now);
    const values =
      unixMs === undefined ? { keys: 0, values: [] } : this.#restart.values(unixMs, now);
    return { id: this.id, nodes: this.#restart.nodes(now), ...values };
  }

  /** Take nodes for known that were there before, and ask them, some at a time, while we are connected to nobody. */
  restoreNodes(nodes: readonly ListedNode[], now: Millis): void {
    this.#bootstrap.remember(this.#restart.restoreNodes(nodes, now), now);
    this.#connection.update(now);
  }

  /**
   * Store a value that was stored before. It has to pass what a put has to pass.
   * @returns whether it is stored now
   */
  restoreValue(value: KeptValue, now: Millis): boolean {
    return this.#restart.restoreValue(value, this.#unixMs(now), now);
  }

  // ---- operations

  /**
   * Look up values under `key` on the nodes closest to it.
   * @param query filters, evaluated by the storing nodes and here; selection is not used
   * @returns names the `get.value` events that follow, then exactly one `get.done`
   */
  get(key: InfoHash, query: Query | undefined, now: Millis): OperationId {
    return this.#operations.get(key, query, now);
  }

  /**
   * Store `value` at the nodes closest to `key`, and here.
   * @param value with id 0: gets a random one; over 64 KiB it is given to nobody
   * @param permanent announce it again before it expires, until `cancelPut`
   * @returns names one `put.stored` for each storing node, and one `put.done`
   */
  put(key: InfoHash, value: Value, permanent: boolean, now: Millis): OperationId {
    return this.#operations.put(key, value, permanent, now);
  }

  /** Announce it no longer: the value lives out its lifetime. */
  cancelPut(key: InfoHash, valueId: bigint, now: Millis): void {
    this.#operations.cancelPut(key, valueId, now);
  }

  /**
   * Hear of values under `key`: those that are there and those that come.
   * @returns names the `listen.value` events, until `cancel`
   */
  listen(key: InfoHash, query: Query | undefined, now: Millis): OperationId {
    return this.#operations.listen(key, query, now);
  }

  /** Stop a get or a listen: no event comes of it any more. A put goes on; see `cancelPut`. */
  cancel(id: OperationId, now: Millis): void {
    this.#operations.cancel(id, now);
  }

  /**
   * Ask whoever is at `address` for its id, up to three times.
   * @returns names one `ping.done`
   */
  ping(address: Address, now: Millis): OperationId {
    const operation = this.#operations.newId();
    const nobody = () => this.#events.push({ type: 'ping.done', operation });
    const request = this.#rpc.pingAddress(
      address,
      {
        onAnswer: ({ node }, then) => {
          const answer = { id: node.id, roundTripMs: then - now };
          this.#events.push({ type: 'ping.done', operation, answer });
        },
        onError: nobody,
        onExpired: nobody,
      },
      now,
    );
    if (request === undefined) nobody();
    return operation;
  }

  /**
   * Before the end: hand over all that is kept for others. When that is done, or takes 5 s, a `left` event follows.
   * A public node does so whose values shall outlive it.
   */
  leave(now: Millis): void {
    this.#republisher.leave(() => this.#events.push({ type: 'left' }), now);
  }

  // ---- searches

  #searchHost(family: Family): SearchHost {
    return {
      rpc: this.#rpc,
      scheduler: this.#scheduler,
      closestKnown: (key, count) => this.#rpc.nodes(family)?.closest(key, count) ?? [],
      isBootstrapping: () => this.#bootstrap.isPending,
      listenRefreshMs: this.#publicStable
        ? PROTOCOL.listenRefreshStableMs
        : PROTOCOL.listenRefreshMs,
      ...this.#operations.searchHost(family),
      onFound: (now) => this.#connection.update(now),
      onTokenRefused: (node, token, now) =>
        this.#searches.get(family)?.tokenRefused(node, token, now),
      onLost: (now) => this.#connection.searchLost(family, now),
    };
  }

  #stepSearches(now: Millis): void {
    for (const searches of this.#searches.values()) for (const search of searches) search.step(now);
  }

  // ---- what comes in

  /** A push. It is answered whatever it says, or the storing node takes us for dead (opendht.md 5.7). */
  #onUpdate(
    message: UpdateQuery,
    values: readonly Value[],
    node: Node,
    from: Address,
    now: Millis,
  ): void {
    this.#rpc.reply(from, message.tid, {}, now);
    this.#operations.onUpdate(message, values, node, now);
  }

  #onStorageChange(change: StorageChange, stored: StoredValue, now: Millis): void {
    this.#server.push(change, stored, now);
    this.#operations.onStorageChange(change, stored, now);
  }

  #onQuery(
    message: QueryMessage | OldUpdate,
    values: readonly Value[],
    node: Node,
    from: Address,
    now: Millis,
  ): void {
    // Pushes of the old style are for listens of the old style, which we never make.
    if (message.type === 'old-update') return;
    if (message.type === 'update') this.#onUpdate(message, values, node, from, now);
    else this.#server.answer(message, values, node, from, now);
  }

  #onHeard(node: Node, isReply: boolean, isNews: boolean, now: Millis): void {
    const state = this.#families.get(node.family);
    if (state === undefined || node.isClient) return;
    const { table, maintenance } = state;
    if (!node.inTable) {
      // Somebody who uses the id of a good node, or one too many to be kept: served, and that is all.
      if (this.#rpc.nodes(node.family)?.get(node.id) !== node) return;
      maintenance.offer(node, now);
    }
    if (isReply) table.replied(node, now);
    if (!isNews) return;
    if (!isReply) {
      // One without a place in the table is never given out; but who knows few, knows each of them for bad times.
      const isWanted = node.inTable || (this.#rpc.nodes(node.family)?.size ?? 0) < LIMITS.wellKnown;
      if (isWanted && node.lastReply === Number.NEGATIVE_INFINITY) maintenance.verify(node, now);
      return;
    }
    for (const search of this.#searches.get(node.family) ?? []) {
      search.offer(node, now);
      search.resume(now);
    }
    this.#connection.update(now);
  }

  /**
   * The line of `family` may be another one than before: whoever seemed gone is tried again, and our public address is
   * to be told anew (opendht.md 14, 16). Call it when an interface changed; a search that lost all its nodes does.
   */
  connectivityChanged(family: Family, now: Millis): void {
    this.#connection.changed(family, now);
  }

  /** Our own address in `family` as most others see it, without port; undefined until somebody said. */
  publicAddress(family: Family): Uint8Array | undefined {
    return this.#rpc.reported[family].mostReported;
  }

  #onNodeExpired(node: Node, now: Millis): void {
    for (const search of this.#searches.get(node.family) ?? []) search.nodeExpired(node, now);
    this.#connection.update(now);
  }

  /** Good nodes now, and what that makes us. */
  state(now: Millis): DhtState {
    return this.#connection.state(now);
  }

  /** The routing tables: IPv4 first, by bucket. */
  nodes(now: Millis): TableEntry[] {
    return ([4, 6] as const).flatMap((family) => [
      ...(this.#families.get(family)?.table.entries(now) ?? []),
    ]);
  }

  #scheduleCleanUp(now: Millis): void {
    const [least, most] = PROTOCOL.cleanupMs;
    const pause = least + this.#random.fraction() * (most - least);
    this.#scheduler.schedule(now + pause, (then) => {
      this.#server.listeners.sweep(then);
      for (const searches of this.#searches.values()) searches.sweep(then);
      this.#connection.update(then);
      this.#scheduleCleanUp(then);
    });
  }

  /** Sizes against their caps, and counters. */
  stats() {
    const [searches4, searches6] = [this.#searches.get(4), this.#searches.get(6)];
    return {
      state: this.#connection.lastState,
      events: this.#events.size,
      eventsDropped: this.#events.dropped,
      jobs: this.#scheduler.size,
      buckets4: this.#families.get(4)?.table.buckets.length ?? 0,
      buckets6: this.#families.get(6)?.table.buckets.length ?? 0,
      searches4: searches4?.size ?? 0,
      searches6: searches6?.size ?? 0,
      searchesRefused: (searches4?.refused ?? 0) + (searches6?.refused ?? 0),
      searchesDropped: (searches4?.dropped ?? 0) + (searches6?.dropped ?? 0),
      ...this.#operations.stats(),
      ...this.#republisher.stats(),
      answeredFast: this.#fastPath.answered,
      rpc: this.#rpc.stats(),
      server: this.#server.stats(),
      storage: this.#storage.stats(),
    };
  }
}
