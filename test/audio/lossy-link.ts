import type { Timing } from '../../agent/audio/pace.ts';
import type { Millis } from '../../agent/base/clock.ts';
import type { Random } from '../../agent/base/random.ts';

export interface LinkOptions {
  readonly delayMs: Millis;
  /** Each packet takes up to this much longer, so that packets overtake each other when it exceeds their distance. */
  readonly jitterMs?: Millis;
  /** 0 … 1 */
  readonly loss?: number;
  readonly duplicate?: number;
}

/** One direction of a bad network: copies packets and brings them late, in another order, twice or not at all. */
export class LossyLink {
  readonly #timing: Timing;
  readonly #random: Random;
  readonly #deliver: (packet: Uint8Array, now: Millis) => void;
  options: LinkOptions;
  sent = 0;
  lost = 0;

  constructor(
    timing: Timing,
    random: Random,
    options: LinkOptions,
    deliver: (packet: Uint8Array, now: Millis) => void,
  ) {
    this.#timing = timing;
    this.#random = random;
    this.options = options;
    this.#deliver = deliver;
  }

  send(packet: Uint8Array): void {
    const { delayMs, jitterMs = 0, loss = 0, duplicate = 0 } = this.options;
    this.sent++;
    if (this.#random.fraction() < loss) {
      this.lost++;
      return;
    }
    const copies = this.#random.fraction() < duplicate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const copy = packet.slice();
      const { clock } = this.#timing;
      this.#timing
        .alarm(() => this.#deliver(copy, clock.now()))
        .arm(clock.now() + delayMs + jitterMs * this.#random.fraction());
    }
  }
}
