import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import type { Engine, EngineOutput } from '../base/engine.ts';
import type { Random } from '../base/random.ts';
import { type Family, familyOf } from './addresses.ts';
import { Bootstrap } from './bootstrap.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import { Listens } from './listens.ts';
import { Maintenance } from './maintenance.ts';
import type { OldUpdate, QueryMessage, UpdateQuery } from './message.ts';
import type { Node } from './node.ts';
import { GetOperation, type OperationId, PutOperation } from './operations.ts';
import { RoutingTable } from './routing-table.ts';
import { Rpc } from './rpc.ts';
import { Scheduler } from './scheduler.ts';
import type { SearchHost } from './search-host.ts';
import { Searches } from './searches.ts';
import { Server } from './server.ts';
import {
  DEFAULT_STORAGE_LIMITS,
  Storage,
  type StorageChange,
  type StorageLimits,
  type StoredValue,
} from './storage.ts';
import type { Query, Value } from './value.ts';
import { countedSize } from './value-codec.ts';
import { lifetimeMs, type ValuePolicy } from './value-types.ts';

export type ConnectionState = 'disconnected' | 'connecting' | 'connected';

export interface DhtState {
  readonly state: ConnectionState;
  /** Good nodes of each family. */
  readonly peers4: number;
  readonly peers6: number;
}

export type DhtEvent =
  | { readonly type: 'get.value'; readonly operation: OperationId; readonly value: Value }
  /** The last event of a get. */
  | { readonly type: 'get.done'; readonly operation: OperationId }
  /** One more storing node acknowledged. */
  | { readonly type: 'put.stored'; readonly operation: OperationId }
  /** All nodes of the first round answered or were lost; once for each put. */
  | {
      readonly type: 'put.done';
      readonly operation: OperationId;
      readonly acknowledged: number;
    }
  | {
      readonly type: 'listen.value';
      readonly operation: OperationId;
      readonly value: Value;
      readonly expired: boolean;
    }
  | ({ readonly type: 'state' } & DhtState)
  /** Still nobody there: names of bootstrap nodes should be resolved again. */
  | { readonly type: 'bootstrap' };

export interface DhtOptions {
  /** Own node id, the same in both families. */
  readonly id: InfoHash;
  /** 0 is the main network. */
  readonly network?: number;
  /** The families that there is a socket for. */
  readonly families: readonly Family[];
  readonly random: Random;
  readonly policy: ValuePolicy;
  readonly storage?: Partial<StorageLimits>;
  /** Default true: so many queries a second and no more (opendht.md 18.1). */
  readonly rateLimit?: boolean;
}

interface FamilyState {
  readonly table: RoutingTable;
  readonly maintenance: Maintenance;
  readonly searches: Searches;
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
  readonly #scheduler = new Scheduler();
  readonly #rpc: Rpc;
  readonly #storage: Storage;
  readonly #server: Server;
  readonly #bootstrap: Bootstrap;
  readonly #families = new Map<Family, FamilyState>();
  readonly #gets = new Map<OperationId, GetOperation>();
  /** Permanent ones, and those whose first round is not over. */
  readonly #puts = new Map<OperationId, PutOperation>();
  readonly #listens: Listens;
  #events: DhtEvent[] = [];
  #nextEvent = 0;
  #lastOperation: OperationId = 0;
  #state: ConnectionState = 'disconnected';
  /** Wall clock minus monotonic clock, ms. */
  #clockOffset: Millis | undefined;
  #operationsRefused = 0;

  constructor(options: DhtOptions, now: Millis) {
    const { id, random, policy, network = 0, families } = options;
    this.id = id;
    this.#random = random;
    this.#rpc = new Rpc({
      self: id,
      network,
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
    this.#listens = new Listens({
      scheduler: this.#scheduler,
      random,
      verify: (value) => policy.verifySignature(value),
      stored: ({ key, query }) => this.#storage.get(key, query).map(({ value }) => value),
      start: (listen, then) => {
        for (const { searches } of this.#families.values())
          searches.open(listen.key, then)?.addListen(listen, then);
      },
      stop: (listen) => {
        for (const { searches } of this.#families.values())
          searches.get(listen.key)?.removeListen(listen);
      },
      report: (operation, value, expired) =>
        this.#events.push({ type: 'listen.value', operation, value, expired }),
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
        listensHere: (key) => this.#listens.isOn(key),
      },
      now,
    );
    this.#bootstrap = new Bootstrap(this.#rpc, this.#scheduler, {
      isConnected: () => this.#state === 'connected',
      onRound: () => this.#events.push({ type: 'bootstrap' }),
      onIdle: (then) => {
        this.#updateState(then);
        this.#stepSearches(then);
      },
    });
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
      const searches = new Searches(this.#searchHost(family));
      this.#families.set(family, { table, maintenance, searches });
    }
    this.#scheduleCleanUp(now);
  }

  // ---- Engine

  receive(packet: Uint8Array, from: Address, now: Millis): void {
    this.#rpc.receive(packet, from, now);
  }

  timeout(now: Millis): void {
    this.#scheduler.runDue(now);
  }

  nextTimeout(): Millis {
    return this.#scheduler.next();
  }

  poll(): EngineOutput<DhtEvent> | undefined {
    const sent = this.#rpc.poll();
    if (sent !== undefined) return sent;
    const event = this.#events[this.#nextEvent];
    if (event === undefined) {
      if (this.#nextEvent > 0) this.#events = [];
      this.#nextEvent = 0;
      return undefined;
    }
    this.#nextEvent++;
    return { type: 'event', event };
  }

  // ---- operations

  /** Tell the wall clock: it dates our puts and judges the age of those of others. Until then neither is done. */
  setWallClock(unixMs: number, now: Millis): void {
    this.#clockOffset = unixMs - now;
  }

  #unixMs(now: Millis): number | undefined {
    return this.#clockOffset === undefined ? undefined : now + this.#clockOffset;
  }

  /** Ping nodes at these addresses, and again while nobody is there. Replaces the addresses given before. */
  bootstrap(addresses: readonly Address[], now: Millis): void {
    const reachable = addresses.filter((address) => this.#families.has(familyOf(address)));
    this.#bootstrap.set(reachable, now);
    this.#updateState(now);
  }

  /**
   * Look up values under `key` on the nodes closest to it.
   * @param query filters, evaluated by the storing nodes and here; selection is not used
   * @returns names the `get.value` events that follow, then exactly one `get.done`
   */
  get(key: InfoHash, query: Query | undefined, now: Millis): OperationId {
    const get = new GetOperation(
      ++this.#lastOperation,
      key,
      query === undefined ? undefined : { where: query.where, select: [] },
      this.#families.keys(),
      now,
    );
    this.#gets.set(get.id, get);
    const admitted = this.#isAdmitted();
    const own = this.#storage.get(key, get.query);
    this.#reportGot(
      get,
      own.map(({ value }) => value),
    );
    for (const [family, { searches }] of this.#families) {
      const search = admitted ? searches.open(key, now) : undefined;
      if (search === undefined) this.#getDone(get, family);
      else search.addGet(get, now);
    }
    return get.id;
  }

  /**
   * Store `value` at the nodes closest to `key`, and here.
   * @param value with id 0: gets a random one; over 64 KiB it is given to nobody
   * @param permanent announce it again before it expires, until `cancelPut`
   * @returns names one `put.stored` for each storing node, and one `put.done`
   */
  put(key: InfoHash, value: Value, permanent: boolean, now: Millis): OperationId {
    const unixMs = this.#unixMs(now);
    const put = new PutOperation(
      ++this.#lastOperation,
      key,
      value.id === 0n ? { ...value, id: this.#newValueId() } : value,
      permanent,
      unixMs === undefined ? undefined : Math.floor(unixMs / 1000),
      this.#families.keys(),
      now,
    );
    this.cancelPut(key, put.value.id, now);
    this.#puts.set(put.id, put);
    // A sender that does not keep to the limit loses its neighbours: they never answer (opendht.md 6.4).
    const fits =
      this.#isAdmitted() &&
      countedSize(put.value) <= PROTOCOL.maxValueBytes &&
      put.packed.length <= PROTOCOL.maxPackedBytes;
    if (fits) this.#storeOwn(put, now);
    for (const [family, { searches }] of this.#families) {
      const search = fits ? searches.open(key, now) : undefined;
      if (search === undefined) this.#putDone(put, family);
      else search.addPut(put, now);
    }
    if (!fits) this.#puts.delete(put.id);
    return put.id;
  }

  #newValueId(): bigint {
    const [high, low] = [this.#random.uint32(), this.#random.uint32()];
    return (BigInt(high) << 32n) | BigInt(low) || 1n;
  }

  #storeOwn(put: PutOperation, now: Millis): void {
    const expiresAt = put.permanent ? Number.POSITIVE_INFINITY : now + put.lifetimeMs;
    const same = this.#storage.same(put.key, put.value);
    if (same !== undefined && same.source === undefined) this.#storage.expireAt(same, expiresAt);
    else this.#storage.put(put.key, put.value, undefined, expiresAt, now);
  }

  /** Announce it no longer: the value lives out its lifetime. */
  cancelPut(key: InfoHash, valueId: bigint, now: Millis): void {
    for (const put of this.#puts.values()) {
      if (!put.permanent || put.value.id !== valueId || !put.key.equals(key)) continue;
      for (const family of [...put.open]) this.#putDone(put, family);
      this.#puts.delete(put.id);
      for (const { searches } of this.#families.values()) searches.get(key)?.removePut(put);
      const stored = this.#storage.find(key, valueId);
      if (stored !== undefined && stored.source === undefined)
        this.#storage.expireAt(stored, now + lifetimeMs(stored.value));
    }
  }

  /**
   * Hear of values under `key`: those that are there and those that come.
   * @returns names the `listen.value` events, until `cancel`
   */
  listen(key: InfoHash, query: Query | undefined, now: Millis): OperationId {
    const id = ++this.#lastOperation;
    if (this.#isAdmitted()) this.#listens.add(id, key, query, now);
    return id;
  }

  /** Is there room for the operation that was just begun? Without, it comes to nothing at once. */
  #isAdmitted(): boolean {
    const underWay = this.#gets.size + this.#puts.size + this.#listens.size;
    if (underWay <= LIMITS.operations) return true;
    this.#operationsRefused++;
    return false;
  }

  /** Stop a get or a listen: no event comes of it any more. A put goes on; see `cancelPut`. */
  cancel(id: OperationId, now: Millis): void {
    const get = this.#gets.get(id);
    if (get !== undefined) {
      this.#gets.delete(id);
      for (const { searches } of this.#families.values()) searches.get(get.key)?.removeGet(get);
    }
    this.#listens.cancel(id, now);
    this.#events = this.#events
      .slice(this.#nextEvent)
      .filter((event) => !('operation' in event) || event.operation !== id);
    this.#nextEvent = 0;
  }

  // ---- searches

  #searchHost(family: Family): SearchHost {
    return {
      rpc: this.#rpc,
      scheduler: this.#scheduler,
      closestKnown: (key, count) => this.#rpc.nodes(family)?.closest(key, count) ?? [],
      isBootstrapping: () => this.#bootstrap.isPending,
      openSocket: (listen, node) => this.#listens.openSocket(listen, node),
      closeSocket: (sid) => this.#listens.closeSocket(sid),
      onValues: (get, values) => this.#reportGot(get, values),
      onGetDone: (get) => this.#getDone(get, family),
      onStored: (put) => {
        put.acknowledged++;
        this.#events.push({ type: 'put.stored', operation: put.id });
      },
      onPutDone: (put) => this.#putDone(put, family),
      onFound: (now) => this.#updateState(now),
    };
  }

  #reportGot(get: GetOperation, values: readonly Value[]): void {
    for (const value of values) {
      if (get.accept(value)) this.#events.push({ type: 'get.value', operation: get.id, value });
    }
  }

  #getDone(get: GetOperation, family: Family): void {
    get.open.delete(family);
    if (get.open.size > 0 || !this.#gets.delete(get.id)) return;
    this.#events.push({ type: 'get.done', operation: get.id });
  }

  #putDone(put: PutOperation, family: Family): void {
    if (!put.open.delete(family) || put.open.size > 0) return;
    if (!put.permanent) this.#puts.delete(put.id);
    const { id, acknowledged } = put;
    this.#events.push({ type: 'put.done', operation: id, acknowledged });
  }

  #stepSearches(now: Millis): void {
    for (const { searches } of this.#families.values())
      for (const search of searches) search.step(now);
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
    const listen = this.#listens.onUpdate(message, values, node, now);
    if (listen === undefined) return;
    const search = this.#families.get(node.family)?.searches.get(listen.key);
    search?.tokenFrom(node, message.token, now);
  }

  #onStorageChange(change: StorageChange, stored: StoredValue, now: Millis): void {
    this.#server.push(change, stored, now);
    this.#listens.onStorageChange(change, stored.key, stored.value, now);
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
    const { table, maintenance, searches } = state;
    if (!node.inTable) {
      // Somebody who uses the id of a good node, or one too many to be kept: served, and that is all.
      if (this.#rpc.nodes(node.family)?.get(node.id) !== node) return;
      maintenance.offer(node, now);
    }
    if (isReply) table.replied(node, now);
    if (!isNews) return;
    if (!isReply) {
      if (node.lastReply === Number.NEGATIVE_INFINITY) maintenance.verify(node, now);
      return;
    }
    for (const search of searches) {
      search.offer(node, now);
      search.step(now);
    }
    this.#updateState(now);
  }

  #onNodeExpired(node: Node, now: Millis): void {
    for (const search of this.#families.get(node.family)?.searches ?? [])
      search.nodeExpired(node, now);
    this.#updateState(now);
  }

  /** Good nodes now, and what that makes us. */
  state(now: Millis): DhtState {
    const of = (family: Family) =>
      this.#families.get(family)?.table.count(now) ?? { good: 0, dubious: 0 };
    const [v4, v6] = [of(4), of(6)];
    const state: ConnectionState =
      v4.good + v6.good > 0
        ? 'connected'
        : v4.dubious + v6.dubious > 0 || this.#bootstrap.isPending
          ? 'connecting'
          : 'disconnected';
    return { state, peers4: v4.good, peers6: v6.good };
  }

  #updateState(now: Millis): void {
    const current = this.state(now);
    const before = this.#state;
    if (current.state === before) return;
    this.#state = current.state;
    this.#events.push({ type: 'state', ...current });
    if (current.state === 'connected') this.#findNeighbours(now);
    else if (before === 'connected') this.#bootstrap.restart(now);
  }

  /** Newly connected: get to know the nodes around us, and make ourselves known to them. */
  #findNeighbours(now: Millis): void {
    for (const { searches } of this.#families.values()) searches.open(this.id, now)?.find(now);
    this.#stepSearches(now);
  }

  #scheduleCleanUp(now: Millis): void {
    const [least, most] = PROTOCOL.cleanupMs;
    const pause = least + this.#random.fraction() * (most - least);
    this.#scheduler.schedule(now + pause, (then) => {
      this.#server.listeners.sweep(then);
      for (const { searches } of this.#families.values()) {
        searches.sweep(then);
      }
      this.#updateState(then);
      this.#scheduleCleanUp(then);
    });
  }

  /** Sizes against their caps, and counters. */
  stats() {
    const [v4, v6] = [this.#families.get(4), this.#families.get(6)];
    return {
      state: this.#state,
      jobs: this.#scheduler.size,
      buckets4: v4?.table.buckets.length ?? 0,
      buckets6: v6?.table.buckets.length ?? 0,
      searches4: v4?.searches.size ?? 0,
      searches6: v6?.searches.size ?? 0,
      searchesRefused: (v4?.searches.refused ?? 0) + (v6?.searches.refused ?? 0),
      operationsRefused: this.#operationsRefused,
      gets: this.#gets.size,
      puts: this.#puts.size,
      listens: this.#listens.size,
      sockets: this.#listens.sockets,
      rpc: this.#rpc.stats(),
      server: this.#server.stats(),
      storage: this.#storage.stats(),
    };
  }
}
