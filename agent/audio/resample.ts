/** Zero crossings of the kernel on each side: 32 taps, stop band below −70 dB with this window. */
const HALF_TAPS = 16;

/** Kaiser window; 8 trades 80 dB of stop band for 1.6 kHz of transition at 48 kHz. */
const KAISER_BETA = 8;

/** Part of the lower Nyquist frequency that passes: the transition lies below it, so that nothing folds back. */
const PASS = 0.94;

/** Phases in the table. Every usual rate needs fewer; others are rounded to the nearest, noise at −70 dB. */
const MAX_PHASES = 1024;

/**
 * Rate conversion by a windowed sinc kernel, polyphase (Crochiere & Rabiner, "Multirate Digital Signal Processing", §4.3):
 * output sample n is the input around n · from / to, weighed by the kernel of that phase. No state: any part of the output
 * can be asked for at any time.
 */
export class Resampler {
  readonly #up: number;
  readonly #down: number;
  readonly #phases: number;
  readonly #taps: number;
  readonly #kernels: Float32Array;

  constructor(fromHz: number, toHz: number) {
    const divisor = greatestCommonDivisor(fromHz, toHz);
    this.#up = toHz / divisor;
    this.#down = fromHz / divisor;
    this.#phases = Math.min(this.#up, MAX_PHASES);
    // Going down, the kernel is as much longer as its pass band is narrower.
    const stretch = Math.max(1, fromHz / toHz);
    this.#taps = 2 * Math.ceil(HALF_TAPS * stretch);
    this.#kernels = makeKernels(this.#phases, this.#taps, stretch);
  }

  /** How many samples `inputLength` samples become. */
  outputLength(inputLength: number): number {
    return Math.ceil((inputLength * this.#up) / this.#down);
  }

  /** Fill `out` with output samples `first`, `first` + 1, … of `input`; silence before and after it. */
  fill(input: Int16Array, first: number, out: Int16Array): void {
    if (this.#up === this.#down) {
      for (let i = 0; i < out.length; i++) out[i] = input[first + i] ?? 0;
      return;
    }
    const taps = this.#taps;
    const kernels = this.#kernels;
    for (let i = 0; i < out.length; i++) {
      const position = (first + i) * this.#down;
      let center = Math.floor(position / this.#up);
      let phase = Math.round(((position - center * this.#up) * this.#phases) / this.#up);
      if (phase === this.#phases) {
        phase = 0;
        center++;
      }
      const start = center - taps / 2 + 1;
      const kernel = phase * taps;
      // Only taps that lie on the input: reading past a typed array is slow, and this loop is the cost of it all.
      const firstTap = Math.max(0, -start);
      const endTap = Math.min(taps, input.length - start);
      let sum = 0;
      for (let k = firstTap; k < endTap; k++) {
        sum += (kernels[kernel + k] as number) * (input[start + k] as number);
      }
      out[i] = Math.max(-32768, Math.min(32767, Math.round(sum)));
    }
  }
}

/** `phases` kernels of `taps` weights; each sums to 1, so that a constant stays what it is. */
function makeKernels(phases: number, taps: number, stretch: number): Float32Array {
  const kernels = new Float32Array(phases * taps);
  const cutoff = PASS / stretch;
  for (let phase = 0; phase < phases; phase++) {
    const weights = Array.from({ length: taps }, (_, k) => {
      const x = k - taps / 2 + 1 - phase / phases;
      return cutoff * sinc(cutoff * x) * kaiser(x / (taps / 2));
    });
    const sum = weights.reduce((a, b) => a + b, 0);
    weights.forEach((weight, k) => {
      kernels[phase * taps + k] = weight / sum;
    });
  }
  return kernels;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** @param x −1 … 1 */
function kaiser(x: number): number {
  if (Math.abs(x) >= 1) return 0;
  return bessel0(KAISER_BETA * Math.sqrt(1 - x * x)) / bessel0(KAISER_BETA);
}

/** Modified Bessel function of the first kind, order 0, by its power series. */
function bessel0(x: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > 1e-9 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
