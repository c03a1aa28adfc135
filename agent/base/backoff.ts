import type { Millis } from './clock.ts';
import type { Random } from './random.ts';

/**
 * Exponential backoff with full jitter.
 * @param attempt 0 for the first retry
 * @returns delay in ms, uniform between half and the whole of min(firstMs · 2^attempt, maxMs)
 */
export function backoffMs(attempt: number, firstMs: Millis, maxMs: Millis, random: Random): Millis {
  const ceiling = Math.min(firstMs * 2 ** Math.min(attempt, 32), maxMs);
  return ceiling * (0.5 + 0.5 * random.fraction());
}
