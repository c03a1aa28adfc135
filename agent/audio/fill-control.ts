import type { Millis } from '../base/clock.ts';
import { FRAME_MS } from './device.ts';

/** Observations that make one window: 1 s. */
const WINDOW_FRAMES = 50;

/**
 * Keeps the sound that waits in front of a speaker from growing or drying up, as it does when the card's clock is not ours or
 * after a stall was made up for. The fill goes up and down with every frame; what counts is the least of a second: that
 * much always waits, and is delay for nothing.
 */
export class FillControl {
  readonly #lowMs: Millis;
  readonly #highMs: Millis;
  #leastMs: Millis = Number.POSITIVE_INFINITY;
  #observed = 0;

  /** The least fill should stay in `lowMs` … `highMs`; they must be further apart than FRAME_MS. */
  constructor(lowMs: Millis, highMs: Millis) {
    this.#lowMs = lowMs;
    this.#highMs = highMs;
  }

  /**
   * Call once per frame, before it is queued or taken.
   * @param queuedMs what waits now
   * @returns frames to leave out; −1: play one more; 0 most of the time
   */
  observe(queuedMs: Millis): number {
    this.#leastMs = Math.min(this.#leastMs, queuedMs);
    if (++this.#observed < WINDOW_FRAMES) return 0;
    const least = this.#leastMs;
    this.restart();
    if (least < this.#lowMs) return -1;
    return Math.max(0, Math.ceil((least - this.#highMs) / FRAME_MS));
  }

  /** The fill was changed on purpose: what was seen before says nothing. */
  restart(): void {
    this.#leastMs = Number.POSITIVE_INFINITY;
    this.#observed = 0;
  }
}
