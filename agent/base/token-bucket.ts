import type { Millis } from './clock.ts';

/** A rate limit: so many at once, then one in `refillMs`. */
export class TokenBucket {
  readonly #burst: number;
  readonly #refillMs: Millis;
  // Counted, not kept as the moment at which it is full: sums of moments with fractions cost a burst its last one now and then.
  #tokens: number;
  #countedAt: Millis = 0;

  constructor(burst: number, refillMs: Millis) {
    this.#burst = burst;
    this.#refillMs = refillMs;
    this.#tokens = burst;
  }

  /**
   * @param now monotonic ms
   * @returns whether one was left, and takes it
   */
  take(now: Millis): boolean {
    const earned = (now - this.#countedAt) / this.#refillMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + earned);
    this.#countedAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
