import type { Millis } from '../../agent/base/clock.ts';

interface Due {
  readonly at: Millis;
  /** Breaks ties: what was scheduled first runs first, so that a trace does not depend on the heap. */
  readonly order: number;
  readonly run: () => void;
}

/** The one clock of a world. It jumps from one thing that is due to the next; nobody sleeps. */
export class VirtualClock {
  #now: Millis;
  #order = 0;
  /** A binary heap, the earliest at 0. */
  readonly #heap: Due[] = [];

  constructor(start: Millis) {
    this.#now = start;
  }

  get now(): Millis {
    return this.#now;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** `run` is called once, at `at`, or next when that has passed. It cannot be taken back: let it look whether it is still wanted. */
  schedule(at: Millis, run: () => void): void {
    const heap = this.#heap;
    const due: Due = { at, order: this.#order++, run };
    let index = heap.length;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent] as Due;
      if (isBefore(above, due)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = due;
  }

  /**
   * Go to the next thing that is due by `end` and run it.
   * @returns false when there was none: the clock stands at `end`
   */
  step(end: Millis): boolean {
    const first = this.#heap[0];
    if (first === undefined || first.at > end) {
      this.#now = Math.max(this.#now, end);
      return false;
    }
    this.#removeFirst();
    this.#now = Math.max(this.#now, first.at);
    first.run();
    return true;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop() as Due;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Due, heap[child] as Due)) child++;
      const below = heap[child] as Due;
      if (isBefore(last, below)) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = last;
  }
}

const isBefore = (a: Due, b: Due): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
