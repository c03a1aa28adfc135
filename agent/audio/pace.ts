import { type Clock, type Millis, systemClock, WakeUp } from '../base/clock.ts';
import { MAX_CATCH_UP_FRAMES } from './limits.ts';

/** One re-armable timer; `WakeUp` is the real one, tests bring a virtual one. */
export interface Alarm {
  arm(deadline: Millis): void;
  disarm(): void;
}

/** A clock and the timers that run on it. */
export interface Timing {
  readonly clock: Clock;
  alarm(callback: () => void): Alarm;
}

export const systemTiming: Timing = {
  clock: systemClock,
  alarm: (callback) => new WakeUp(systemClock, callback),
};

/**
 * Calls `onTick` at start + n · interval, by an absolute schedule, so that a late timer never adds up. `due` is the time
 * the tick was meant for, monotonic ms. After a stall at most MAX_CATCH_UP_FRAMES ticks run at once; how many were left
 * out before a tick is `missed`.
 */
export class Pacer {
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  readonly #intervalMs: Millis;
  readonly #onTick: (due: Millis, missed: number) => void;
  #next: Millis | undefined;

  constructor(timing: Timing, intervalMs: Millis, onTick: (due: Millis, missed: number) => void) {
    this.#clock = timing.clock;
    this.#alarm = timing.alarm(() => this.#run());
    this.#intervalMs = intervalMs;
    this.#onTick = onTick;
  }

  /** The first tick comes one interval from now. */
  start(): void {
    this.#next = this.#clock.now() + this.#intervalMs;
    this.#alarm.arm(this.#next);
  }

  stop(): void {
    this.#next = undefined;
    this.#alarm.disarm();
  }

  #run(): void {
    if (this.#next === undefined) return;
    const now = this.#clock.now();
    const behind = Math.floor((now - this.#next) / this.#intervalMs) + 1;
    let missed = Math.max(0, behind - MAX_CATCH_UP_FRAMES);
    this.#next += missed * this.#intervalMs;
    while (this.#next !== undefined && this.#next <= now) {
      const due = this.#next;
      this.#next += this.#intervalMs;
      this.#onTick(due, missed);
      missed = 0;
    }
    // A tick may have stopped us.
    if (this.#next !== undefined) this.#alarm.arm(this.#next);
  }
}
