import type { Millis } from '../base/clock.ts';
import type { Envelope, EventBody } from './payload.ts';

export interface QueuedEvent {
  readonly body: EventBody;
  readonly envelope: Envelope;
  /** Monotonic ms when it happened. */
  readonly happenedAt: Millis;
}

interface Entry {
  readonly event: QueuedEvent;
  /** Token of the publish that carries it; undefined while it waits. */
  token: number | undefined;
}

/**
 * Events in order until the broker has acknowledged them. A publish cut off by a lost connection is sent again in its
 * old place (consumers drop the second by its id). Full, the oldest goes.
 */
export class EventQueue {
  readonly #limit: number;
  readonly #entries: Entry[] = [];
  dropped = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.length;
  }

  push(event: QueuedEvent): void {
    if (this.#entries.length >= this.#limit) {
      this.#entries.shift();
      this.dropped++;
    }
    this.#entries.push({ event, token: undefined });
  }

  /** The oldest event that waits, now carried by `token`. */
  take(token: number): QueuedEvent | undefined {
    const entry = this.#entries.find((candidate) => candidate.token === undefined);
    if (entry === undefined) return undefined;
    entry.token = token;
    return entry.event;
  }

  /** The publish with `token` arrived: forget its event. */
  settle(token: number): void {
    const index = this.#entries.findIndex((entry) => entry.token === token);
    if (index >= 0) this.#entries.splice(index, 1);
  }

  /** The connection is gone: whatever was not acknowledged waits again. */
  rewind(): void {
    for (const entry of this.#entries) entry.token = undefined;
  }
}
