import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FRAME_SAMPLES } from '../../agent/audio/device.ts';
import type { Wav } from '../../agent/audio/wav.ts';
import { readWavFile, WavFileSink } from '../../agent/audio/wav-file.ts';
import { compareSpeech } from '../audio/compare.ts';
import { at48kHz } from '../audio/speech.ts';

let folder: string;
let speech: Wav;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'doorward-wav-'));
  speech = await speak('speech.wav', 'The parcel for the second floor is at the door.');
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function speak(name: string, words: string): Promise<Wav> {
  execFileSync('espeak-ng', ['-v', 'en-gb', '-w', join(folder, name), words]);
  return readWavFile(join(folder, name));
}

const sox = (...args: string[]) => execFileSync('sox', args, { cwd: folder });

describe('WAV files of other programs', () => {
  test.each([
    ['8 kHz', ['-r', '8000']],
    ['11.025 kHz', ['-r', '11025']],
    ['44.1 kHz', ['-r', '44100']],
    ['48 kHz stereo', ['-r', '48000', '-c', '2']],
    ['96 kHz', ['-r', '96000']],
  ])('%s from sox is the same speech at 48 kHz', async (_what, options) => {
    sox('speech.wav', '-b', '16', ...options, 'other.wav');
    const wav = at48kHz(await readWavFile(join(folder, 'other.wav')));
    const { correlation, levelDb, offsetMs } = compareSpeech(speech, wav);
    // Less for the low rates: what hisses is above their band.
    expect(correlation).toBeGreaterThan(0.97);
    expect(Math.abs(levelDb)).toBeLessThan(0.5);
    expect(offsetMs).toBe(0);
  });

  test.each([
    ['24 bit', ['-b', '24'], 'holds 24 bit sound'],
    ['µ-law', ['-e', 'mu-law'], 'holds 8 bit sound of format 7'],
    ['six channels', ['-c', '6'], 'has 6 channels'],
  ])(
    '%s from sox is refused with a sentence and a way out that works',
    async (_what, options, message) => {
      sox('speech.wav', ...options, 'bad.wav');
      const path = join(folder, 'bad.wav');
      const error = await readWavFile(path).catch((error: unknown) => error);
      expect(error).toMatchObject({
        code: 'audio-unusable',
        message: expect.stringContaining(message),
        hint: `convert it: sox ${path} -r 48000 -c 1 -b 16 good.wav`,
      });
      const [, command = ''] =
        /^convert it: sox (.*)$/.exec((error as { hint: string }).hint) ?? [];
      sox(...command.split(' '));
      const { correlation } = compareSpeech(speech, await readWavFile(join(folder, 'good.wav')));
      expect(correlation).toBeGreaterThan(0.98);
    },
  );
});

test('sox reads what we record', async () => {
  const wav = at48kHz(speech);
  const sink = await WavFileSink.create(join(folder, 'ours.wav'), () => {});
  const frames = Math.floor(wav.samples.length / FRAME_SAMPLES);
  for (let i = 0; i < frames; i++) {
    sink.write(wav.samples.subarray(i * FRAME_SAMPLES, (i + 1) * FRAME_SAMPLES));
  }
  await sink.close();
  const soxi = (flag: string) =>
    execFileSync('soxi', [flag, 'ours.wav'], { cwd: folder, encoding: 'utf8' }).trim();
  expect(['-r', '-c', '-b', '-s'].map(soxi)).toEqual([
    '48000',
    '1',
    '16',
    String(frames * FRAME_SAMPLES),
  ]);
});

test('the comparison tells sentences apart', async () => {
  const others = await Promise.all(
    [
      'Please wait a moment, I am coming down to the gate right now.',
      'Nobody told me about a visit today.',
      'One two three four five six seven eight.',
    ].map((words, i) => speak(`other${i}.wav`, words)),
  );
  const figures = others.map((other) => compareSpeech(speech, other).correlation);
  console.log(`other sentences: ${figures.map((figure) => figure.toFixed(2)).join(', ')}`);
  expect(Math.max(...figures)).toBeLessThan(0.6);
});
