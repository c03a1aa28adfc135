import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseWav, wavHeader } from '../../agent/audio/wav.ts';
import { WavSource } from '../../agent/audio/wav-source.ts';
import { concatBytes } from '../../agent/base/bytes.ts';
import { GREETING_PATH } from './speech.ts';

function wav(samples: Int16Array, rateHz = 48_000): Uint8Array {
  return concatBytes(wavHeader(rateHz, samples.byteLength), new Uint8Array(samples.buffer));
}

/** `bytes` with 16 bit little-endian `value` at `at`. */
function patched(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint16(at, value, true);
  return copy;
}

const three = wav(Int16Array.of(1, -2, 3));

describe('WAV', () => {
  test('what is written is read again', () => {
    fc.assert(
      fc.property(
        fc.int16Array({ maxLength: 50 }),
        fc.integer({ min: 4000, max: 192_000 }),
        (samples, rateHz) => {
          expect(parseWav(wav(samples, rateHz))).toEqual({ sampleRateHz: rateHz, samples });
        },
      ),
    );
  });

  test('reads a file that sox wrote', () => {
    const { sampleRateHz, samples } = parseWav(readFileSync(GREETING_PATH));
    expect(sampleRateHz).toBe(24_000);
    // soxi: 100601 samples.
    expect(samples.length).toBe(100_601);
  });

  test('mixes two channels to one', () => {
    const stereo = patched(wav(Int16Array.of(100, 200, -100, -200, 32_767, 32_767)), 22, 2);
    expect([...parseWav(stereo).samples]).toEqual([150, -150, 32_767]);
  });

  test('skips chunks it does not know, odd ones with their padding', () => {
    const list = Uint8Array.of(0x4c, 0x49, 0x53, 0x54, 3, 0, 0, 0, 1, 2, 3, 0);
    const bytes = concatBytes(three.subarray(0, 12), list, three.subarray(12));
    expect([...parseWav(bytes).samples]).toEqual([1, -2, 3]);
  });

  test('takes what is there of a file that was cut off or never finished', () => {
    expect([...parseWav(three.subarray(0, -3)).samples]).toEqual([1]);
    const streamed = three.slice();
    streamed.set([0xff, 0xff, 0xff, 0xff], 40);
    expect([...parseWav(streamed).samples]).toEqual([1, -2, 3]);
  });

  test.each([
    ['text', new TextEncoder().encode('this is a poem, not a sound'), 'is not a WAV file'],
    ['nothing', new Uint8Array(0), 'is not a WAV file'],
    ['a header alone', three.subarray(0, 36), 'ends before its sound begins'],
    ['24 bit', patched(three, 34, 24), 'holds 24 bit sound of format 1, not 16 bit PCM'],
    ['µ-law', patched(patched(three, 34, 8), 20, 7), 'holds 8 bit sound of format 7'],
    ['six channels', patched(three, 22, 6), 'has 6 channels'],
    ['a rate of 0', patched(patched(three, 24, 0), 26, 0), 'has a sample rate of 0 Hz'],
    ['a short format chunk', patched(three, 16, 8), 'has a format chunk that is too short'],
    [
      'sound before its format',
      concatBytes(three.subarray(0, 12), three.subarray(36), three.subarray(12, 36)),
      'has no format before its sound',
    ],
    ['six minutes', wav(new Int16Array(6 * 60 * 4000), 4000), 'is longer than 5 minutes'],
  ])('refuses %s', (_what, bytes, message) => {
    expect(() => parseWav(bytes)).toThrow(message);
  });
});

describe('WAV as a source of frames', () => {
  test('is brought to 48 kHz, then silent', () => {
    const source = new WavSource({ sampleRateHz: 24_000, samples: new Int16Array(960).fill(5000) });
    const frame = new Int16Array(960);
    const levels = Array.from({ length: 4 }, () => {
      source.read(frame);
      return frame[480];
    });
    expect(levels).toEqual([5000, 5000, 0, 0]);
  });

  test('begins after its lead', () => {
    const wav = { sampleRateHz: 48_000, samples: new Int16Array(960).fill(5000) };
    const source = new WavSource(wav, 1440);
    const frame = new Int16Array(960);
    source.read(frame);
    expect(frame.every((sample) => sample === 0)).toBe(true);
    source.read(frame);
    expect([frame[100], frame[900]]).toEqual([0, 5000]);
    source.read(frame);
    expect([frame[100], frame[900]]).toEqual([5000, 0]);
  });
});
