import { describe, expect, test } from 'vitest';
import { Resampler } from '../../agent/audio/resample.ts';

function sine(hz: number, rateHz: number, seconds: number, amplitude = 10_000): Int16Array {
  return Int16Array.from({ length: rateHz * seconds }, (_, i) =>
    Math.round(amplitude * Math.sin((2 * Math.PI * hz * i) / rateHz)),
  );
}

/** RMS of the difference to the ideal, in dB below the signal; the ends, where the kernel meets silence, left out. */
function errorDb(actual: Int16Array, ideal: Int16Array): number {
  let error = 0;
  let signal = 0;
  for (let i = 1000; i < ideal.length - 1000; i++) {
    error += ((actual[i] ?? 0) - (ideal[i] ?? 0)) ** 2;
    signal += (ideal[i] ?? 0) ** 2;
  }
  return 10 * Math.log10(error / signal);
}

function resample(input: Int16Array, fromHz: number, toHz: number): Int16Array {
  const resampler = new Resampler(fromHz, toHz);
  const out = new Int16Array(resampler.outputLength(input.length));
  resampler.fill(input, 0, out);
  return out;
}

describe('rate conversion', () => {
  test.each([8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000])(
    'a tone of 1 kHz comes through from %i Hz as it was',
    (rateHz) => {
      const out = resample(sine(1000, rateHz, 1), rateHz, 48_000);
      expect(out.length).toBe(48_000);
      expect(errorDb(out, sine(1000, 48_000, 1))).toBeLessThan(-65);
    },
  );

  test('a rate nobody uses comes through as well', () => {
    const out = resample(sine(1000, 47_999, 1), 47_999, 48_000);
    expect(errorDb(out, sine(1000, 48_000, 1))).toBeLessThan(-55);
  });

  test('what the lower rate cannot carry is taken out, not folded back', () => {
    const out = resample(sine(30_000, 96_000, 0.5), 96_000, 48_000);
    expect(Math.max(...out.subarray(1000, -1000))).toBeLessThan(10);
    const up = resample(sine(3000, 8000, 0.5), 8000, 48_000);
    expect(errorDb(up, sine(3000, 48_000, 0.5))).toBeLessThan(-60);
  });

  test('frame by frame gives the same as all at once', () => {
    const input = sine(700, 44_100, 0.2);
    const resampler = new Resampler(44_100, 48_000);
    const whole = new Int16Array(9600);
    resampler.fill(input, 0, whole);
    const parts = new Int16Array(9600);
    for (let at = 0; at < 9600; at += 960) {
      resampler.fill(input, at, parts.subarray(at, at + 960));
    }
    expect(parts).toEqual(whole);
  });

  test('full scale is cut, not wrapped', () => {
    const square = Int16Array.from({ length: 4800 }, (_, i) => (i % 48 < 24 ? 32_767 : -32_768));
    const out = resample(square, 24_000, 48_000);
    for (let i = 100; i < 9000; i++) {
      const isHigh = Math.floor(i / 48) % 2 === 0;
      const isEdge = i % 48 < 10 || i % 48 > 38;
      if (!isEdge) expect((out[i] ?? 0) > 0).toBe(isHigh);
    }
  });
});
