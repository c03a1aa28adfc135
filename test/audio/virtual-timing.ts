import type { Alarm, Timing } from '../../agent/audio/pace.ts';
import type { Millis } from '../../agent/base/clock.ts';

/** A clock that moves only by `advance`, with alarms that then ring in order of their deadlines. */
export class VirtualTiming implements Timing {
  #now: Millis = 1000;
  readonly #alarms = new Set<VirtualAlarm>();

  readonly clock = { now: () => this.#now, unixMs: () => 1_700_000_000_000 + this.#now };

  alarm(callback: () => void): Alarm {
    const alarm = new VirtualAlarm(callback);
    this.#alarms.add(alarm);
    return alarm;
  }

  advance(ms: Millis): void {
    const end = this.#now + ms;
    for (let due = this.#nextDue(end); due !== undefined; due = this.#nextDue(end)) {
      this.#now = Math.max(this.#now, due.deadline);
      due.ring();
    }
    this.#now = end;
  }

  /** Time goes by while the process does nothing: what was due meanwhile rings late. */
  stall(ms: Millis): void {
    this.#now += ms;
    this.advance(0);
  }

  #nextDue(end: Millis): VirtualAlarm | undefined {
    let next: VirtualAlarm | undefined;
    for (const alarm of this.#alarms) {
      if (alarm.deadline <= end && (next === undefined || alarm.deadline < next.deadline)) {
        next = alarm;
      }
    }
    return next;
  }
}

class VirtualAlarm implements Alarm {
  readonly #callback: () => void;
  deadline = Number.POSITIVE_INFINITY;

  constructor(callback: () => void) {
    this.#callback = callback;
  }

  arm(deadline: Millis): void {
    this.deadline = deadline;
  }

  disarm(): void {
    this.deadline = Number.POSITIVE_INFINITY;
  }

  ring(): void {
    this.disarm();
    this.#callback();
  }
}
