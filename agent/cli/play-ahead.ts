import { FRAME_MS } from '../audio/device.ts';
import type { Millis } from '../base/clock.ts';

/** How much of the played file waits at the station: rides out a stall of this process, and is half of what it takes. */
const AHEAD_MS: Millis = 500;
const TURN_MS: Millis = 100;

/**
 * How many frames of a file are due, so that the station always has some and never too many. Pure: counts frames against
 * the clock, knows no sound.
 */
export class PlayAhead {
  readonly #frames: number;
  readonly #start: Millis;
  #sent = 0;

  /** @param now monotonic ms, when the first frame may be heard */
  constructor(frames: number, now: Millis) {
    this.#frames = frames;
    this.#start = now;
  }

  /** Take the frames that are to be sent now. */
  take(now: Millis): number {
    const due = Math.floor((now - this.#start + AHEAD_MS) / FRAME_MS);
    const count = Math.max(0, Math.min(due, this.#frames) - this.#sent);
    this.#sent += count;
    return count;
  }

  /** When to take again; Infinity when all were taken. */
  nextTimeout(now: Millis): Millis {
    return this.#sent >= this.#frames ? Number.POSITIVE_INFINITY : now + TURN_MS;
  }
}
