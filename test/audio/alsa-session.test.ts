import { describe, expect, test } from 'vitest';
import { AlsaSession } from '../../agent/audio/alsa-session.ts';
import type { AudioState } from '../../agent/audio/device.ts';
import { Pacer } from '../../agent/audio/pace.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { FakeCard } from './fake-card.ts';
import { VirtualTiming } from './virtual-timing.ts';

/** Let promises that are due go on. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A session on `card` to which somebody writes a frame per 20 ms. */
async function open(timing: VirtualTiming, card: FakeCard) {
  const session = await AlsaSession.open({ openPcm: card.open, timing, log: silentLogger });
  const captured: number[] = [];
  const states: AudioState[] = [];
  const frame = new Int16Array(960).fill(3000);
  const writer = new Pacer(timing, 20, () => session.write(frame));
  session.start(
    (pcm) => captured.push(pcm[0] ?? 0),
    (state) => states.push(state),
  );
  writer.start();
  /** In small steps, so that a card can be opened in between. */
  const advance = async (ms: number) => {
    for (let done = 0; done < ms; done += 100) {
      timing.advance(100);
      await settle();
    }
  };
  return { session, captured, states, frame, advance };
}

describe('ALSA session', () => {
  test('captures and plays with less than 100 ms waiting', async () => {
    const timing = new VirtualTiming();
    const card = new FakeCard(timing);
    const { session, captured, states, advance } = await open(timing, card);
    await advance(10_000);
    expect(states).toEqual(['ok']);
    expect(captured.length).toBeGreaterThanOrEqual(499);
    expect(captured.every((sample) => sample === 1234)).toBe(true);
    expect(card.heard.length).toBeGreaterThanOrEqual(498);
    expect(session.stats()).toEqual({ droppedFrames: 0, xruns: 0, queuedMs: 40 });
  });

  test.each([0.9998, 1.0002])(
    'a card at %f of our speed stays without xrun or growing delay',
    async (speed) => {
      const timing = new VirtualTiming();
      const card = new FakeCard(timing, speed);
      const { session, advance } = await open(timing, card);
      await advance(600_000);
      const { xruns, queuedMs } = session.stats();
      expect(xruns).toBe(0);
      expect(queuedMs).toBeGreaterThan(5);
      expect(queuedMs).toBeLessThan(80);
    },
  );

  test('goes on after a stall that overran both directions', async () => {
    const timing = new VirtualTiming();
    const card = new FakeCard(timing);
    const { session, captured, states, advance } = await open(timing, card);
    await advance(1000);
    timing.stall(700);
    const before = captured.length;
    await advance(3000);
    expect(captured.length - before).toBeGreaterThan(145);
    expect(captured.at(-1)).toBe(1234);
    expect(session.stats().xruns).toBe(2);
    expect(session.stats().queuedMs).toBeLessThan(80);
    expect(states).toEqual(['ok']);
  });

  test('a card that is pulled is a state: silence is captured, writing is harmless, and it comes back', async () => {
    const timing = new VirtualTiming();
    const card = new FakeCard(timing);
    const { session, captured, states, advance } = await open(timing, card);
    await advance(1000);
    card.isPlugged = false;
    await advance(1000);
    expect(states.at(-1)).toBe('both_missing');
    expect(card.closed).toBe(2);
    expect(captured.length).toBeGreaterThan(95);
    expect(captured.at(-1)).toBe(0);
    expect(session.stats().droppedFrames).toBeGreaterThan(40);
    expect(session.stats().queuedMs).toBe(0);
    await advance(20_000);
    expect(captured.length).toBeGreaterThan(1090);
    card.isPlugged = true;
    await advance(5200);
    expect(states.at(-1)).toBe('ok');
    expect(captured.at(-1)).toBe(1234);
    const { droppedFrames } = session.stats();
    await advance(1000);
    expect(session.stats().droppedFrames).toBe(droppedFrames);
  });

  test('tries a missing card again after 0.5, 1, 2 and every 5 s', async () => {
    const timing = new VirtualTiming();
    const card = new FakeCard(timing);
    card.isPlugged = false;
    const attempts: number[] = [];
    const session = await AlsaSession.open({
      openPcm: (direction) => {
        if (direction === 'capture') attempts.push(timing.clock.now() - 1000);
        return card.open(direction);
      },
      timing,
      log: silentLogger,
    });
    session.start(
      () => {},
      () => {},
    );
    for (let i = 0; i < 2000; i++) {
      timing.advance(10);
      if (i % 5 === 0) await settle();
    }
    const rounded = attempts.map((ms) => Math.round(ms / 100) / 10);
    expect(rounded).toEqual([0, 0.5, 1.5, 3.5, 8.5, 13.5, 18.5]);
  });

  test('one direction that is missing leaves the other', async () => {
    const timing = new VirtualTiming();
    const card = new FakeCard(timing);
    const deaf = new FakeCard(timing);
    deaf.isPlugged = false;
    const session = await AlsaSession.open({
      openPcm: (direction) => (direction === 'playback' ? card : deaf).open(direction),
      timing,
      log: silentLogger,
    });
    expect(session.failures.capture?.message).toBe('No such device');
    const states: AudioState[] = [];
    let frames = 0;
    session.start(
      () => frames++,
      (state) => states.push(state),
    );
    timing.advance(1000);
    expect(states).toEqual(['no_capture']);
    expect(frames).toBeGreaterThan(45);
  });

  test('a card that is open and gives no sound is opened again; silence is said meanwhile', async () => {
    const timing = new VirtualTiming();
    const card = new FakeCard(timing, 0);
    const { captured, states, advance } = await open(timing, card);
    await advance(5500);
    expect(states).toContain('no_capture');
    expect(captured.length).toBeGreaterThan(260);
    expect(captured.every((sample) => sample === 0)).toBe(true);
  });

  test('close ends both directions, and a card that opens too late is closed at once', async () => {
    const timing = new VirtualTiming();
    const card = new FakeCard(timing);
    const { session, captured, advance } = await open(timing, card);
    await advance(500);
    card.isPlugged = false;
    await advance(100);
    card.isPlugged = true;
    timing.advance(500);
    await Promise.all([session.close(), session.close()]);
    const { length } = captured;
    await advance(1000);
    expect(captured.length).toBe(length);
    expect(card.closed).toBe(card.opened);
  });

  test('a close that hangs is left to itself after half a second', async () => {
    const timing = new VirtualTiming();
    const card = new FakeCard(timing);
    const session = await AlsaSession.open({
      openPcm: async (direction) => {
        const pcm = await card.open(direction);
        pcm.close = () => new Promise(() => {});
        return pcm;
      },
      timing,
      log: silentLogger,
    });
    let isClosed = false;
    const closing = session.close().then(() => {
      isClosed = true;
    });
    await settle();
    expect(isClosed).toBe(false);
    timing.advance(500);
    await closing;
    expect(isClosed).toBe(true);
  });
});
