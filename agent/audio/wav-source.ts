import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from './device.ts';
import type { FrameSource } from './paced-session.ts';
import { Resampler } from './resample.ts';
import type { Wav } from './wav.ts';

/** Plays a WAV once, from its beginning, brought to 48 kHz frame by frame; then silence. */
export class WavSource implements FrameSource {
  readonly #samples: Int16Array;
  readonly #resampler: Resampler;
  readonly #length: number;
  #position: number;

  /** @param leadSamples silence before it, at 48 kHz */
  constructor(wav: Wav, leadSamples = 0) {
    this.#samples = wav.samples;
    this.#resampler = new Resampler(wav.sampleRateHz, SAMPLE_RATE_HZ);
    this.#length = this.#resampler.outputLength(wav.samples.length);
    this.#position = -leadSamples;
  }

  read(out: Int16Array): void {
    if (this.#position <= -FRAME_SAMPLES || this.#position >= this.#length) out.fill(0);
    else this.#resampler.fill(this.#samples, this.#position, out);
    this.#position += FRAME_SAMPLES;
  }
}
