import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AudioDevice, AudioState } from '../../agent/audio/device.ts';
import { MAX_QUEUED_FRAMES, MAX_STREAM_AHEAD_FRAMES } from '../../agent/audio/limits.ts';
import { openAudioDevice } from '../../agent/audio/open-device.ts';
import { RingTone } from '../../agent/audio/ring-tone.ts';
import { StandInDevice } from '../../agent/audio/stand-in.ts';
import { StreamDevice } from '../../agent/audio/stream-device.ts';
import { parseWav, type Wav } from '../../agent/audio/wav.ts';
import { WavFileSink } from '../../agent/audio/wav-file.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { compareSpeech } from './compare.ts';
import { GREETING_PATH, greeting } from './speech.ts';
import { VirtualTiming } from './virtual-timing.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'doorward-audio-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const deps = (timing: VirtualTiming) => ({ log: silentLogger, timing });
const readWav = (name: string) => parseWav(readFileSync(join(folder, name)));

/** A call of `ms` in which the far side says what `say` gives for each frame. */
async function use(
  device: AudioDevice,
  timing: VirtualTiming,
  ms: number,
  say: (frame: number) => Int16Array | undefined = () => undefined,
) {
  const session = await device.open();
  const said: Int16Array[] = [];
  const states: AudioState[] = [];
  session.start(
    (pcm) => said.push(pcm.slice()),
    (state) => states.push(state),
  );
  for (let i = 0; i < ms / 20; i++) {
    const pcm = say(i);
    if (pcm !== undefined) session.write(pcm);
    timing.advance(20);
  }
  const stats = session.stats();
  await session.close();
  await session.close();
  const samples = new Int16Array(960 * said.length);
  said.forEach((frame, i) => {
    samples.set(frame, 960 * i);
  });
  const wav: Wav = { sampleRateHz: 48_000, samples };
  return { said: wav, frames: said.length, states, stats };
}

const tone = new Int16Array(960).fill(5000);

describe('file device', () => {
  test('says its input once, then silence', async () => {
    const timing = new VirtualTiming();
    const device = await openAudioDevice({ device: 'file', input: GREETING_PATH }, deps(timing));
    for (let call = 0; call < 2; call++) {
      const { said, states } = await use(device, timing, 6000);
      expect(states).toEqual(['ok']);
      expect(compareSpeech(greeting(), said).correlation).toBeGreaterThan(0.999);
      expect(said.samples.subarray(5 * 48_000).every((sample) => sample === 0)).toBe(true);
    }
  });

  test('records what is heard, silence included', async () => {
    const timing = new VirtualTiming();
    const output = join(folder, 'heard.wav');
    const device = await openAudioDevice({ device: 'file', output }, deps(timing));
    await use(device, timing, 3500, (i) => (i >= 50 && i < 100 ? tone : undefined));
    const { samples } = readWav('heard.wav');
    expect(samples.length).toBe(3.5 * 48_000);
    const first = samples.indexOf(5000);
    const last = samples.lastIndexOf(5000);
    expect(last - first + 1).toBe(50 * 960);
    expect(Math.abs(first / 48 - 1000)).toBeLessThan(45);
    // What people said is for the owner alone.
    expect(statSync(output).mode & 0o777).toBe(0o600);
  });

  test('with neither input nor output it is silent and keeps nothing', async () => {
    const timing = new VirtualTiming();
    const device = await openAudioDevice({ device: 'file' }, deps(timing));
    const { said, frames } = await use(device, timing, 1000, () => tone);
    expect(frames).toBe(50);
    expect(said.samples.every((sample) => sample === 0)).toBe(true);
  });

  test('drops the oldest over its bound, and counts it', async () => {
    const timing = new VirtualTiming();
    const device = await openAudioDevice({ device: 'file' }, deps(timing));
    const session = await device.open();
    session.start(
      () => {},
      () => {},
    );
    for (let i = 0; i < MAX_QUEUED_FRAMES + 7; i++) session.write(tone);
    expect(session.stats()).toMatchObject({ droppedFrames: 7, queuedMs: 20 * MAX_QUEUED_FRAMES });
    // The rest does not stay as delay either.
    for (let i = 0; i < 100; i++) {
      session.write(tone);
      timing.advance(20);
    }
    expect(session.stats().queuedMs).toBeLessThanOrEqual(60);
    await session.close();
  });

  test.each([
    ['is missing', {}, 'nowhere.wav cannot be read: there is no such file or folder'],
    ['is no WAV', { content: 'RIFFxxxxWAVx' }, 'nowhere.wav is not a WAV file'],
  ])(
    'says what is wrong with an input that %s',
    async (_what, { content }: { content?: string }, message) => {
      const input = join(folder, 'nowhere.wav');
      if (content !== undefined) writeFileSync(input, content);
      await expect(
        openAudioDevice({ device: 'file', input }, deps(new VirtualTiming())),
      ).rejects.toMatchObject({
        code: 'audio-unusable',
        message: expect.stringContaining(message),
        hint: expect.any(String),
      });
    },
  );

  test.each([
    ['in a folder that does not exist', 'no/heard.wav', 'there is no such file'],
    ['below a file', 'a-file/heard.wav', 'a part of its path is no folder'],
    ['that is a folder', '.', 'it is a folder'],
  ])('refuses an output %s', async (_what, output, reason) => {
    writeFileSync(join(folder, 'a-file'), '');
    const config = { device: 'file', output: join(folder, output) } as const;
    await expect(openAudioDevice(config, deps(new VirtualTiming()))).rejects.toMatchObject({
      code: 'audio-unusable',
      message: expect.stringContaining(`cannot be written: ${reason}`),
    });
  });

  test('refuses an output that is its input', async () => {
    const open = (config: { input?: string; output: string }) =>
      openAudioDevice({ device: 'file', ...config }, deps(new VirtualTiming()));
    await expect(open({ input: GREETING_PATH, output: GREETING_PATH })).rejects.toMatchObject({
      code: 'audio-unusable',
    });
  });
});

describe('WAV recording', () => {
  test('is a valid file up to the last whole second while it is still being written', async () => {
    const path = join(folder, 'crash.wav');
    const sink = await WavFileSink.create(path, () => {});
    for (let i = 0; i < 130; i++) sink.write(tone);
    await expect.poll(() => readWav('crash.wav').samples.length, { interval: 2 }).toBe(2 * 48_000);
    await sink.close();
    expect(readWav('crash.wav').samples.length).toBe(130 * 960);
    sink.write(tone);
    expect(sink.droppedFrames).toBe(1);
  });

  test('a disk that fails ends the recording, not the call, and is told once', async () => {
    // /dev/full takes the open and refuses every write.
    const failures: unknown[] = [];
    const sink = await WavFileSink.create('/dev/full', (error) => failures.push(error));
    for (let i = 0; i < 200; i++) sink.write(tone);
    await sink.close();
    expect(failures).toHaveLength(1);
    expect(failures[0]).toMatchObject({ code: 'ENOSPC' });
  });

  test('sound that waits for a slow disk is bounded', async () => {
    const sink = await WavFileSink.create(join(folder, 'slow.wav'), () => {});
    // Nothing is written before the event loop turns.
    for (let i = 0; i < 50 * 10; i++) sink.write(tone);
    expect(sink.droppedFrames).toBe(50 * 6);
    await sink.close();
    expect(readWav('slow.wav').samples.length).toBe(4 * 48_000);
  });
});

describe('devices without files', () => {
  test('tone says 440 Hz at −12 dB', async () => {
    const timing = new VirtualTiming();
    const device = await openAudioDevice({ device: 'tone' }, deps(timing));
    const { samples } = (await use(device, timing, 1000)).said;
    let crossings = 0;
    for (let i = 1; i < samples.length; i++) {
      if ((samples[i - 1] ?? 0) < 0 && (samples[i] ?? 0) >= 0) crossings++;
    }
    expect(Math.abs(crossings - 440)).toBeLessThan(2);
    expect(20 * Math.log10(Math.max(...samples) / 32_767)).toBeCloseTo(-12, 1);
  });

  test('null says silence in real time', async () => {
    const timing = new VirtualTiming();
    const device = await openAudioDevice({ device: 'null' }, deps(timing));
    const { said, frames } = await use(device, timing, 1000, () => tone);
    expect(frames).toBe(50);
    expect(said.samples.every((sample) => sample === 0)).toBe(true);
  });

  test('the stand-in greets once in each call, after a moment', async () => {
    const timing = new VirtualTiming();
    const device = await StandInDevice.create({ reason: 'no card', timing, log: silentLogger });
    expect(device.description).toBe('stand-in greeting: no card');
    for (let call = 0; call < 2; call++) {
      const { said, states } = await use(device, timing, 6000, () => tone);
      const { correlation, offsetMs } = compareSpeech(greeting(), said);
      expect(correlation).toBeGreaterThan(0.99);
      expect(offsetMs).toBe(400);
      expect(states).toEqual(['both_missing']);
    }
  });

  test('the stand-in records when told', async () => {
    const timing = new VirtualTiming();
    const output = join(folder, 'heard.wav');
    const options = { reason: 'no card', output, timing, log: silentLogger };
    await use(await StandInDevice.create(options), timing, 3500, () => tone);
    expect(readWav('heard.wav').samples.lastIndexOf(5000)).toBe(3.5 * 48_000 - 1);
  });
});

describe('ring tone', () => {
  test('rings every three seconds until it is stopped', async () => {
    const timing = new VirtualTiming();
    const device = new StreamDevice(timing);
    const heard: number[] = [];
    device.onHeard((pcm) => heard.push(Math.max(...pcm)));
    const ring = await RingTone.start(device, timing);
    timing.advance(6500);
    await ring.stop();
    await ring.stop();
    timing.advance(1000);
    expect(heard.length).toBe(325);
    const loud = (fromS: number, toS: number) => Math.max(...heard.slice(50 * fromS, 50 * toS));
    expect(loud(0, 1)).toBeGreaterThan(5000);
    expect(loud(2.6, 3)).toBeLessThan(100);
    expect(loud(3, 4)).toBeGreaterThan(5000);
    expect(Math.max(...heard)).toBeLessThan(14_000);
  });
});

describe('stream device', () => {
  test('says what was pushed, in chunks of any size, and hands over what is heard', async () => {
    const timing = new VirtualTiming();
    const device = new StreamDevice(timing);
    const heard: number[] = [];
    device.onHeard((pcm) => heard.push(pcm[0] ?? 0));
    let next = 1;
    const { said, frames } = await use(device, timing, 2000, (i) => {
      device.push(Int16Array.from({ length: i % 2 === 0 ? 700 : 1220 }, () => next++ % 30_000));
      return tone;
    });
    expect(frames).toBe(100);
    const first = said.samples.indexOf(1);
    const expected = Int16Array.from({ length: 90 * 960 }, (_, i) => (i + 1) % 30_000);
    expect(said.samples.subarray(first, first + expected.length)).toEqual(expected);
    expect(heard.length).toBe(100);
    expect(heard.filter((sample) => sample === 5000).length).toBeGreaterThan(95);
  });

  test('tells how much waits, and drops the oldest over 1 s', async () => {
    const device = new StreamDevice(new VirtualTiming());
    const session = await device.open();
    expect(device.push(new Int16Array(480))).toBe(10);
    expect(device.push(new Int16Array(48_000 * 3))).toBe(20 * MAX_STREAM_AHEAD_FRAMES);
    expect(device.droppedSamples).toBe(48_000 * 2 + 480);
    await session.close();
  });

  test('what was pushed before a call is not said in it', async () => {
    const timing = new VirtualTiming();
    const device = new StreamDevice(timing);
    device.push(new Int16Array(9600).fill(77));
    const { said } = await use(device, timing, 500);
    expect(said.samples.every((sample) => sample === 0)).toBe(true);
  });
});
