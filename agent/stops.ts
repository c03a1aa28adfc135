import { errorText } from './base/errors.ts';
import type { Logger } from './base/log.ts';

/** What was started, to be stopped in reverse: when something cannot start, and at the end. */
export class Stops {
  readonly #log: Logger;
  readonly #stops: (() => Promise<void>)[] = [];
  #running: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  add(stop: () => Promise<void>): void {
    this.#stops.push(stop);
  }

  /** Idempotent, never rejects: what cannot stop is logged, and the rest is stopped all the same. */
  run(): Promise<void> {
    this.#running ??= this.#runAll();
    return this.#running;
  }

  async #runAll(): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) {
      try {
        await stop();
      } catch (error) {
        this.#log.warn('a part did not stop', { why: errorText(error) });
      }
    }
  }
}
