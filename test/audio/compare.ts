import type { Wav } from '../../agent/audio/wav.ts';

export interface SpeechComparison {
  /** Pearson correlation of the two envelopes over the aligned speech: 1 the same words, about 0 no relation. */
  readonly correlation: number;
  /** Level of what was heard against what was said, over the aligned speech. */
  readonly levelDb: number;
  /** Where in `heard` the beginning of `said` is; negative when its start is cut off. */
  readonly offsetMs: number;
}

/** Resolution of the alignment. */
const STEP_MS = 10;
/** The envelope averages over so many steps: longer than the pitch of a voice, shorter than a phoneme. */
const WINDOW_STEPS = 3;
/** Below the loudest moment by this much is not speech. */
const SPEECH_FLOOR_DB = -35;

/**
 * Is what was heard what was said? Takes the course of the loudness of both, finds the place where they agree best and says
 * how well. Codecs, resampling and noise leave the envelope of speech; other words do not have it.
 */
export function compareSpeech(said: Wav, heard: Wav): SpeechComparison {
  const saidEnvelope = envelope(said);
  const heardEnvelope = envelope(heard);
  const floor = Math.max(...saidEnvelope, 0) * 10 ** (SPEECH_FLOOR_DB / 20);
  const first = saidEnvelope.findIndex((level) => level > floor);
  const last = saidEnvelope.findLastIndex((level) => level > floor);
  if (first === -1) throw new RangeError('nothing was said');
  const speech = saidEnvelope.slice(first, last + 1);

  let best = { correlation: 0, levelDb: Number.NEGATIVE_INFINITY, offsetMs: 0 };
  for (let lag = -speech.length + 1; lag < heardEnvelope.length; lag++) {
    const part = speech.map((_, i) => heardEnvelope[lag + i] ?? 0);
    const correlation = pearson(speech, part);
    if (correlation > best.correlation) {
      best = {
        correlation,
        levelDb: 10 * Math.log10(power(part) / power(speech)),
        offsetMs: (lag - first) * STEP_MS,
      };
    }
  }
  return best;
}

/** Root of the mean square of WINDOW_STEPS around each step. */
function envelope(wav: Wav): number[] {
  const step = Math.round((wav.sampleRateHz * STEP_MS) / 1000);
  const margin = ((WINDOW_STEPS - 1) / 2) * step;
  return Array.from({ length: Math.floor(wav.samples.length / step) }, (_, i) =>
    Math.sqrt(power(wav.samples.subarray(Math.max(0, i * step - margin), (i + 1) * step + margin))),
  );
}

function power(values: readonly number[] | Int16Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return sum / values.length;
}

function pearson(a: readonly number[], b: readonly number[]): number {
  const meanA = a.reduce((sum, x) => sum + x, 0) / a.length;
  const meanB = b.reduce((sum, x) => sum + x, 0) / b.length;
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (const [i, x] of a.entries()) {
    const y = b[i] ?? 0;
    ab += (x - meanA) * (y - meanB);
    aa += (x - meanA) ** 2;
    bb += (y - meanB) ** 2;
  }
  return aa === 0 || bb === 0 ? 0 : ab / Math.sqrt(aa * bb);
}
