import { describe, expect, test } from 'vitest';
import { seededRandom } from '../sim/seeded.ts';
import { compareSpeech } from './compare.ts';
import { babble, greeting } from './speech.ts';

const said = greeting();

/** `said` with silence before and after it, changed sample by sample. */
function heard(leadMs: number, change: (sample: number, at: number) => number) {
  const lead = 48 * leadMs;
  const samples = new Int16Array(lead + said.samples.length + 48_000);
  for (let i = 0; i < samples.length; i++) samples[i] = change(said.samples[i - lead] ?? 0, i);
  return { sampleRateHz: 48_000, samples };
}

describe('comparing what was heard with what was said', () => {
  test('finds the same speech, its place and its level', () => {
    const result = compareSpeech(
      said,
      heard(730, (sample) => sample / 4),
    );
    expect(result.correlation).toBeGreaterThan(0.999);
    expect(result.levelDb).toBeCloseTo(-12.04, 1);
    expect(result.offsetMs).toBe(730);
  });

  test('knows it again under noise 20 dB below', () => {
    const random = seededRandom(1);
    const noisy = heard(200, (sample) => sample + 600 * (random.fraction() - 0.5));
    expect(compareSpeech(said, noisy).correlation).toBeGreaterThan(0.98);
  });

  test('knows it again with its first half second missing', () => {
    const { samples } = said;
    const result = compareSpeech(said, { ...said, samples: samples.subarray(24_000) });
    expect(result.correlation).toBeGreaterThan(0.7);
    expect(result.offsetMs).toBe(-500);
  });

  test('gives little for other words, noise, silence and the same words backwards', () => {
    const random = seededRandom(2);
    const noise = heard(0, () => 8000 * (random.fraction() - 0.5));
    for (let seed = 1; seed <= 3; seed++) {
      expect(compareSpeech(said, babble(seed, 6)).correlation).toBeLessThan(0.6);
    }
    expect(compareSpeech(said, noise).correlation).toBeLessThan(0.4);
    expect(
      compareSpeech(
        said,
        heard(0, () => 0),
      ).correlation,
    ).toBe(0);
    expect(
      compareSpeech(said, { ...said, samples: said.samples.slice().reverse() }).correlation,
    ).toBeLessThan(0.6);
  });
});
