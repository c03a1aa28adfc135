import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SAMPLE_RATE_HZ } from '../../agent/audio/device.ts';
import { Resampler } from '../../agent/audio/resample.ts';
import { parseWav, type Wav } from '../../agent/audio/wav.ts';
import { seededRandom } from '../sim/seeded.ts';

export const GREETING_PATH = fileURLToPath(
  new URL('../../agent/audio/greeting.wav', import.meta.url),
);

/** The spoken sentence that comes with the station, at 48 kHz. */
export function greeting(): Wav {
  return at48kHz(parseWav(readFileSync(GREETING_PATH)));
}

export function at48kHz(wav: Wav): Wav {
  const resampler = new Resampler(wav.sampleRateHz, SAMPLE_RATE_HZ);
  const samples = new Int16Array(resampler.outputLength(wav.samples.length));
  resampler.fill(wav.samples, 0, samples);
  return { sampleRateHz: SAMPLE_RATE_HZ, samples };
}

/** Something with the rhythm of speech: syllables of 60 to 250 ms with pauses, another sentence for another seed. */
export function babble(seed: number, seconds: number): Wav {
  const random = seededRandom(seed);
  const samples = new Int16Array(seconds * SAMPLE_RATE_HZ);
  for (let at = 0; at < samples.length; ) {
    const length = Math.round((0.06 + 0.19 * random.fraction()) * SAMPLE_RATE_HZ);
    const level = random.fraction() < 0.25 ? 0 : 4000 + 12_000 * random.fraction();
    const hz = 100 + 80 * random.fraction();
    for (let i = 0; i < length && at + i < samples.length; i++) {
      const shape = Math.sin((Math.PI * i) / length);
      const voice = Math.sin((2 * Math.PI * hz * i) / SAMPLE_RATE_HZ);
      samples[at + i] = level * shape * (0.8 * voice + 0.2 * (2 * random.fraction() - 1));
    }
    at += length;
  }
  return { sampleRateHz: SAMPLE_RATE_HZ, samples };
}
