import type { Millis } from '../base/clock.ts';
import type { AddressKey } from './addresses.ts';
import { LIMITS } from './limits.ts';

const WINDOW_MS: Millis = 1000;

/**
 * How many in the last second, in two numbers: those of the second that runs, and of the one before it as much as still
 * reaches into the last 1,000 ms, taken as spread evenly. A burst after a pause is counted to the one.
 */
class SlidingWindow {
  #start: Millis;
  #count = 0;
  #before = 0;

  constructor(now: Millis) {
    this.#start = now;
  }

  /** Those of the last second. */
  used(now: Millis): number {
    const passed = now - this.#start;
    if (passed >= 2 * WINDOW_MS) {
      this.#before = 0;
      this.#count = 0;
      this.#start = now;
    } else if (passed >= WINDOW_MS) {
      this.#before = this.#count;
      this.#count = 0;
      this.#start += WINDOW_MS;
    }
    return this.#count + this.#before * (1 - (now - this.#start) / WINDOW_MS);
  }

  add(): void {
    this.#count++;
  }

  /** Nothing of it is left that counts. */
  isOver(now: Millis): boolean {
    return now - this.#start >= 2 * WINDOW_MS;
  }
}

/** So many a second from each source and in all, in a window that slides (opendht.md 18.1). */
export class RateLimit {
  readonly #perSource: number;
  readonly #perSecond: number;
  readonly #sources = new Map<AddressKey, SlidingWindow>();
  readonly #all = new SlidingWindow(0);
  #sweepAt: Millis = Number.NEGATIVE_INFINITY;
  refused = 0;
  /** Sources that had to be forgotten before their second was over. */
  forgotten = 0;

  constructor(perSource: number, total: number) {
    this.#perSource = perSource;
    this.#perSecond = total;
  }

  get sources(): number {
    return this.#sources.size;
  }

  /** May `source` have one more? Counts it if so. */
  take(source: AddressKey, now: Millis): boolean {
    const own = this.#sources.get(source) ?? this.#welcome(source, now);
    if (own.used(now) + 1 > this.#perSource || this.#all.used(now) + 1 > this.#perSecond) {
      this.refused++;
      return false;
    }
    own.add();
    this.#all.add();
    return true;
  }

  #welcome(source: AddressKey, now: Millis): SlidingWindow {
    if (this.#sources.size >= LIMITS.rateSources) this.#makeRoom(now);
    const own = new SlidingWindow(now);
    this.#sources.set(source, own);
    return own;
  }

  /** Quiet sources are as good as unknown ones; without any the one known longest goes. */
  #makeRoom(now: Millis): void {
    // Once a second: a flood from ever new addresses must not make us look at all of them for each datagram.
    if (now >= this.#sweepAt) {
      this.#sweepAt = now + WINDOW_MS;
      for (const [source, window] of this.#sources)
        if (window.isOver(now)) this.#sources.delete(source);
    }
    for (const source of this.#sources.keys()) {
      if (this.#sources.size < LIMITS.rateSources) return;
      this.#sources.delete(source);
      this.forgotten++;
    }
  }
}
