import type { Millis } from '../base/clock.ts';

/** Something that is due at a moment. */
export interface Job {
  readonly at: Millis;
  /** Take it out. Idempotent; a job that ran is out. */
  cancel(): void;
}

class HeapJob implements Job {
  at: Millis;
  /** Position in the heap, −1 when out. */
  index = -1;
  readonly run: (now: Millis) => void;
  readonly #owner: Scheduler;

  constructor(owner: Scheduler, at: Millis, run: (now: Millis) => void) {
    this.#owner = owner;
    this.at = at;
    this.run = run;
  }

  cancel(): void {
    this.#owner.remove(this);
  }
}

/** All timers of the engine in one binary heap: the driver arms one wake-up for the first of them. */
export class Scheduler {
  readonly #heap: HeapJob[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** When the first job is due; Infinity without jobs. */
  next(): Millis {
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  /** `run` is called once, at the first `runDue` with `now` ≥ `at`. */
  schedule(at: Millis, run: (now: Millis) => void): Job {
    const job = new HeapJob(this, at, run);
    job.index = this.#heap.length;
    this.#heap.push(job);
    this.#up(job.index);
    return job;
  }

  /** Run what is due. A job that is scheduled meanwhile for `now` or earlier runs too. */
  runDue(now: Millis): void {
    for (;;) {
      const job = this.#heap[0];
      if (job === undefined || job.at > now) return;
      this.remove(job);
      job.run(now);
    }
  }

  remove(job: HeapJob): void {
    const { index } = job;
    if (index < 0) return;
    job.index = -1;
    const last = this.#heap.pop() as HeapJob;
    if (last === job) return;
    this.#heap[index] = last;
    last.index = index;
    this.#up(index);
    this.#down(last.index);
  }

  #up(start: number): void {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.#before(parent, index)) return;
      this.#swap(index, parent);
      index = parent;
    }
  }

  #down(start: number): void {
    let index = start;
    for (;;) {
      let first = 2 * index + 1;
      if (first >= this.#heap.length) return;
      if (first + 1 < this.#heap.length && this.#before(first + 1, first)) first++;
      if (this.#before(index, first)) return;
      this.#swap(index, first);
      index = first;
    }
  }

  #before(a: number, b: number): boolean {
    return (this.#heap[a] as HeapJob).at <= (this.#heap[b] as HeapJob).at;
  }

  #swap(a: number, b: number): void {
    const x = this.#heap[a] as HeapJob;
    const y = this.#heap[b] as HeapJob;
    this.#heap[a] = y;
    this.#heap[b] = x;
    y.index = a;
    x.index = b;
  }
}
