import type { Millis } from '../base/clock.ts';
import type { AlsaLink } from './alsa-link.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from './device.ts';
import { FillControl } from './fill-control.ts';
import { EAGAIN, EPIPE, ESTRPIPE, type Pcm, PcmError } from './pcm.ts';

/** Samples that wait before the card starts: three frames, since some cards report their place only per period. */
const START_SAMPLES = 3 * FRAME_SAMPLES;

/** Bounds for the least that waits, ms. */
const LOW_MS: Millis = 10;
const HIGH_MS: Millis = 55;

/** Mean of the samples' size under which leaving a frame out is not heard: −44 dB. */
const QUIET = 200;
/** Frames to wait for a quiet one. */
const PATIENCE_FRAMES = 50;

/** Writes frames to a card that may be away; they are then dropped and counted. */
export class AlsaPlayback {
  readonly #link: AlsaLink;
  readonly #fill = new FillControl(LOW_MS, HIGH_MS);
  #prepared: Pcm | undefined;
  #isStarted = false;
  #excess = 0;
  #patience = 0;
  queuedMs: Millis = 0;
  droppedFrames = 0;
  xruns = 0;

  constructor(link: AlsaLink) {
    this.#link = link;
  }

  write(frame: Int16Array, now: Millis): void {
    const { pcm } = this.#link;
    if (pcm === undefined) {
      this.queuedMs = 0;
      this.droppedFrames++;
      return;
    }
    if (pcm !== this.#prepared) {
      this.#prepared = pcm;
      this.#stopped();
    }
    const available = pcm.available();
    // After an xrun the buffer is empty and this frame is the first again.
    const queued = this.#check(pcm, available, now) ? pcm.bufferSamples - available : 0;
    if (this.#link.pcm !== pcm) return;
    this.queuedMs = (1000 * queued) / SAMPLE_RATE_HZ;
    if (this.#isStarted) {
      const change = this.#fill.observe(this.queuedMs);
      if (change < 0) this.#put(pcm, frame, now);
      if (change > 0) {
        if (this.#excess === 0) this.#patience = PATIENCE_FRAMES;
        this.#excess = change;
      }
      if (this.#excess > 0 && (this.#patience-- <= 0 || isQuiet(frame))) {
        this.#excess--;
        this.droppedFrames++;
        return;
      }
    }
    this.#put(pcm, frame, now);
    if (!this.#isStarted && this.#link.pcm === pcm && queued + FRAME_SAMPLES >= START_SAMPLES) {
      this.#isStarted = this.#check(pcm, pcm.start(), now);
    }
  }

  #put(pcm: Pcm, frame: Int16Array, now: Millis): void {
    if (this.#link.pcm !== pcm) return;
    const written = pcm.write(frame);
    if (!this.#check(pcm, written, now) || written < FRAME_SAMPLES) this.droppedFrames++;
  }

  /** @returns false when `code` was an error, which is then dealt with */
  #check(pcm: Pcm, code: number, now: Millis): boolean {
    if (code >= 0) return true;
    const errno = -code;
    if (errno === EAGAIN) return false;
    if (errno === EPIPE || errno === ESTRPIPE) {
      this.xruns++;
      this.#stopped();
      if (pcm.prepare() >= 0) return false;
    }
    this.#link.lose(new PcmError(errno, `the card is gone (errno ${errno})`), now);
    return false;
  }

  #stopped(): void {
    this.#isStarted = false;
    this.#excess = 0;
    this.#fill.restart();
  }
}

function isQuiet(frame: Int16Array): boolean {
  let sum = 0;
  for (const sample of frame) sum += Math.abs(sample);
  return sum < QUIET * frame.length;
}
