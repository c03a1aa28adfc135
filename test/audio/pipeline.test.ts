import { describe, expect, test } from 'vitest';
import type { AudioSession, AudioState } from '../../agent/audio/device.ts';
import { type FrameSource, PacedSession, SILENCE } from '../../agent/audio/paced-session.ts';
import { VoicePipeline } from '../../agent/audio/pipeline.ts';
import { decodeRtp } from '../../agent/audio/rtp.ts';
import { WavSource } from '../../agent/audio/wav-source.ts';
import { seededRandom } from '../sim/seeded.ts';
import { compareSpeech } from './compare.ts';
import { FakeCodec } from './fake-codec.ts';
import type { LinkOptions } from './lossy-link.ts';
import { babble, greeting } from './speech.ts';
import { Recorder, virtualCall } from './virtual-call.ts';
import { VirtualTiming } from './virtual-timing.ts';

const call = (said: FrameSource, saidBack: FrameSource, link: LinkOptions, seed?: number) =>
  virtualCall(said, saidBack, link, () => new FakeCodec(), seed);

describe('voice pipeline', () => {
  test('both sides hear what the other says', () => {
    const said = greeting();
    const saidBack = babble(3, 4);
    const { timing, a, b } = call(new WavSource(said, 9600), new WavSource(saidBack), {
      delayMs: 30,
    });
    timing.advance(6000);
    const atB = compareSpeech(said, b.recorder.wav());
    expect(atB.correlation).toBeGreaterThan(0.99);
    expect(Math.abs(atB.levelDb)).toBeLessThan(0.5);
    // 200 ms of lead, 30 of network, 60 to 80 of jitter buffer, 40 of device queue.
    expect(atB.offsetMs).toBeGreaterThan(300);
    expect(atB.offsetMs).toBeLessThan(400);
    const atA = compareSpeech(saidBack, a.recorder.wav());
    expect(atA.correlation).toBeGreaterThan(0.99);
    expect(compareSpeech(said, a.recorder.wav()).correlation).toBeLessThan(0.6);
  });

  test('5 % loss, reordering and duplicates leave the words', () => {
    const said = greeting();
    const { timing, b, toB } = call(
      new WavSource(said),
      SILENCE,
      { delayMs: 20, jitterMs: 45, loss: 0.05, duplicate: 0.05 },
      7,
    );
    timing.advance(4800);
    // What is lost at the very end would still have its place to come.
    toB.options = { ...toB.options, loss: 0 };
    timing.advance(200);
    const result = compareSpeech(said, b.recorder.wav());
    expect(result.correlation).toBeGreaterThan(0.95);
    expect(Math.abs(result.levelDb)).toBeLessThan(1);
    const stats = b.pipeline.stats();
    expect(toB.lost).toBeGreaterThan(3);
    expect(stats.reordered).toBeGreaterThan(10);
    expect(stats.duplicate).toBeGreaterThan(3);
    expect(stats.recovered + stats.concealed).toBeGreaterThanOrEqual(toB.lost);
    expect(Math.abs(stats.lost - toB.lost)).toBeLessThanOrEqual(3);
    expect(stats.lossPct).toBeCloseTo((100 * stats.lost) / (stats.received + stats.lost));
  });

  test('a stall of the whole process costs its time and leaves no delay', () => {
    const said = babble(5, 20);
    const { timing, b } = call(new WavSource(said), SILENCE, { delayMs: 20 });
    timing.advance(4000);
    const before = b.pipeline.stats().delayMs;
    timing.stall(1500);
    timing.advance(2000);
    expect(b.pipeline.stats().delayMs).toBeLessThanOrEqual(before + 25);
    // The recording is as long as the call was.
    expect(Math.abs(b.recorder.frames.length - 7500 / 20)).toBeLessThan(3);
  });

  test('numbers, timestamp and SSRC run on as RTP wants them', () => {
    const timing = new VirtualTiming();
    const packets: Uint8Array[] = [];
    const pipeline = new VoicePipeline({
      session: new PacedSession({ source: SILENCE, sink: new Recorder(), timing }),
      codec: new FakeCodec(),
      ssrc: 0xdeadbeef,
      random: seededRandom(1),
      timing,
      sendRtp: (packet) => packets.push(packet.slice()),
    });
    pipeline.start();
    timing.advance(100);
    timing.stall(1000);
    const headers = packets.map(decodeRtp);
    const [first] = headers;
    if (first === undefined) throw new Error('nothing was sent');
    expect(headers.map((h) => (h.sequenceNumber - first.sequenceNumber) & 0xffff)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    ]);
    const frames = headers.map((h) => ((h.timestamp - first.timestamp) | 0) / 960);
    expect(frames.slice(0, 5)).toEqual([0, 1, 2, 3, 4]);
    // After the gap the timestamp has followed the clock, and the marker says so.
    expect(frames[5]).toBeGreaterThan(45);
    expect(headers.map((h) => h.marker).lastIndexOf(true)).toBe(5);
    expect(new Set(headers.map((h) => h.ssrc))).toEqual(new Set([0xdeadbeef]));
    expect(new Set(headers.map((h) => h.payloadType))).toEqual(new Set([111]));
  });

  test('muted, it goes on sending, silence', () => {
    const { timing, a, b } = call(new WavSource(babble(1, 10)), SILENCE, { delayMs: 5 });
    a.pipeline.muted = true;
    timing.advance(2000);
    expect(b.pipeline.stats().received).toBeGreaterThan(90);
    expect(b.recorder.wav().samples.every((sample) => sample === 0)).toBe(true);
    a.pipeline.muted = false;
    timing.advance(2000);
    expect(b.recorder.wav().samples.some((sample) => sample !== 0)).toBe(true);
  });

  test('garbage, RTCP and other payloads are counted and do not disturb the voice', () => {
    const said = greeting();
    const { timing, b } = call(new WavSource(said), SILENCE, { delayMs: 20 });
    const random = seededRandom(9);
    const foreign = Uint8Array.of(0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3);
    const rtcp = Uint8Array.of(0x80, 201, 0, 1, 0, 0, 0, 0);
    // Opus of 60 ms: RTP that is right, and not what we agreed on.
    const long = Uint8Array.of(0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 3 << 3, 1, 2);
    for (let i = 0; i < 200; i++) {
      timing.advance(25);
      b.pipeline.receiveRtp(random.bytes(i % 40), timing.clock.now());
      for (const packet of [foreign, rtcp, long]) {
        b.pipeline.receiveRtp(packet, timing.clock.now());
      }
    }
    expect(compareSpeech(said, b.recorder.wav()).correlation).toBeGreaterThan(0.99);
    const { malformed, ignored } = b.pipeline.stats();
    expect(malformed).toBeGreaterThan(300);
    expect(ignored).toBeGreaterThanOrEqual(400);
  });

  test('a payload the codec refuses is counted and concealed', () => {
    const { timing, a, b } = call(SILENCE, SILENCE, { delayMs: 5 });
    timing.advance(500);
    const encode = a.codec.encode.bind(a.codec);
    a.codec.encode = (pcm) => encode(pcm).subarray(0, 100);
    timing.advance(500);
    const { malformed, concealed } = b.pipeline.stats();
    expect(malformed).toBeGreaterThan(15);
    expect(concealed).toBe(malformed);
  });

  test('stop closes device and codec once; nothing is sent or heard afterwards', async () => {
    const { timing, a, b, toB } = call(new WavSource(babble(1, 10)), SILENCE, { delayMs: 5 });
    timing.advance(1000);
    const { sent } = toB;
    await Promise.all([a.pipeline.stop(), a.pipeline.stop()]);
    timing.advance(1000);
    expect(toB.sent).toBe(sent);
    expect(a.codec.isClosed).toBe(true);
    expect(a.recorder.isClosed).toBe(true);
    expect(b.pipeline.stats().lastReceivedAt).toBeLessThan(timing.clock.now() - 900);
  });

  test('tells what state the device is in', () => {
    const states: AudioState[] = [];
    let tell: (state: AudioState) => void = () => {};
    const session: AudioSession = {
      start: (_onFrame, onState) => {
        tell = onState;
      },
      write: () => {},
      stats: () => ({ droppedFrames: 3, xruns: 2, queuedMs: 40 }),
      close: async () => {},
    };
    const pipeline = new VoicePipeline({
      session,
      codec: new FakeCodec(),
      ssrc: 1,
      random: seededRandom(1),
      timing: new VirtualTiming(),
      sendRtp: () => {},
      onState: (state) => states.push(state),
    });
    pipeline.start();
    tell('no_capture');
    tell('ok');
    expect(states).toEqual(['no_capture', 'ok']);
    expect(pipeline.stats()).toMatchObject({
      droppedFrames: 3,
      xruns: 2,
      delayMs: 60,
      state: 'ok',
    });
  });
});
