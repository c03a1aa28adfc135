import { BoundedMap } from '../base/bounded.ts';
import type { Millis } from '../base/clock.ts';
import { LOG_AGAIN_MS, LOGGED_KINDS } from './limits.ts';

/** Lets one complaint of a kind through, then none for LOG_AGAIN_MS: a broker down for a week is not a log full of it. */
export class Quiet {
  readonly #kinds = new BoundedMap<string, { until: Millis; suppressed: number }>(LOGGED_KINDS);

  /** @returns how many were swallowed since the last one, or undefined when this one is to be swallowed too */
  pass(kind: string, now: Millis): number | undefined {
    const known = this.#kinds.get(kind);
    if (known !== undefined && now < known.until) {
      known.suppressed++;
      return undefined;
    }
    this.#kinds.set(kind, { until: now + LOG_AGAIN_MS, suppressed: 0 });
    return known?.suppressed ?? 0;
  }
}
