import { type AudioDevice, type AudioSession, SAMPLE_RATE_HZ } from './device.ts';
import type { Timing } from './pace.ts';
import { type FrameSource, NOWHERE, PacedSession } from './paced-session.ts';

const TONE_HZ = 440;
/** −12 dB below full scale: clear, and far from clipping. */
const AMPLITUDE = 8231;

export class ToneSource implements FrameSource {
  readonly #step: number;
  #phase = 0;

  constructor(hz: number = TONE_HZ) {
    this.#step = (2 * Math.PI * hz) / SAMPLE_RATE_HZ;
  }

  read(out: Int16Array): void {
    for (let i = 0; i < out.length; i++) {
      out[i] = Math.round(AMPLITUDE * Math.sin(this.#phase));
      this.#phase = (this.#phase + this.#step) % (2 * Math.PI);
    }
  }
}

/** Says a steady tone and keeps nothing: to test a path and its level. */
export class ToneDevice implements AudioDevice {
  readonly description = `tone of ${TONE_HZ} Hz`;
  readonly state = 'ok';
  readonly #timing: Timing;

  constructor(timing: Timing) {
    this.#timing = timing;
  }

  async open(): Promise<AudioSession> {
    return new PacedSession({ source: new ToneSource(), sink: NOWHERE, timing: this.#timing });
  }
}
