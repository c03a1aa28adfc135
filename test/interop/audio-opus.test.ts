import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FRAME_SAMPLES } from '../../agent/audio/device.ts';
import type { OpusBackend } from '../../agent/audio/opus.ts';
import { openLibopus } from '../../agent/audio/opus-libopus.ts';
import { opusDuration } from '../../agent/audio/opus-packet.ts';
import { openWasmOpus } from '../../agent/audio/opus-wasm.ts';
import { parseWav, type Wav } from '../../agent/audio/wav.ts';
import { openLibrary } from '../../agent/base/native.ts';
import { compareSpeech } from '../audio/compare.ts';
import { at48kHz } from '../audio/speech.ts';
import { seededRandom } from '../sim/seeded.ts';
import { runChild, withoutLibrary } from './audio-child.ts';

let folder: string;
let speech: Wav;
let speechPath: string;
let libopus: OpusBackend;
let wasm: OpusBackend;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'doorward-opus-'));
  speechPath = join(folder, 'speech.wav');
  const words = 'Good morning, I have a parcel for the second floor, can you open the door please?';
  execFileSync('espeak-ng', ['-v', 'en-gb', '-w', speechPath, words]);
  speech = at48kHz(parseWav(readFileSync(speechPath)));
  libopus = openLibopus();
  wasm = await openWasmOpus();
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const frames = () => Math.floor(speech.samples.length / FRAME_SAMPLES);
const frameOf = (wav: Wav, i: number) =>
  wav.samples.subarray(i * FRAME_SAMPLES, (i + 1) * FRAME_SAMPLES);

/** Encode all speech with one codec and decode it with another. */
function throughCodecs(encoder: OpusBackend, decoder: OpusBackend): Wav {
  const from = encoder.open();
  const to = decoder.open();
  const samples = new Int16Array(frames() * FRAME_SAMPLES);
  for (let i = 0; i < frames(); i++) {
    const packet = from.encode(frameOf(speech, i));
    expect(opusDuration(packet)).toBe(200);
    expect(to.decode(packet, frameOf({ ...speech, samples }, i))).toBe(true);
  }
  from.close();
  to.close();
  return { sampleRateHz: 48_000, samples };
}

describe('Opus', () => {
  test('speech comes through each codec, and from one to the other', () => {
    for (const encoder of [libopus, wasm]) {
      for (const decoder of [libopus, wasm]) {
        const { correlation, levelDb } = compareSpeech(speech, throughCodecs(encoder, decoder));
        expect(correlation).toBeGreaterThan(0.95);
        expect(Math.abs(levelDb)).toBeLessThan(2);
      }
    }
  });

  test('keeps to about 24 kb/s', () => {
    for (const backend of [libopus, wasm]) {
      const codec = backend.open();
      let bytes = 0;
      for (let i = 0; i < frames(); i++) bytes += codec.encode(frameOf(speech, i)).length;
      const bitsPerSecond = (bytes * 8 * 50) / frames();
      expect(bitsPerSecond).toBeGreaterThan(15_000);
      expect(bitsPerSecond).toBeLessThan(32_000);
      codec.close();
    }
  });

  test('a lost frame rebuilt from the next packet is closer than a guessed one', () => {
    const encoder = libopus.open();
    const packets = Array.from({ length: frames() }, (_, i) =>
      encoder.encode(frameOf(speech, i)).slice(),
    );
    encoder.close();
    const isLost = (i: number) => i > 0 && i % 10 === 7 && i + 1 < packets.length;
    /** Decode with every tenth frame lost; energy of the lost frames against the error in them. */
    const similarityDb = (repair: 'recover' | 'conceal') => {
      const whole = libopus.open();
      const lossy = libopus.open();
      const truth = new Int16Array(FRAME_SAMPLES);
      const heard = new Int16Array(FRAME_SAMPLES);
      let energy = 0;
      let error = 0;
      packets.forEach((packet, i) => {
        whole.decode(packet, truth);
        if (!isLost(i)) lossy.decode(packet, heard);
        else if (repair === 'conceal') lossy.conceal(heard);
        else expect(lossy.recover(packets[i + 1] ?? packet, heard)).toBe(true);
        if (!isLost(i)) return;
        for (let k = 0; k < FRAME_SAMPLES; k++) {
          energy += (truth[k] ?? 0) ** 2;
          error += ((truth[k] ?? 0) - (heard[k] ?? 0)) ** 2;
        }
      });
      whole.close();
      lossy.close();
      return 10 * Math.log10(energy / error);
    };
    const recovered = similarityDb('recover');
    const concealed = similarityDb('conceal');
    console.log(
      `lost frames: ${recovered.toFixed(1)} dB recovered, ${concealed.toFixed(1)} dB concealed`,
    );
    expect(recovered).toBeGreaterThan(concealed + 3);
  });

  test('concealment fades to silence', () => {
    for (const backend of [libopus, wasm]) {
      const codec = backend.open();
      const decoder = backend.open();
      const out = new Int16Array(FRAME_SAMPLES);
      const loud = Int16Array.from({ length: FRAME_SAMPLES }, (_, i) => 12_000 * Math.sin(i / 30));
      for (let i = 0; i < 20; i++) decoder.decode(codec.encode(loud), out);
      const levels = Array.from({ length: 10 }, () => {
        decoder.conceal(out);
        return Math.sqrt(out.reduce((sum, x) => sum + x * x, 0) / FRAME_SAMPLES);
      });
      expect(levels[0]).toBeGreaterThan(1000);
      expect(levels.at(-1)).toBeLessThan((levels[0] ?? 0) / 20);
      codec.close();
      decoder.close();
    }
  });

  test('hostile packets are refused, and the next good one is heard', () => {
    const random = seededRandom(4);
    for (const backend of [libopus, wasm]) {
      const codec = backend.open();
      const good = codec.encode(frameOf(speech, 60)).slice();
      const out = new Int16Array(FRAME_SAMPLES);
      let refused = 0;
      for (let i = 0; i < 3000; i++) {
        const packet = random.bytes(random.uint32() % (i % 50 === 0 ? 3000 : 200));
        if (!codec.decode(packet, out)) refused++;
        if (i % 3 === 0) codec.recover(packet, out);
      }
      expect(refused).toBeGreaterThan(1000);
      expect(codec.decode(new Uint8Array(0), out)).toBe(false);
      expect(codec.decode(good, out)).toBe(true);
      codec.close();
    }
  });

  test('never hands C an array that is too short', () => {
    const codec = libopus.open();
    const short = new Int16Array(FRAME_SAMPLES - 1);
    expect(() => codec.encode(short)).toThrow(RangeError);
    expect(() => codec.decode(Uint8Array.of(0xf8, 0xff, 0xfe), short)).toThrow(RangeError);
    expect(() => codec.conceal(short)).toThrow(RangeError);
    codec.close();
    codec.close();
    expect(() => codec.encode(new Int16Array(FRAME_SAMPLES))).toThrow('after close');
  });

  test('gives its memory back', () => {
    const round = (times: number) => {
      for (let i = 0; i < times; i++) libopus.open().close();
    };
    round(200);
    const before = process.memoryUsage().rss;
    // Encoder and decoder are some 50 kB: 2000 that stayed would be 100 MB.
    round(2000);
    expect(process.memoryUsage().rss - before).toBeLessThan(20e6);
  });

  test('reads the duration of a packet as libopus does', () => {
    const samplesOf = openLibrary('opus').func('opus_packet_get_nb_samples', 'int', [
      'void *',
      'int',
      'int',
    ]);
    for (let toc = 0; toc < 256; toc++) {
      for (const second of [0, 1, 2, 3, 6, 48, 63, 0x81, 0xc2]) {
        const packet = Uint8Array.of(toc, second, 0, 0);
        const samples: number = samplesOf(packet, packet.length, 48_000);
        // libopus refuses what is longer than 120 ms; to us all but 20 ms is the same.
        if (samples >= 0) expect(opusDuration(packet)).toBe(samples / 4.8);
        else expect(opusDuration(packet)).toBeGreaterThan(1200);
      }
    }
  });
});

describe('the codec that is there', () => {
  test('libopus carries speech over a bad link', async () => {
    const { result } = await runChild('audio-opus-child.ts', [speechPath]);
    console.log(JSON.stringify(result));
    expect(result).toMatchObject({ description: expect.stringContaining('libopus') });
    const { correlation, recovered } = result as { correlation: number; recovered: number };
    expect(correlation).toBeGreaterThan(0.93);
    expect(recovered).toBeGreaterThan(5);
  });

  test.each([
    ['its prebuilt binary', {}],
    ['WebAssembly', { OPUS_FORCE_WASM: '1' }],
  ])('without libopus, %s does, and the description names the package', async (_what, env) => {
    const { result } = await runChild('audio-opus-child.ts', [speechPath], {
      ...env,
      ...withoutLibrary(folder, 'libopus.so.0'),
    });
    console.log(JSON.stringify(result));
    expect(result).toMatchObject({
      description: 'built-in Opus without error correction (apt install libopus0)',
    });
    expect((result as { correlation: number }).correlation).toBeGreaterThan(0.85);
  });
});
