import type { Millis } from '../base/clock.ts';
import { TokenBucket } from '../base/token-bucket.ts';
import type { SecurityEvent } from '../events.ts';
import { REFUSAL_BURST, REFUSAL_REFILL_MS, SECURITY_EVENT_INTERVAL_MS } from './limits.ts';

/**
 * People who call without the right to. Each is counted; the household hears of it at once, then at
 * most once in an interval with how many there were; and only a few are told that they are refused,
 * because that costs us more than it costs them.
 */
export class Strangers {
  readonly #replies = new TokenBucket(REFUSAL_BURST, REFUSAL_REFILL_MS);
  #refused = 0;
  #untold = 0;
  #nextEventAt: Millis = Number.NEGATIVE_INFINITY;

  /** All that were refused. */
  get refused(): number {
    return this.#refused;
  }

  /** One more. @returns whether to tell it */
  refuse(now: Millis): boolean {
    this.#refused++;
    this.#untold++;
    return this.#replies.take(now);
  }

  /** @returns the event that is due, if one is */
  event(now: Millis): SecurityEvent | undefined {
    if (this.#untold === 0 || now < this.#nextEventAt) return undefined;
    const count = this.#untold;
    this.#untold = 0;
    this.#nextEventAt = now + SECURITY_EVENT_INTERVAL_MS;
    return { type: 'security', kind: 'unknown_caller', count };
  }

  nextTimeout(): Millis {
    return this.#untold === 0 ? Number.POSITIVE_INFINITY : this.#nextEventAt;
  }
}
