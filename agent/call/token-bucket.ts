import type { Millis } from '../base/clock.ts';

/** So many at once, then one in `refillMs`. */
export class TokenBucket {
  readonly #burst: number;
  readonly #refillMs: Millis;
  /** When the bucket is, or was, full. */
  #fullAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(burst: number, refillMs: Millis) {
    this.#burst = burst;
    this.#refillMs = refillMs;
  }

  /** @returns whether one was left, and takes it */
  take(now: Millis): boolean {
    const fullAt = Math.max(this.#fullAt, now) + this.#refillMs;
    if (fullAt - now > this.#burst * this.#refillMs) return false;
    this.#fullAt = fullAt;
    return true;
  }
}
