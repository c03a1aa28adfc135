import type { Timing } from '../../agent/audio/pace.ts';
import { EPIPE, type Pcm, type PcmDirection, PcmError } from '../../agent/audio/pcm.ts';
import type { Millis } from '../../agent/base/clock.ts';

const BUFFER_SAMPLES = 5760;
const ENODEV = 19;
const EAGAIN = 11;

/** A sound card with a crystal of its own, that can be pulled and plugged. */
export class FakeCard {
  readonly #timing: Timing;
  /** How fast its clock is: 1.0002 is 200 ppm fast. */
  readonly speed: number;
  isPlugged = true;
  errno = ENODEV;
  opened = 0;
  closed = 0;
  /** Samples played to the end. */
  readonly heard: number[] = [];

  constructor(timing: Timing, speed = 1) {
    this.#timing = timing;
    this.speed = speed;
  }

  readonly open = async (direction: PcmDirection): Promise<Pcm> => {
    if (!this.isPlugged) throw new PcmError(this.errno, 'No such device');
    this.opened++;
    return new FakePcm(this, direction);
  };

  /** Samples its crystal has counted since `since`. */
  samplesSince(since: Millis): number {
    return Math.floor((this.now() - since) * 48 * this.speed);
  }

  now(): Millis {
    return this.#timing.clock.now();
  }
}

class FakePcm implements Pcm {
  readonly bufferSamples = BUFFER_SAMPLES;
  readonly #card: FakeCard;
  readonly #direction: PcmDirection;
  #startedAt: Millis | undefined;
  /** Samples read or written since the start. */
  #moved = 0;

  constructor(card: FakeCard, direction: PcmDirection) {
    this.#card = card;
    this.#direction = direction;
  }

  available(): number {
    if (!this.#card.isPlugged) return -ENODEV;
    const passed = this.#startedAt === undefined ? 0 : this.#card.samplesSince(this.#startedAt);
    const available =
      this.#direction === 'capture'
        ? passed - this.#moved
        : BUFFER_SAMPLES - (this.#moved - passed);
    return available > BUFFER_SAMPLES ? -EPIPE : available;
  }

  read(out: Int16Array): number {
    const available = this.available();
    if (available < 0) return available;
    if (available < out.length) return -EAGAIN;
    this.#moved += out.length;
    out.fill(1234);
    return out.length;
  }

  write(pcm: Int16Array): number {
    const available = this.available();
    if (available < 0) return available;
    const written = Math.min(available, pcm.length);
    if (written === 0) return -EAGAIN;
    this.#moved += written;
    this.#card.heard.push(pcm[0] ?? 0);
    return written;
  }

  start(): number {
    if (!this.#card.isPlugged) return -ENODEV;
    this.#startedAt = this.#card.now();
    return 0;
  }

  prepare(): number {
    if (!this.#card.isPlugged) return -ENODEV;
    this.#startedAt = undefined;
    this.#moved = 0;
    return 0;
  }

  async close(): Promise<void> {
    this.#card.closed++;
  }
}
