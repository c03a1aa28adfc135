import { IN_ORDER_WAITING, MAX_WAITING_PER_KEY } from './limits.ts';

/**
 * Sealed values that wait for the RSA key. Who sent one shows only after the expensive part, so a flood of junk cannot be
 * told from a caller before. What can be done is done by order:
 *
 * - each lane (a key we listen to) has its own bounded row, and lanes take turns: a flood at the public inbox does not delay
 *   what comes to a key that only the two in a call know;
 * - a short row is served in order of arrival; a long one newest first, and its oldest goes when it is full ("adaptive
 *   LIFO"): a call that comes now is next, while first-come-first-served would make it wait for the whole flood, until the
 *   caller has given up.
 */
export class OpenQueue<T> {
  readonly #lanes = new Map<string, T[]>();
  dropped = 0;

  get size(): number {
    let size = 0;
    for (const row of this.#lanes.values()) size += row.length;
    return size;
  }

  push(lane: string, item: T): void {
    const row = this.#lanes.get(lane) ?? [];
    this.#lanes.set(lane, row);
    row.push(item);
    if (row.length <= MAX_WAITING_PER_KEY) return;
    row.shift();
    this.dropped++;
  }

  /** The next item of the lane whose turn it is. */
  shift(): T | undefined {
    for (const [lane, row] of this.#lanes) {
      const item = row.length > IN_ORDER_WAITING ? row.pop() : row.shift();
      // Deleted and set again, a lane stands behind all others.
      this.#lanes.delete(lane);
      if (row.length > 0) this.#lanes.set(lane, row);
      return item;
    }
    return undefined;
  }

  /** Forget what waits in a lane. */
  clear(lane: string): void {
    this.#lanes.delete(lane);
  }
}
