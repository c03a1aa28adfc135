import type { Address } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import type { Engine } from '../../agent/base/engine.ts';
import type { Random } from '../../agent/base/random.ts';
import { type AddressKey, addressKey, type Family } from '../../agent/dht/addresses.ts';
import { Dht, type DhtOptions } from '../../agent/dht/dht.ts';
import type { DhtEvent } from '../../agent/dht/events.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { OperationId } from '../../agent/dht/operation.ts';
import type { Query, Value } from '../../agent/dht/value.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { VirtualClock } from './clock.ts';
import { Nat, type NatOptions } from './nat.ts';
import { CALM, type NetworkOptions, SimNetwork } from './network.ts';
import { seededRandom } from './seeded.ts';

/** 2026-11-21 00:00:00 UTC: where the wall clock of every world starts. */
export const WORLD_EPOCH_UNIX_MS = 1_795_219_200_000;

export interface WorldOptions {
  readonly seed?: number;
  readonly network?: Partial<NetworkOptions>;
}

export interface NodeOptions extends Partial<DhtOptions> {
  /** It lives in the private network of this box. */
  readonly nat?: Nat;
  /** Those of a machine that was there before: it starts again. */
  readonly addresses?: readonly Address[];
  /** What stands in for the engine, or in front of it: a node that does not do as it should. */
  readonly disguise?: (dht: Dht) => Engine<DhtEvent>;
}

/** Sees what a world's nodes send and get. */
export interface Tap {
  sent?(from: SimNode, to: Address, packet: Uint8Array, now: Millis): void;
  arrived?(at: SimNode, from: Address, packet: Uint8Array, now: Millis): void;
}

/** A node in the world, with what came of its operations. */
export class SimNode {
  readonly dht: Dht;
  /** What datagrams and time go through: `dht` itself unless it is in disguise. */
  readonly engine: Engine<DhtEvent>;
  /** One for each family that it speaks; private ones behind a NAT. */
  readonly addresses: readonly Address[];
  readonly nat: Nat | undefined;
  alive = true;
  /** It handed over what it kept, see `Dht.leave`. */
  hasLeft = false;
  /** The wake-up of its timer that counts; earlier plans are void. */
  wakeAt: Millis = Number.POSITIVE_INFINITY;
  readonly #events = new Map<OperationId, DhtEvent[]>();
  readonly #world: World;

  constructor(world: World, dht: Dht, addresses: readonly Address[], options: NodeOptions) {
    this.#world = world;
    this.dht = dht;
    this.engine = options.disguise?.(dht) ?? dht;
    this.addresses = addresses;
    this.nat = options.nat;
  }

  get id(): InfoHash {
    return this.dht.id;
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
    this.#world.forget(this);
  }

  put(key: InfoHash, value: Value, permanent = false): OperationId {
    return this.#world.turn(this, (now) => this.dht.put(key, value, permanent, now));
  }

  get(key: InfoHash, query?: Query): OperationId {
    return this.#world.turn(this, (now) => this.dht.get(key, query, now));
  }

  listen(key: InfoHash, query?: Query): OperationId {
    return this.#world.turn(this, (now) => this.dht.listen(key, query, now));
  }

  cancel(operation: OperationId): void {
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

  record(event: DhtEvent): void {
    if (event.type === 'left') this.hasLeft = true;
    if (!('operation' in event)) return;
    const events = this.#events.get(event.operation);
    if (events === undefined) this.#events.set(event.operation, [event]);
    else events.push(event);
  }

  /** The events of one operation so far. */
  of(operation: OperationId): readonly DhtEvent[] {
    return this.#events.get(operation) ?? [];
  }

  /** The values that a get or a listen told of. */
  values(operation: OperationId): Value[] {
    return this.of(operation).flatMap((event) =>
      (event.type === 'get.value' || event.type === 'listen.value') &&
      !('expired' in event && event.expired)
        ? [event.value]
        : [],
    );
  }

  isDone(operation: OperationId): boolean {
    return this.of(operation).some(({ type }) => type === 'get.done' || type === 'put.done');
  }

  /** Let go of what an operation came to: long stories would fill the heap with it. */
  forget(operation: OperationId): void {
    this.#events.delete(operation);
  }
}

/** Many nodes, one seeded network, one virtual clock. */
export class World {
  readonly random: Random;
  readonly network: SimNetwork;
  readonly taps = new Set<Tap>();
  /** Those that are alive. */
  readonly nodes: SimNode[] = [];
  readonly #clock = new VirtualClock(1000);
  readonly #byAddress = new Map<AddressKey, SimNode>();
  #machines = 0;
  #nats = 0;

  constructor({ seed = 1, network = {} }: WorldOptions = {}) {
    this.random = seededRandom(seed);
    this.network = new SimNetwork(
      { ...CALM, ...network },
      seededRandom(seed ^ 0x5eed),
      this.#clock,
      (from, to, packet) => this.#deliver(from, to, packet),
    );
  }

  get now(): Millis {
    return this.#clock.now;
  }

  randomHash(): InfoHash {
    return new InfoHash(this.random.bytes(20));
  }

  /** One of `things`, by chance. */
  pick<T>(things: readonly T[]): T {
    const picked = things[Math.floor(this.random.fraction() * things.length)];
    if (picked === undefined) throw new Error('nothing to pick from');
    return picked;
  }

  addNat(options: NatOptions): Nat {
    const number = ++this.#nats;
    return new Nat(Uint8Array.of(198, 18, number >> 8, number & 0xff), options);
  }

  add(options: NodeOptions = {}): SimNode {
    const number = ++this.#machines;
    const { families = [4], nat, disguise, addresses: known, ...dhtOptions } = options;
    const ipOf = (family: Family) => simIp(family, number, nat !== undefined);
    const addresses = known ?? families.map((family) => ({ ip: ipOf(family), port: 4222 }));
    const dht = new Dht(
      {
        id: this.randomHash(),
        families,
        random: seededRandom(this.random.uint32()),
        policy: cryptoPolicy,
        ...dhtOptions,
      },
      this.now,
    );
    dht.setWallClock(WORLD_EPOCH_UNIX_MS + this.now, this.now);
    const node = new SimNode(this, dht, addresses, options);
    if (nat !== undefined) for (const { ip } of addresses) this.network.putBehind(nat, ip);
    this.nodes.push(node);
    for (const address of addresses) this.#byAddress.set(addressKey(address), node);
    this.#drain(node);
    return node;
  }

  /** `count` nodes, one each `everyMs`, each bootstrapped at a random one that has an address of its own. */
  addMany(count: number, options: NodeOptions = {}, everyMs: Millis = 200): SimNode[] {
    const added: SimNode[] = [];
    for (let i = 0; i < count; i++) {
      added.push(this.addOne(options));
      this.run(everyMs);
    }
    return added;
  }

  /** A node that knows one other. */
  addOne(options: NodeOptions = {}): SimNode {
    const entries = this.nodes.filter(({ nat }) => nat === undefined);
    const node = this.add(options);
    if (entries.length > 0) node.bootstrap(this.pick(entries));
    return node;
  }

  /** A node died: nothing reaches it any more. */
  forget(node: SimNode): void {
    const index = this.nodes.indexOf(node);
    if (index >= 0) this.nodes.splice(index, 1);
    for (const address of node.addresses) this.#byAddress.delete(addressKey(address));
  }

  /** Put `packet` on the wire as if a stranger had sent it. */
  inject(from: Address, to: SimNode, packet: Uint8Array): void {
    this.network.send(from, to.address, packet);
  }

  /** Something that the story does by itself at `at`. */
  schedule(at: Millis, run: () => void): void {
    this.#clock.schedule(at, run);
  }

  turn<T>(node: SimNode, input: (now: Millis) => T): T {
    const result = input(this.now);
    this.#drain(node);
    return result;
  }

  /** Let `ms` pass. */
  run(ms: Millis): void {
    const end = this.now + ms;
    while (this.#clock.step(end));
  }

  /** @returns whether `done` came true within `ms`; time stands where it did */
  runUntil(done: () => boolean, ms: Millis): boolean {
    const end = this.now + ms;
    while (!done()) if (!this.#clock.step(end)) return false;
    return true;
  }

  #deliver(from: Address, to: Address, packet: Uint8Array): void {
    const node = this.#byAddress.get(addressKey(to));
    if (node === undefined) return;
    for (const tap of this.taps) tap.arrived?.(node, from, packet, this.now);
    this.turn(node, (now) => node.engine.receive(packet, from, now));
  }

  #drain(node: SimNode): void {
    const { engine } = node;
    for (let output = engine.poll(); output !== undefined; output = engine.poll()) {
      if (output.type === 'event') {
        node.record(output.event);
        continue;
      }
      for (const tap of this.taps) tap.sent?.(node, output.to, output.packet, this.now);
      const source = node.sourceTo(output.to);
      if (source !== undefined) this.network.send(source, output.to, output.packet);
    }
    const next = engine.nextTimeout();
    if (next < node.wakeAt) this.#wake(node, next);
  }

  /** A timer that moved to a later moment is looked at on the earlier one, and set anew. */
  #wake(node: SimNode, at: Millis): void {
    node.wakeAt = at;
    this.#clock.schedule(at, () => {
      if (node.wakeAt !== at || !node.alive) return;
      node.wakeAt = Number.POSITIVE_INFINITY;
      this.turn(node, (now) => {
        if (node.engine.nextTimeout() <= now) node.engine.timeout(now);
      });
    });
  }
}

/** 10.0.a.b, 192.168.a.b behind a NAT, or fd00:0:0:n::1. */
function simIp(family: Family, number: number, isPrivate: boolean): Uint8Array {
  const [high, low] = [(number >> 8) & 0xff, number & 0xff];
  if (family === 4)
    return isPrivate
      ? Uint8Array.of(192, 168, high, low)
      : Uint8Array.of(10, number >> 16, high, low);
  const ip = new Uint8Array(16);
  ip.set([0xfd, 0]);
  // A /64 of its own for each, as houses have.
  ip.set([high, low], 6);
  ip[15] = 1;
  return ip;
}

/** An unsigned value of type 0. */
export function plainValue(id: bigint, data: Uint8Array | string, type = 0): Value {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
  return { kind: 'plain', id, type, data: bytes };
}
