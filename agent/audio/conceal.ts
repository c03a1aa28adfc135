import { FRAME_SAMPLES } from './device.ts';

const FADE_FRAMES = 3;

/**
 * Concealment for a decoder that has none: the last frame again, fading to silence over 60 ms. Every second repeat runs
 * backwards, so that the joints do not click.
 */
export class FadeConcealer {
  readonly #last = new Int16Array(FRAME_SAMPLES);
  #repeats = FADE_FRAMES;

  /** A frame was heard. */
  remember(pcm: Int16Array): void {
    this.#last.set(pcm);
    this.#repeats = 0;
  }

  conceal(out: Int16Array): void {
    if (this.#repeats >= FADE_FRAMES) {
      out.fill(0);
      return;
    }
    const backwards = this.#repeats % 2 === 0;
    const gain = 1 - this.#repeats / FADE_FRAMES;
    const slope = 1 / FADE_FRAMES / FRAME_SAMPLES;
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      const from = backwards ? FRAME_SAMPLES - 1 - i : i;
      out[i] = (this.#last[from] ?? 0) * (gain - i * slope);
    }
    this.#repeats++;
  }
}
