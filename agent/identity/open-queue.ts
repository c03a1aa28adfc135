import { IN_ORDER_WAITING, MAX_WAITING_BYTES, MAX_WAITING_PER_LANE } from './limits.ts';

/**
 * Encrypted values that wait for the RSA key. Who made one shows only after the expensive part, so a flood of junk cannot be
 * told from a caller before. What can be done is done by order:
 *
 * - each lane (one listen, one get) has its own bounded row, and lanes take turns: a flood at the public inbox does not delay
 *   what comes to a key that only the two in a call know;
 * - all rows together have so many bytes, and when they are full the longest row pays;
 * - a short row is served in order of arrival; a long one newest first, and its oldest goes when it is full ("adaptive
 *   LIFO"): a call that comes now is next, while first-come-first-served would make it wait for the whole flood, until the
 *   caller has given up.
 */
export class OpenQueue<T> {
  readonly #rows = new Map<string, Row<T>>();
  #bytes = 0;
  #size = 0;
  dropped = 0;

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @returns what had to go in exchange */
  push(lane: string, item: T, bytes: number): T[] {
    const row = this.#rows.get(lane) ?? { items: [], bytes: 0 };
    this.#rows.set(lane, row);
    row.items.push({ item, bytes });
    row.bytes += bytes;
    this.#bytes += bytes;
    this.#size++;
    const gone: T[] = [];
    if (row.items.length > MAX_WAITING_PER_LANE) gone.push(...this.#take(row, 'oldest'));
    while (this.#bytes > MAX_WAITING_BYTES) gone.push(...this.#take(this.#longest(), 'oldest'));
    this.dropped += gone.length;
    return gone;
  }

  /** The next item of the lane whose turn it is. */
  shift(): T | undefined {
    for (const [lane, row] of this.#rows) {
      const [item] = this.#take(row, row.items.length > IN_ORDER_WAITING ? 'newest' : 'oldest');
      // Deleted and set again, a lane stands behind all others.
      this.#rows.delete(lane);
      if (row.items.length > 0) this.#rows.set(lane, row);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  /** Forget what waits in a lane. */
  clear(lane: string): void {
    const row = this.#rows.get(lane);
    if (row === undefined) return;
    this.#rows.delete(lane);
    this.#bytes -= row.bytes;
    this.#size -= row.items.length;
  }

  #take(row: Row<T> | undefined, which: 'oldest' | 'newest'): T[] {
    const taken = which === 'oldest' ? row?.items.shift() : row?.items.pop();
    if (row === undefined || taken === undefined) return [];
    row.bytes -= taken.bytes;
    this.#bytes -= taken.bytes;
    this.#size--;
    return [taken.item];
  }

  #longest(): Row<T> | undefined {
    let longest: Row<T> | undefined;
    for (const row of this.#rows.values())
      if (longest === undefined || row.bytes > longest.bytes) longest = row;
    return longest;
  }
}

interface Row<T> {
  readonly items: { readonly item: T; readonly bytes: number }[];
  bytes: number;
}
