import { type Address, formatAddress } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import type { Random } from '../../agent/base/random.ts';

export interface NetworkOptions {
  /** One way, before jitter. */
  readonly latencyMs: Millis;
  /** Added, uniform between 0 and this: enough of it reorders. */
  readonly jitterMs: Millis;
  /** 0 to 1. */
  readonly loss: number;
  readonly duplicates: number;
}

export const CALM: NetworkOptions = { latencyMs: 10, jitterMs: 2, loss: 0, duplicates: 0 };

interface Flight {
  readonly at: Millis;
  /** Breaks ties, so that a trace does not depend on the heap. */
  readonly order: number;
  readonly from: Address;
  readonly to: Address;
  readonly packet: Uint8Array;
}

/** A bad network as a small seeded engine: what is sent comes out later, twice, in another order, or not at all. */
export class SimNetwork {
  options: NetworkOptions;
  readonly #random: Random;
  readonly #flights: Flight[] = [];
  #order = 0;
  /** Sides of a partition by address; addresses on different sides do not reach each other. */
  readonly #sides = new Map<string, number>();
  sent = 0;
  lost = 0;

  constructor(options: NetworkOptions, random: Random) {
    this.options = options;
    this.#random = random;
  }

  send(from: Address, to: Address, packet: Uint8Array, now: Millis): void {
    const { latencyMs, jitterMs, loss, duplicates } = this.options;
    this.sent++;
    const side = (address: Address) => this.#sides.get(formatAddress(address)) ?? 0;
    if (side(from) !== side(to) || this.#random.fraction() < loss) {
      this.lost++;
      return;
    }
    const copies = this.#random.fraction() < duplicates ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const at = now + latencyMs + this.#random.fraction() * jitterMs;
      this.#insert({ at, order: this.#order++, from, to, packet: packet.slice() });
    }
  }

  /** Cut off: `address` reaches only those on its own side. 0 is where everybody starts. */
  moveToSide(address: Address, side: number): void {
    this.#sides.set(formatAddress(address), side);
  }

  nextArrival(): Millis {
    return this.#flights.at(-1)?.at ?? Number.POSITIVE_INFINITY;
  }

  /** The next datagram that has arrived by `now`. */
  take(now: Millis): Flight | undefined {
    return this.nextArrival() <= now ? this.#flights.pop() : undefined;
  }

  /** Kept latest first, so that the next one is at the end. */
  #insert(flight: Flight): void {
    let low = 0;
    let high = this.#flights.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#flights[middle] as Flight;
      if (other.at > flight.at || (other.at === flight.at && other.order > flight.order))
        low = middle + 1;
      else high = middle;
    }
    this.#flights.splice(low, 0, flight);
  }
}
