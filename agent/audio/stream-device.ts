import { type AudioDevice, type AudioSession, FRAME_MS, FRAME_SAMPLES } from './device.ts';
import { MAX_STREAM_AHEAD_FRAMES, START_FRAMES } from './limits.ts';
import type { Timing } from './pace.ts';
import { type FrameSink, type FrameSource, PacedSession } from './paced-session.ts';
import { SampleRing } from './sample-ring.ts';

/**
 * A device whose sound comes from and goes to somebody else, for example a command at the other end of a socket. That side
 * pushes about as fast as time goes by; this one keeps the pace.
 */
export class StreamDevice implements AudioDevice {
  readonly description = 'stream';
  readonly state = 'ok';
  readonly #timing: Timing;
  readonly #source = new StreamSource();
  #onHeard: (pcm: Int16Array) => void = () => {};

  constructor(timing: Timing) {
    this.#timing = timing;
  }

  /**
   * Queue sound to be said: 48 kHz mono, any number of samples. Over MAX_STREAM_AHEAD_FRAMES the oldest is dropped.
   * What is pushed while no session is open is not said.
   * @returns how much waits now, in ms: who reads a file keeps this low
   */
  push(pcm: Int16Array): number {
    this.#source.push(pcm);
    return this.#source.queuedMs;
  }

  /** Samples that were dropped because too many waited. */
  get droppedSamples(): number {
    return this.#source.droppedSamples;
  }

  /**
   * @param callback gets what is heard, silence included, FRAME_SAMPLES every FRAME_MS, in a buffer that is used again.
   * Must not throw.
   */
  onHeard(callback: (pcm: Int16Array) => void): void {
    this.#onHeard = callback;
  }

  async open(): Promise<AudioSession> {
    this.#source.clear();
    const sink: FrameSink = {
      write: (pcm) => this.#onHeard(pcm),
      droppedFrames: 0,
      close: async () => {},
    };
    return new PacedSession({ source: this.#source, sink, timing: this.#timing });
  }
}

/** What was pushed, after a head start of START_FRAMES that hides uneven arrival; silence when it runs dry. */
class StreamSource implements FrameSource {
  readonly #ring = new SampleRing(MAX_STREAM_AHEAD_FRAMES * FRAME_SAMPLES);
  #isRunning = false;
  droppedSamples = 0;

  get queuedMs(): number {
    return (this.#ring.size / FRAME_SAMPLES) * FRAME_MS;
  }

  push(pcm: Int16Array): void {
    this.droppedSamples += this.#ring.push(pcm);
  }

  clear(): void {
    this.#ring.clear();
    this.#isRunning = false;
  }

  read(out: Int16Array): void {
    if (!this.#isRunning) this.#isRunning = this.#ring.size >= START_FRAMES * FRAME_SAMPLES;
    if (this.#isRunning && this.#ring.shift(out)) return;
    this.#isRunning = false;
    out.fill(0);
  }
}
