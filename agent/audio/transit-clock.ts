import type { Millis } from '../base/clock.ts';

/** The fastest transit is looked for among the packets of the last one to two windows. */
const WINDOW_MS: Millis = 5000;

/**
 * How long packets are under way. A transit is arrival (our clock, ms) less RTP timestamp (their clock, ms): meaningless by
 * itself, since the clocks start anywhere, but its differences are jitter and its minimum is the undisturbed path. Older
 * minima are forgotten, so the two clocks may drift.
 */
export class TransitClock {
  #windowStart: Millis = 0;
  #before: Millis = 0;
  #current: Millis = 0;
  #last: Millis = 0;
  #jitter: Millis = 0;

  /** Smallest recent transit. */
  get fastest(): Millis {
    return Math.min(this.#before, this.#current);
  }

  /** Interarrival jitter, RFC 3550 §6.4.1, in ms. */
  get jitter(): Millis {
    return this.#jitter;
  }

  /** Forget the path; `transit` is the first of a new one. */
  restart(transit: Millis, now: Millis): void {
    this.#windowStart = now;
    this.#before = transit;
    this.#current = transit;
    this.#last = transit;
  }

  observe(transit: Millis, now: Millis): void {
    if (now - this.#windowStart >= WINDOW_MS) {
      this.#before = this.#current;
      this.#current = transit;
      this.#windowStart = now;
    }
    this.#current = Math.min(this.#current, transit);
    this.#jitter += (Math.abs(transit - this.#last) - this.#jitter) / 16;
    this.#last = transit;
  }
}
