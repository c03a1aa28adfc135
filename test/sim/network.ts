import { type Address, sameIp } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import type { Random } from '../../agent/base/random.ts';
import { type AddressKey, sourceKey } from '../../agent/dht/addresses.ts';
import type { VirtualClock } from './clock.ts';
import type { Nat } from './nat.ts';

export interface NetworkOptions {
  /** One way, of the shortest link, before jitter. */
  readonly latencyMs: Millis;
  /** Two machines are up to this much further apart: the same each time and both ways, as the map has it. */
  readonly spreadMs: Millis;
  /** Added to each datagram, uniform between 0 and this: enough of it reorders. */
  readonly jitterMs: Millis;
  /** Shares, 0 to 1, of datagrams that are lost, that come twice, and that others overtake. */
  readonly loss: number;
  readonly duplicates: number;
  readonly stragglers: number;
  /** How much later stragglers come. */
  readonly stragglerMs: Millis;
  /** What a machine's line takes, bytes in a second; more waits its turn, for `queueMs` at most. */
  readonly uplinkBytesPerS: number;
  readonly queueMs: Millis;
}

export const CALM: NetworkOptions = {
  latencyMs: 10,
  spreadMs: 0,
  jitterMs: 2,
  loss: 0,
  duplicates: 0,
  stragglers: 0,
  stragglerMs: 300,
  uplinkBytesPerS: Number.POSITIVE_INFINITY,
  queueMs: 500,
};

/** Bytes of a datagram beside its payload: IPv4 and UDP headers. */
const HEADER_BYTES = 28;

/** Called for what arrives: `to` is the machine's own address, behind its NAT if it has one; `from` as that machine sees it. */
export type Deliver = (from: Address, to: Address, packet: Uint8Array) => void;

/** A bad network, seeded: what is sent comes out later, twice, in another order, or not at all. */
export class SimNetwork {
  options: NetworkOptions;
  readonly #seed: number;
  readonly #random: Random;
  readonly #clock: VirtualClock;
  readonly #deliver: Deliver;
  /** Sides of a partition; machines on different sides do not reach each other. */
  readonly #sides = new Map<AddressKey, number>();
  /** The box in front of each private address, and by its own address. */
  readonly #natOf = new Map<AddressKey, Nat>();
  readonly #nats = new Map<AddressKey, Nat>();
  /** When each line has sent what it has. */
  readonly #lineFreeAt = new Map<AddressKey, Millis>();
  sent = 0;
  /** Lost on the way: by chance, at the partition, at a NAT, in a full queue. */
  lost = 0;

  constructor(options: NetworkOptions, random: Random, clock: VirtualClock, deliver: Deliver) {
    this.options = options;
    this.#seed = random.uint32();
    this.#random = random;
    this.#clock = clock;
    this.#deliver = deliver;
  }

  /** The machine at `ip` is behind `nat` from now on. */
  putBehind(nat: Nat, ip: Uint8Array): void {
    this.#natOf.set(sourceKey(ip), nat);
    this.#nats.set(sourceKey(nat.ip), nat);
  }

  /** Cut off: the machine reaches only those on its own side. 0 is where everybody starts. A NAT moves with its address outside. */
  moveToSide({ ip }: { readonly ip: Uint8Array }, side: number): void {
    if (side === 0) this.#sides.delete(sourceKey(ip));
    else this.#sides.set(sourceKey(ip), side);
  }

  #sideOf({ ip }: Address): number {
    return this.#sides.get(sourceKey(ip)) ?? 0;
  }

  send(from: Address, to: Address, packet: Uint8Array): void {
    const { now } = this.#clock;
    const { options } = this;
    this.sent++;
    const box = this.#natOf.get(sourceKey(from.ip));
    // Within its own network a machine speaks past the box.
    const nat = box === this.#natOf.get(sourceKey(to.ip)) ? undefined : box;
    const source = nat?.outbound(from, to, now) ?? from;
    const queued = this.#queue(source, packet.length);
    if (
      queued === undefined ||
      (this.#sides.size > 0 && this.#sideOf(source) !== this.#sideOf(to)) ||
      this.#random.fraction() < options.loss
    ) {
      this.lost++;
      return;
    }
    const copies = this.#random.fraction() < options.duplicates ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const straggles = this.#random.fraction() < options.stragglers;
      const at =
        now +
        queued +
        options.latencyMs +
        options.spreadMs * this.#distance(source, to) +
        options.jitterMs * this.#random.fraction() +
        (straggles ? options.stragglerMs : 0);
      const copy = packet.slice();
      this.#clock.schedule(at, () => this.#arrive(source, to, copy, box));
    }
  }

  #arrive(source: Address, to: Address, packet: Uint8Array, box: Nat | undefined): void {
    const nat = this.#nats.get(sourceKey(to.ip));
    const target = nat === undefined ? to : nat.inbound(source, to.port, this.#clock.now);
    const inFront = nat === undefined ? this.#natOf.get(sourceKey(to.ip)) : undefined;
    // A private address means nothing outside its own network.
    if (target === undefined || (inFront !== undefined && inFront !== box)) this.lost++;
    else this.#deliver(source, target, packet);
  }

  /** How long a datagram waits for its line; undefined when the queue is full. */
  #queue(source: Address, bytes: number): Millis | undefined {
    const { uplinkBytesPerS, queueMs } = this.options;
    if (uplinkBytesPerS === Number.POSITIVE_INFINITY) return 0;
    const { now } = this.#clock;
    const line = sourceKey(source.ip);
    const free = Math.max(now, this.#lineFreeAt.get(line) ?? 0);
    if (free - now > queueMs) return undefined;
    const sentAt = free + (1000 * (bytes + HEADER_BYTES)) / uplinkBytesPerS;
    this.#lineFreeAt.set(line, sentAt);
    return sentAt - now;
  }

  /** Of two machines, 0 to 1: the same for the same pair and seed. */
  #distance(a: Address, b: Address): number {
    if (sameIp(a.ip, b.ip)) return 0;
    const sum = (hashBytes(a.ip) + hashBytes(b.ip)) | 0;
    return mix(sum ^ this.#seed) / 2 ** 32;
  }
}

/** FNV-1a. */
function hashBytes(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return mix(hash);
}

/** The last steps of MurmurHash3: every bit of the input reaches every bit of the result. */
function mix(hash: number): number {
  let x = hash;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
