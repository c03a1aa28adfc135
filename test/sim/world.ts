import { type Address, formatAddress } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import type { Random } from '../../agent/base/random.ts';
import { Dht, type DhtOptions } from '../../agent/dht/dht.ts';
import type { DhtEvent } from '../../agent/dht/events.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Query, Value } from '../../agent/dht/value.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { CALM, type NetworkOptions, SimNetwork } from './network.ts';
import { seededRandom } from './seeded.ts';

/** 2026-11-21 00:00:00 UTC: where the wall clock of every world starts. */
export const WORLD_EPOCH_UNIX_MS = 1_795_219_200_000;

export interface WorldOptions {
  readonly seed?: number;
  readonly network?: Partial<NetworkOptions>;
}

/** A node in the world, with what came of it. */
export class SimNode {
  readonly dht: Dht;
  /** One for each family that it speaks. */
  readonly addresses: readonly Address[];
  readonly events: { readonly at: Millis; readonly event: DhtEvent }[] = [];
  alive = true;
  readonly #world: World;

  constructor(world: World, dht: Dht, addresses: readonly Address[]) {
    this.#world = world;
    this.dht = dht;
    this.addresses = addresses;
  }

  get address(): Address {
    return this.addresses[0] as Address;
  }

  /** Where its datagrams to `to` come from. */
  sourceTo(to: Address): Address | undefined {
    return this.addresses.find(({ ip }) => ip.length === to.ip.length);
  }

  /** Gone without a word. */
  kill(): void {
    this.alive = false;
  }

  put(key: InfoHash, value: Value, permanent = false): number {
    return this.#world.turn(this, (now) => this.dht.put(key, value, permanent, now));
  }

  get(key: InfoHash, query?: Query): number {
    return this.#world.turn(this, (now) => this.dht.get(key, query, now));
  }

  listen(key: InfoHash, query?: Query): number {
    return this.#world.turn(this, (now) => this.dht.listen(key, query, now));
  }

  cancel(operation: number): void {
    this.#world.turn(this, (now) => this.dht.cancel(operation, now));
  }

  bootstrap(...nodes: readonly SimNode[]): void {
    this.#world.turn(this, (now) =>
      this.dht.bootstrap(
        nodes.flatMap((node) => node.addresses),
        now,
      ),
    );
  }

  /** The events of one operation so far. */
  of(operation: number): DhtEvent[] {
    return this.events
      .map(({ event }) => event)
      .filter((event) => 'operation' in event && event.operation === operation);
  }

  /** The values that a get or a listen told of. */
  values(operation: number): Value[] {
    return this.of(operation).flatMap((event) =>
      (event.type === 'get.value' || event.type === 'listen.value') &&
      !('expired' in event && event.expired)
        ? [event.value]
        : [],
    );
  }

  isDone(operation: number): boolean {
    return this.of(operation).some(({ type }) => type === 'get.done' || type === 'put.done');
  }
}

/** Many nodes, one seeded network, one virtual clock. Time jumps to the next datagram or deadline; nobody sleeps. */
export class World {
  readonly random: Random;
  readonly network: SimNetwork;
  readonly nodes: SimNode[] = [];
  readonly #byAddress = new Map<string, SimNode>();
  now: Millis = 1000;
  /** A line for each datagram that arrived, when somebody wants the trace. */
  trace: string[] | undefined;

  constructor({ seed = 1, network = {} }: WorldOptions = {}) {
    this.random = seededRandom(seed);
    this.network = new SimNetwork({ ...CALM, ...network }, seededRandom(seed ^ 0x5eed));
  }

  randomHash(): InfoHash {
    return new InfoHash(this.random.bytes(20));
  }

  add(options: Partial<DhtOptions> = {}): SimNode {
    const number = this.nodes.length + 1;
    const { families = [4] } = options;
    const addresses = families.map((family) => ({ ip: simIp(family, number), port: 4222 }));
    const dht = new Dht(
      {
        id: this.randomHash(),
        families,
        random: seededRandom(this.random.uint32()),
        policy: cryptoPolicy,
        ...options,
      },
      this.now,
    );
    dht.setWallClock(WORLD_EPOCH_UNIX_MS + this.now, this.now);
    const node = new SimNode(this, dht, addresses);
    this.nodes.push(node);
    for (const address of addresses) this.#byAddress.set(formatAddress(address), node);
    return node;
  }

  /** `count` nodes, each bootstrapped at a random one before it. */
  addMany(count: number, options: Partial<DhtOptions> = {}): SimNode[] {
    const added: SimNode[] = [];
    for (let i = 0; i < count; i++) {
      const node = this.add(options);
      const others = this.nodes.length - 1;
      const entry = this.nodes[Math.floor(this.random.fraction() * others)];
      if (entry !== undefined && entry !== node) node.bootstrap(entry);
      added.push(node);
      this.run(200);
    }
    return added;
  }

  /** Put `packet` on the wire as if a stranger had sent it. */
  inject(from: Address, to: SimNode, packet: Uint8Array): void {
    this.network.send(from, to.address, packet, this.now);
  }

  turn<T>(node: SimNode, input: (now: Millis) => T): T {
    const result = input(this.now);
    this.#drain(node);
    return result;
  }

  /** Let `ms` pass. */
  run(ms: Millis): void {
    this.runUntil(() => false, ms);
  }

  /** @returns whether `done` came true within `ms`; time stands where it did */
  runUntil(done: () => boolean, ms: Millis): boolean {
    const end = this.now + ms;
    while (!done()) {
      const next = this.#nextMoment();
      if (next > end) {
        this.now = end;
        return false;
      }
      this.now = Math.max(this.now, next);
      this.#step();
    }
    return true;
  }

  #nextMoment(): Millis {
    let next = this.network.nextArrival();
    for (const node of this.nodes) if (node.alive) next = Math.min(next, node.dht.nextTimeout());
    return next;
  }

  #step(): void {
    for (let flight = this.network.take(this.now); flight; flight = this.network.take(this.now)) {
      const { from, to, packet } = flight;
      const node = this.#byAddress.get(formatAddress(to));
      this.trace?.push(
        `${this.now.toFixed(3)} ${formatAddress(from)} ${formatAddress(to)} ${packet.length}`,
      );
      if (node?.alive) this.turn(node, (now) => node.dht.receive(packet, from, now));
    }
    for (const node of this.nodes) {
      if (node.alive && node.dht.nextTimeout() <= this.now)
        this.turn(node, (now) => node.dht.timeout(now));
    }
  }

  #drain(node: SimNode): void {
    for (let output = node.dht.poll(); output !== undefined; output = node.dht.poll()) {
      if (output.type === 'event') {
        node.events.push({ at: this.now, event: output.event });
        continue;
      }
      const source = node.sourceTo(output.to);
      if (source !== undefined) this.network.send(source, output.to, output.packet, this.now);
    }
  }
}

/** 10.0.a.b or fd00::a:b. */
function simIp(family: 4 | 6, number: number): Uint8Array {
  if (family === 4) return Uint8Array.of(10, 0, number >> 8, number & 0xff);
  const ip = new Uint8Array(16);
  ip.set([0xfd, 0]);
  // A /64 of its own for each, as houses have.
  ip.set([number >> 8, number & 0xff], 6);
  ip[15] = 1;
  return ip;
}

/** An unsigned value of type 0. */
export function plainValue(id: bigint, data: Uint8Array | string, type = 0): Value {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
  return { kind: 'plain', id, type, data: bytes };
}
