/** Milliseconds. Which clock they count on is said by the name of the value (`now`: monotonic). */
export type Millis = number;

/**
 * The two times of the process. Engines get `now` as an argument and never see this; drivers and the
 * assembly do. Media time (RTP ticks) is a third time and lives in `audio/`.
 */
export interface Clock {
  /** Monotonic milliseconds since an arbitrary moment. For every timer and timeout. */
  now(): Millis;
  /** Wall clock, milliseconds since 1970 UTC. May be wrong or jump: only for dates on the wire and in files. */
  unixMs(): Millis;
}

/** Both times, read once per turn: for engines that also put dates on the wire. */
export interface Moment {
  /** Monotonic ms. */
  readonly now: Millis;
  /** Wall clock ms. */
  readonly unixMs: number;
}

export function readClock(clock: Clock): Moment {
  return { now: clock.now(), unixMs: clock.unixMs() };
}

export const systemClock: Clock = {
  now: () => performance.now(),
  unixMs: () => Date.now(),
};

/** Longest delay that `setTimeout` takes; a longer one fires at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * One re-armable timer for one engine: the only `setTimeout` outside drivers. `arm(deadline)` replaces what
 * was armed before; `Infinity` disarms. The callback may come early (the clamp above): engines look at `now`.
 */
export class WakeUp {
  readonly #clock: Clock;
  readonly #callback: () => void;
  #timer: NodeJS.Timeout | undefined;
  #deadline: Millis = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, callback: () => void) {
    this.#clock = clock;
    this.#callback = callback;
  }

  /** @param deadline monotonic ms */
  arm(deadline: Millis): void {
    if (deadline === this.#deadline && this.#timer !== undefined) return;
    this.disarm();
    if (deadline === Number.POSITIVE_INFINITY) return;
    this.#deadline = deadline;
    const delay = Math.min(Math.max(0, Math.ceil(deadline - this.#clock.now())), MAX_TIMEOUT_MS);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#deadline = Number.POSITIVE_INFINITY;
      this.#callback();
    }, delay);
  }

  disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#deadline = Number.POSITIVE_INFINITY;
  }
}

/** Wait for `work`, but no longer than `limitMs`. @returns whether it was done by then */
export async function doneWithin(
  work: Promise<unknown>,
  limitMs: Millis,
  clock: Clock,
): Promise<boolean> {
  let wakeUp: WakeUp | undefined;
  const tooLate = new Promise<boolean>((resolve) => {
    wakeUp = new WakeUp(clock, () => resolve(false));
    wakeUp.arm(clock.now() + limitMs);
  });
  try {
    return await Promise.race([work.then(() => true), tooLate]);
  } finally {
    wakeUp?.disarm();
  }
}
