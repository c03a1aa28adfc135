import { type Address, type HostPort, parseIp, sameAddress } from '../base/address.ts';
import { type Clock, type Millis, systemClock, WakeUp } from '../base/clock.ts';
import { AgentError, errorText } from '../base/errors.ts';
import { type Logger, silentLogger } from '../base/log.ts';
import { type Random, systemRandom } from '../base/random.ts';
import { type Family, familyOf, isLoopback } from './addresses.ts';
import type { DhtClient, DhtOperation, PutOptions, PutResult } from './client.ts';
import { type DatagramSocket, openDatagramSocket } from './datagram-socket.ts';
import { Dht, type DhtOptions } from './dht.ts';
import type { DhtEvent, DhtState, PingAnswer } from './events.ts';
import type { InfoHash } from './infohash.ts';
import { type BoundFamily, LocalPeers } from './local-peers.ts';
import type { OperationId } from './operation.ts';
import { type OnListened, OperationCallbacks } from './operation-callbacks.ts';
import { literalAddress, resolveHost } from './resolve.ts';
import type { TableEntry } from './routing-table.ts';
import { StateKeeper } from './state-keeper.ts';
import type { Query, Value } from './value.ts';

export interface DhtNodeOptions extends Omit<DhtOptions, 'families' | 'random'> {
  /** Own addresses as text, at most one of each family: `127.0.0.1`, or `0.0.0.0` and `::` for all. */
  readonly bind: readonly string[];
  /** The same for both families. 0: any free port. */
  readonly port: number;
  readonly bootstrap?: readonly HostPort[];
  /**
   * Where known nodes and the values of others are kept over a restart; default: nowhere. The id of the node is not taken
   * from it: whoever has none gives that of `savedNodeId`.
   */
  readonly stateFile?: string;
  /**
   * Default false: find nodes of the local network by multicast, and be found (opendht.md 19.1). A node that is bound to
   * loopback alone does not: nobody could reach what it announces.
   */
  readonly peerDiscovery?: boolean;
  readonly onState?: (state: DhtState) => void;
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
}

/**
 * The driver of the DHT: owns one socket for each family and the one timer, feeds and drains the engine, and turns its
 * events into callbacks and promises. Operations may be started before `start`; they go out with it.
 */
export class DhtNode implements DhtClient {
  readonly #options: DhtNodeOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #dht: Dht;
  readonly #wakeUp: WakeUp;
  readonly #keeper: StateKeeper | undefined;
  #localPeers: LocalPeers | undefined;
  readonly #sockets = new Map<Family, DatagramSocket>();
  readonly #callbacks = new OperationCallbacks();
  /** Read once for all datagrams of a batch. */
  #batchNow: Millis | undefined;
  #bootstrapped: readonly Address[] = [];
  #awaitsNames = false;
  #running = false;
  #leaving: Promise<void> | undefined;
  #onLeft: (() => void) | undefined;

  constructor(options: DhtNodeOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLogger;
    const families = options.bind.map((text) => familyOf({ ip: bindIp(text), port: 0 }));
    const { random = systemRandom } = options;
    this.#dht = new Dht({ ...options, families, random }, this.#clock.now());
    this.#wakeUp = new WakeUp(this.#clock, () => this.#turn((now) => this.#dht.timeout(now)));
    this.#keeper = options.stateFile === undefined ? undefined : this.#newKeeper(options.stateFile);
  }

  get id(): InfoHash {
    return this.#dht.id;
  }

  /** The UDP port, once started. */
  get port(): number {
    const [socket] = this.#sockets.values();
    return socket?.port ?? this.#options.port;
  }

  /**
   * Bind the sockets and begin to bootstrap; does not wait for a connection.
   * @throws {AgentError} `port-in-use`, `bind-denied`, `bind-failed`, each naming address and port
   */
  async start(): Promise<void> {
    const kept = await this.#keeper?.load();
    let { port } = this.#options;
    try {
      for (const text of this.#options.bind) {
        const ip = bindIp(text);
        const socket = await this.#open(ip, port);
        if (socket === undefined) continue;
        this.#sockets.set(familyOf({ ip, port }), socket);
        port = socket.port;
      }
    } catch (error) {
      await this.#closeSockets();
      throw error;
    }
    this.#running = true;
    this.#turn((now) => {
      if (kept !== undefined) this.#dht.restoreNodes(kept.nodes, now);
    });
    // What is asked for right after the start waits for the nodes to enter through.
    const literals = (this.#options.bootstrap ?? []).map(literalAddress);
    this.#bootstrapAt(literals.filter((address) => address !== undefined));
    if (literals.includes(undefined)) {
      this.#awaitsNames = true;
      this.#turn((now) => this.#dht.expectBootstrap(now));
    }
    void this.#keeper?.start(kept); // many signatures to check may take their time
    void this.#resolveBootstrap(); // names may too
    if (this.#options.peerDiscovery) await this.#discoverPeers();
  }

  async #discoverPeers(): Promise<void> {
    const families = new Map<Family, BoundFamily>();
    for (const ip of this.#options.bind.map(bindIp)) {
      const family = familyOf({ ip, port: 0 });
      const port = this.#sockets.get(family)?.port;
      if (port !== undefined && !isLoopback(ip)) families.set(family, { ip, port });
    }
    if (families.size === 0) {
      this.#log.notice('no nodes of the local network are looked for', {
        why: 'bound to loopback',
      });
      return;
    }
    const { network = 0, client = false } = this.#options;
    this.#localPeers = new LocalPeers({
      id: this.id,
      network,
      families,
      announces: !client,
      clock: this.#clock,
      log: this.#log,
      onFound: ({ id, address }) => this.#turn((now) => this.#dht.insertNode(id, address, now)),
    });
    this.#localPeers.setConnected(this.state().state === 'connected');
    await this.#localPeers.start();
  }

  #newKeeper(path: string): StateKeeper {
    return new StateKeeper({
      path,
      clock: this.#clock,
      log: this.#log,
      keep: () => this.#dht.keep(this.#clock.now()),
      changes: () => this.#dht.stats().storage.changes,
      restore: (value) => {
        let isStored = false;
        this.#turn((now) => {
          isStored = this.#dht.restoreValue(value, now);
        });
        return isStored;
      },
    });
  }

  /** A machine without IPv6 still has a DHT: that "all addresses" of IPv6 cannot be bound is only logged. */
  async #open(ip: Uint8Array, port: number): Promise<DatagramSocket | undefined> {
    try {
      return await openDatagramSocket({
        ip,
        port,
        onDatagram: (packet, from) => {
          this.#batchNow ??= this.#beginTurn();
          this.#dht.receive(packet, from, this.#batchNow);
          this.#drain();
        },
        onBatchEnd: () => {
          this.#batchNow = undefined;
          this.#endTurn();
        },
      });
    } catch (error) {
      const optional = ip.length === 16 && ip.every((byte) => byte === 0);
      if (!optional || !(error instanceof AgentError) || error.code === 'port-in-use') throw error;
      this.#log.notice('no IPv6', { reason: errorText(error) });
      return undefined;
    }
  }

  /**
   * Close the sockets and save the state; with `republish` hand over what is kept for others first, which takes up to 5 s. What is still
   * under way ends now: gets are done, puts have what they have. Idempotent.
   */
  async stop(): Promise<void> {
    if (this.#running && (this.#options.republish ?? false)) {
      this.#leaving ??= new Promise((resolve) => {
        this.#onLeft = resolve;
        this.#turn((now) => this.#dht.leave(now));
      });
      await this.#leaving;
    }
    this.#running = false;
    this.#wakeUp.disarm();
    await this.#localPeers?.stop();
    await this.#closeSockets();
    this.#callbacks.endAll();
    await this.#keeper?.stop();
  }

  async #closeSockets(): Promise<void> {
    const sockets = [...this.#sockets.values()];
    this.#sockets.clear();
    await Promise.all(sockets.map((socket) => socket.close()));
  }

  /** The routing tables: IPv4 first, by bucket. */
  nodes(): TableEntry[] {
    return this.#dht.nodes(this.#clock.now());
  }

  /**
   * Ask whoever is at an address for its id.
   * @param at the first address of a name counts that a socket of ours can reach
   * @returns undefined when nobody answers three requests, which takes some 8 s
   * @throws {AgentError} `no-address` when the name has none that we can reach
   */
  async ping(at: HostPort): Promise<(PingAnswer & { readonly address: Address }) | undefined> {
    const address = (await resolveHost(at, this.#log)).find((one) =>
      this.#sockets.has(familyOf(one)),
    );
    if (address === undefined) {
      throw new AgentError('no-address', `${at.host} has no address that this node can reach`);
    }
    const answer = await new Promise<PingAnswer | undefined>((resolve) => {
      this.#turn((now) => this.#callbacks.pings.set(this.#dht.ping(address, now), resolve));
    });
    return answer && { ...answer, address };
  }

  /** Good nodes, and whether that makes us connected. */
  state(): DhtState {
    return this.#dht.state(this.#clock.now());
  }

  stats() {
    const sockets = [...this.#sockets].map(([family, socket]) => ({
      family,
      backend: socket.backend,
      ...socket.stats(),
    }));
    return {
      ...this.#dht.stats(),
      datagrams: sockets,
      stateFile: this.#keeper?.stats(),
      localPeers: this.#localPeers?.stats(),
    };
  }

  // ---- DhtClient

  get(
    key: InfoHash,
    query: Query | undefined,
    onValue: (value: Value) => void,
    onDone: () => void,
  ): DhtOperation {
    let id: OperationId = 0;
    this.#turn((now) => {
      id = this.#dht.get(key, query, now);
      this.#callbacks.gets.set(id, { onValue, onDone });
    });
    return { cancel: () => this.#cancel(id, this.#callbacks.gets) };
  }

  put(
    key: InfoHash,
    value: Value,
    options: PutOptions = {},
    onFirstAck?: () => void,
  ): Promise<PutResult> {
    return new Promise((resolve) => {
      this.#turn((now) => {
        const id = this.#dht.put(key, value, options.permanent ?? false, now);
        this.#callbacks.puts.set(id, { onFirstAck, resolve });
      });
    });
  }

  cancelPut(key: InfoHash, valueId: bigint): void {
    this.#turn((now) => this.#dht.cancelPut(key, valueId, now));
  }

  listen(key: InfoHash, query: Query | undefined, onValue: OnListened): DhtOperation {
    let id: OperationId = 0;
    this.#turn((now) => {
      id = this.#dht.listen(key, query, now);
      this.#callbacks.listens.set(id, onValue);
    });
    return { cancel: () => this.#cancel(id, this.#callbacks.listens) };
  }

  #cancel(id: OperationId, callbacks: Map<OperationId, unknown>): void {
    if (callbacks.delete(id)) this.#turn((now) => this.#dht.cancel(id, now));
  }

  // ---- the loop

  /** One turn: an input, then everything that comes out of it, then the next wake-up. */
  #turn(input: (now: Millis) => void): void {
    input(this.#beginTurn());
    this.#drain();
    this.#endTurn();
  }

  #beginTurn(): Millis {
    const now = this.#clock.now();
    this.#dht.setWallClock(this.#clock.unixMs(), now);
    return now;
  }

  #drain(): void {
    // Before the start there is nowhere to send to: outputs wait in the engine, whose requests wait with them.
    if (!this.#running) return;
    for (let output = this.#dht.poll(); output !== undefined; output = this.#dht.poll()) {
      if (output.type === 'send') {
        this.#sockets.get(familyOf(output.to))?.send(output.packet, output.to);
      } else {
        this.#onEvent(output.event);
        if (!this.#running) return;
      }
    }
  }

  #endTurn(): void {
    if (!this.#running) return;
    for (const socket of this.#sockets.values()) socket.flush();
    this.#wakeUp.arm(this.#dht.nextTimeout());
  }

  #onEvent(event: DhtEvent): void {
    switch (event.type) {
      case 'state': {
        const { state, peers4, peers6 } = event;
        this.#log.info(state, { peers4, peers6 });
        this.#localPeers?.setConnected(state === 'connected');
        this.#options.onState?.({ state, peers4, peers6 });
        break;
      }
      case 'left':
        this.#onLeft?.();
        break;
      case 'bootstrap':
        void this.#resolveBootstrap();
        break;
      default:
        this.#callbacks.onEvent(event);
    }
  }

  // ---- bootstrap

  /** Names to addresses. One that does not resolve is logged and tried again with the next round. */
  async #resolveBootstrap(): Promise<void> {
    const hosts = this.#options.bootstrap ?? [];
    this.#bootstrapAt(
      (await Promise.all(hosts.map((host) => resolveHost(host, this.#log)))).flat(),
    );
  }

  #bootstrapAt(resolved: readonly Address[]): void {
    if (!this.#running) return;
    const same =
      resolved.length === this.#bootstrapped.length &&
      resolved.every((address, i) => sameAddress(address, this.#bootstrapped[i] as Address));
    // The engine repeats the ones it has by itself, with growing pauses.
    if (same && !this.#awaitsNames) return;
    this.#awaitsNames = false;
    this.#bootstrapped = resolved;
    this.#turn((now) => this.#dht.bootstrap(resolved, now));
  }
}

/** @throws {AgentError} `bad-address` */
function bindIp(text: string): Uint8Array {
  const ip = parseIp(text);
  if (ip === undefined)
    throw new AgentError('bad-address', `"${text}" is not an IP address`, 'write it as 0.0.0.0');
  return ip;
}
