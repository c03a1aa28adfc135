/**
 * A map with a named maximum. Over it, the entry that was set longest ago goes, and `evicted` counts it; a
 * `get` does not make an entry younger. Iteration is from oldest to newest.
 */
export class BoundedMap<K, V> {
  readonly limit: number;
  readonly #map = new Map<K, V>();
  readonly #onEvict: ((key: K, value: V) => void) | undefined;
  evicted = 0;

  constructor(limit: number, onEvict?: (key: K, value: V) => void) {
    this.limit = limit;
    this.#onEvict = onEvict;
  }

  get size(): number {
    return this.#map.size;
  }

  get(key: K): V | undefined {
    return this.#map.get(key);
  }

  has(key: K): boolean {
    return this.#map.has(key);
  }

  /** Set `key` and make it the newest entry. */
  set(key: K, value: V): void {
    this.#map.delete(key);
    this.#map.set(key, value);
    while (this.#map.size > this.limit) {
      const oldest = this.#map.entries().next().value as [K, V];
      this.#map.delete(oldest[0]);
      this.evicted++;
      this.#onEvict?.(oldest[0], oldest[1]);
    }
  }

  delete(key: K): boolean {
    return this.#map.delete(key);
  }

  clear(): void {
    this.#map.clear();
  }

  keys(): IterableIterator<K> {
    return this.#map.keys();
  }

  values(): IterableIterator<V> {
    return this.#map.values();
  }

  entries(): IterableIterator<[K, V]> {
    return this.#map.entries();
  }
}

/** First in, first out, with a named maximum. A full queue refuses (`push` gives false) or drops its oldest. */
export class BoundedQueue<T> {
  readonly limit: number;
  readonly #whenFull: 'refuse' | 'drop-oldest';
  #items: T[] = [];
  #head = 0;
  dropped = 0;

  constructor(limit: number, whenFull: 'refuse' | 'drop-oldest') {
    this.limit = limit;
    this.#whenFull = whenFull;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** @returns false when the queue was full and `item` was refused */
  push(item: T): boolean {
    if (this.size >= this.limit) {
      this.dropped++;
      if (this.#whenFull === 'refuse') return false;
      this.shift();
    }
    this.#items.push(item);
    return true;
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head] as T;
    this.#items[this.#head] = undefined as T;
    this.#head++;
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}
