/** First in, first out of PCM samples in one fixed array. Over its size the oldest samples go. */
export class SampleRing {
  readonly #samples: Int16Array;
  #read = 0;
  #size = 0;

  /** @param capacity in samples */
  constructor(capacity: number) {
    this.#samples = new Int16Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  /** @returns how many samples, old or new, were lost because the ring was full */
  push(pcm: Int16Array): number {
    const capacity = this.#samples.length;
    const fitting = pcm.length > capacity ? pcm.subarray(pcm.length - capacity) : pcm;
    const overflow = Math.max(0, this.#size + fitting.length - capacity);
    this.#drop(overflow);
    const write = (this.#read + this.#size) % capacity;
    const first = Math.min(fitting.length, capacity - write);
    this.#samples.set(fitting.subarray(0, first), write);
    this.#samples.set(fitting.subarray(first), 0);
    this.#size += fitting.length;
    return overflow + pcm.length - fitting.length;
  }

  /** Fill `out` wholly and give true, or leave it as it is and give false. */
  shift(out: Int16Array): boolean {
    if (this.#size < out.length) return false;
    const first = Math.min(out.length, this.#samples.length - this.#read);
    out.set(this.#samples.subarray(this.#read, this.#read + first));
    out.set(this.#samples.subarray(0, out.length - first), first);
    this.#drop(out.length);
    return true;
  }

  clear(): void {
    this.#size = 0;
  }

  #drop(count: number): void {
    this.#read = (this.#read + count) % this.#samples.length;
    this.#size -= count;
  }
}
