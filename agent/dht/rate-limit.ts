import type { Millis } from '../base/clock.ts';
import type { AddressKey } from './addresses.ts';
import { LIMITS } from './limits.ts';

/**
 * So many a second from each source and in all (opendht.md 18.1). Kept as the moment at which a source would have used up
 * what it took if it took one every 1/rate s (the generic cell rate algorithm): one number for each, no windows.
 */
export class RateLimit {
  readonly #perSourceMs: Millis;
  readonly #totalMs: Millis;
  readonly #sources = new Map<AddressKey, Millis>();
  #total: Millis = 0;
  refused = 0;
  /** Sources that had to be forgotten before their second was over. */
  forgotten = 0;

  constructor(perSource: number, total: number) {
    this.#perSourceMs = 1000 / perSource;
    this.#totalMs = 1000 / total;
  }

  get sources(): number {
    return this.#sources.size;
  }

  /** May `source` have one more? Counts it if so. */
  take(source: AddressKey, now: Millis): boolean {
    const own = Math.max(this.#sources.get(source) ?? 0, now) + this.#perSourceMs;
    const total = Math.max(this.#total, now) + this.#totalMs;
    if (own > now + 1000 || total > now + 1000) {
      this.refused++;
      return false;
    }
    this.#total = total;
    if (this.#sources.size >= LIMITS.rateSources && !this.#sources.has(source)) this.#forget(now);
    this.#sources.set(source, own);
    return true;
  }

  /** Sources that used up nothing are as good as unknown ones; of the others the oldest go. */
  #forget(now: Millis): void {
    for (const [source, usedUp] of this.#sources) if (usedUp <= now) this.#sources.delete(source);
    for (const source of this.#sources.keys()) {
      if (this.#sources.size < LIMITS.rateSources) break;
      this.#sources.delete(source);
      this.forgotten++;
    }
  }
}
