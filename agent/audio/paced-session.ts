import type { Millis } from '../base/clock.ts';
import {
  type AudioSession,
  type AudioState,
  type AudioStats,
  FRAME_MS,
  FRAME_SAMPLES,
} from './device.ts';
import { FillControl } from './fill-control.ts';
import { MAX_MISSED_FRAMES, MAX_QUEUED_FRAMES, START_FRAMES } from './limits.ts';
import { Pacer, type Timing } from './pace.ts';
import { SampleRing } from './sample-ring.ts';

/** Where captured sound comes from when no card gives it. */
export interface FrameSource {
  /** Fill `out` with the next FRAME_SAMPLES. */
  read(out: Int16Array): void;
}

/** Where heard sound goes to when no card takes it. */
export interface FrameSink {
  /** FRAME_SAMPLES samples, silence included, once per FRAME_MS. Must not throw. */
  write(pcm: Int16Array): void;
  /** Frames that were lost on the way there. */
  readonly droppedFrames: number;
  /** Never throws. */
  close(): Promise<void>;
}

export const SILENCE: FrameSource = { read: (out) => out.fill(0) };
export const NOWHERE: FrameSink = { write: () => {}, droppedFrames: 0, close: async () => {} };

export interface PacedSessionOptions {
  readonly source: FrameSource;
  readonly sink: FrameSink;
  readonly timing: Timing;
  /** Told at start. */
  readonly state?: AudioState;
}

/**
 * A session with a clock of its own in place of a card's: each 20 ms one frame from the source and one to the sink, silence
 * where nothing was written, so that what the sink got is as long as the call was.
 */
export class PacedSession implements AudioSession {
  readonly #source: FrameSource;
  readonly #sink: FrameSink;
  readonly #state: AudioState;
  readonly #pacer: Pacer;
  readonly #queue = new SampleRing(MAX_QUEUED_FRAMES * FRAME_SAMPLES);
  readonly #fill = new FillControl(0, START_FRAMES * FRAME_MS);
  readonly #captured = new Int16Array(FRAME_SAMPLES);
  readonly #heard = new Int16Array(FRAME_SAMPLES);
  #onFrame: ((pcm: Int16Array) => void) | undefined;
  #isPlaying = false;
  #droppedFrames = 0;
  #xruns = 0;
  #closed: Promise<void> | undefined;

  constructor(options: PacedSessionOptions) {
    this.#source = options.source;
    this.#sink = options.sink;
    this.#state = options.state ?? 'ok';
    this.#pacer = new Pacer(options.timing, FRAME_MS, (_due, missed) => this.#tick(missed));
  }

  start(onFrame: (pcm: Int16Array) => void, onState: (state: AudioState) => void): void {
    if (this.#closed !== undefined || this.#onFrame !== undefined) return;
    this.#onFrame = onFrame;
    this.#pacer.start();
    onState(this.#state);
  }

  write(pcm: Int16Array): void {
    this.#droppedFrames += this.#queue.push(pcm) / FRAME_SAMPLES;
  }

  stats(): AudioStats {
    return {
      droppedFrames: this.#droppedFrames + this.#sink.droppedFrames,
      xruns: this.#xruns,
      queuedMs: this.#queuedMs(),
    };
  }

  close(): Promise<void> {
    this.#closed ??= this.#finish();
    return this.#closed;
  }

  async #finish(): Promise<void> {
    this.#pacer.stop();
    this.#onFrame = undefined;
    await this.#sink.close();
  }

  #queuedMs(): Millis {
    return (this.#queue.size / FRAME_SAMPLES) * FRAME_MS;
  }

  #tick(missed: number): void {
    // Time that we slept through: its sound was not heard by the far side, nor theirs by us.
    for (let i = 0; i < Math.min(missed, MAX_MISSED_FRAMES); i++) {
      this.#source.read(this.#captured);
      this.#droppedFrames++;
      this.#play();
    }
    this.#source.read(this.#captured);
    this.#onFrame?.(this.#captured);
    // What was captured may have ended the call.
    if (this.#closed === undefined) this.#play();
  }

  #play(): void {
    if (!this.#isPlaying && this.#queue.size >= START_FRAMES * FRAME_SAMPLES) {
      this.#isPlaying = true;
      this.#fill.restart();
    }
    if (this.#isPlaying) {
      for (let excess = this.#fill.observe(this.#queuedMs()); excess > 0; excess--) {
        if (this.#queue.shift(this.#heard)) this.#droppedFrames++;
      }
      if (!this.#queue.shift(this.#heard)) {
        this.#isPlaying = false;
        this.#xruns++;
      }
    }
    if (!this.#isPlaying) this.#heard.fill(0);
    this.#sink.write(this.#heard);
  }
}
