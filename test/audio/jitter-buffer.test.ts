import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JitterBuffer } from '../../agent/audio/jitter-buffer.ts';
import { JITTER_SLOTS, MAX_OPUS_PACKET_BYTES } from '../../agent/audio/limits.ts';

const TARGET_MS = 60;

/** A sender of one packet per 20 ms whose payload is its index, and a player that notes what it got. */
class Stream {
  readonly buffer = new JitterBuffer(TARGET_MS);
  readonly played: (number | 'recover' | 'conceal' | 'silence')[] = [];
  readonly #sequenceStart: number;
  readonly #timestampStart: number;

  constructor(sequenceStart = 65_530, timestampStart = 2 ** 32 - 3000) {
    this.#sequenceStart = sequenceStart;
    this.#timestampStart = timestampStart;
  }

  arrive(index: number, now: number, ssrc = 7, sequenceOffset = 0): void {
    this.buffer.insert(
      {
        payloadType: 111,
        marker: false,
        sequenceNumber: (this.#sequenceStart + index + sequenceOffset) & 0xffff,
        timestamp: (this.#timestampStart + 960 * index) >>> 0,
        ssrc,
        payload: Uint8Array.of(0xf8, index >> 8, index & 0xff),
      },
      now,
    );
  }

  tick(now: number): void {
    const playout = this.buffer.take(now);
    const [, high = 0, low = 0] = this.buffer.payload;
    this.played.push(playout === 'packet' ? 256 * high + low : playout);
  }

  /** Packets `from` … `to` − 1 on time, one tick each 20 ms, half a frame after the packet. */
  run(from: number, to: number, isLost: (index: number) => boolean = () => false): void {
    for (let i = from; i < to; i++) {
      if (!isLost(i)) this.arrive(i, 20 * i);
      this.tick(20 * i + 10);
    }
  }

  heard(): number[] {
    return this.played.filter((what) => typeof what === 'number');
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe('jitter buffer', () => {
  test('is silent until the first packet has reached the target age, then plays in order', () => {
    const stream = new Stream();
    stream.run(0, 10);
    expect(stream.played).toEqual(['silence', 'silence', 'silence', 0, 1, 2, 3, 4, 5, 6]);
    expect(stream.buffer.stats()).toMatchObject({ received: 10, lost: 0, delayMs: 70 });
  });

  test('plays packets in order that arrived out of order', () => {
    const stream = new Stream();
    stream.run(0, 5);
    stream.tick(110);
    stream.arrive(6, 120);
    stream.arrive(5, 121);
    stream.tick(130);
    stream.run(7, 12);
    expect(stream.heard()).toEqual(range(0, stream.heard().length));
    expect(stream.buffer.stats()).toMatchObject({ reordered: 1, lost: 0, late: 0 });
  });

  test('begins with the packet that was overtaken at the very start', () => {
    const stream = new Stream();
    stream.arrive(1, 20);
    stream.arrive(0, 21);
    for (let now = 30; now < 120; now += 20) stream.tick(now);
    expect(stream.heard()[0]).toBe(0);
  });

  test('recovers one lost packet from the next, conceals the first of two', () => {
    const stream = new Stream();
    stream.run(0, 30, (i) => i === 8 || i === 15 || i === 16);
    expect(stream.played.slice(10, 22)).toEqual([
      7,
      'recover',
      9,
      10,
      11,
      12,
      13,
      14,
      'conceal',
      'recover',
      17,
      18,
    ]);
    expect(stream.buffer.stats()).toMatchObject({ lost: 3, late: 0 });
  });

  test('counts a packet that comes after its playout as late, not as lost', () => {
    const stream = new Stream();
    stream.run(0, 20, (i) => i === 10);
    stream.arrive(10, 400);
    stream.run(20, 25);
    expect(stream.heard()).not.toContain(10);
    expect(stream.buffer.stats()).toMatchObject({ lost: 0, late: 1 });
  });

  test('plays a duplicate once', () => {
    const stream = new Stream();
    for (let i = 0; i < 20; i++) {
      stream.arrive(i, 20 * i);
      stream.arrive(i, 20 * i + 1);
      stream.tick(20 * i + 10);
    }
    expect(stream.heard()).toEqual(range(0, 17));
    expect(stream.buffer.stats()).toMatchObject({ duplicate: 20, received: 20 });
  });

  test('conceals a gap for 100 ms, then is silent, and starts anew when sound comes back', () => {
    const stream = new Stream();
    stream.run(0, 20);
    stream.run(20, 60, () => true);
    stream.run(60, 80);
    expect(stream.played.slice(23, 30)).toEqual([
      'conceal',
      'conceal',
      'conceal',
      'conceal',
      'conceal',
      'silence',
      'silence',
    ]);
    expect(stream.heard().slice(20)).toEqual(range(60, 77));
    expect(stream.buffer.stats().lost).toBe(40);
  });

  test('does not keep the delay of a stall: old sound is left out by its age', () => {
    const stream = new Stream();
    stream.run(0, 20);
    // The process stands still for 700 ms; everything that came meanwhile is handed over at once.
    for (let i = 20; i < 55; i++) stream.arrive(i, 1100);
    for (let i = 55; i < 80; i++) {
      stream.arrive(i, 20 * i);
      stream.tick(20 * i + 10);
    }
    expect(stream.heard().at(-1)).toBe(76);
    const { delayMs, skipped } = stream.buffer.stats();
    expect(delayMs).toBeLessThan(TARGET_MS + 20);
    expect(skipped).toBeGreaterThan(25);
  });

  test('holds no more than its slots when nobody plays', () => {
    const stream = new Stream();
    for (let i = 0; i < 500; i++) stream.arrive(i, 20 * i);
    expect(stream.buffer.stats().bufferedFrames).toBe(JITTER_SLOTS);
    expect(stream.buffer.stats().skipped).toBe(500 - JITTER_SLOTS);
  });

  test('follows a path that became longer', () => {
    const stream = new Stream();
    stream.run(0, 50);
    for (let i = 50; i < 150; i++) {
      stream.tick(20 * i + 10);
      stream.arrive(i - 10, 20 * i + 11);
    }
    const last = stream.heard().at(-1) ?? 0;
    expect(last).toBeGreaterThan(130);
    expect(stream.heard().slice(-80)).toEqual(range(last - 79, last + 1));
  });

  test('follows a path that became shorter', () => {
    const stream = new Stream();
    for (let i = 0; i < 50; i++) {
      stream.arrive(i, 20 * i + 200);
      stream.tick(20 * i + 210);
    }
    for (let i = 50; i < 100; i++) {
      stream.arrive(i, 20 * i + 50);
      stream.tick(20 * i + 60);
    }
    expect(stream.buffer.stats().delayMs).toBeLessThan(TARGET_MS + 40);
    expect(stream.heard().at(-1)).toBeGreaterThan(94);
  });

  test('plays a new SSRC from its start', () => {
    const stream = new Stream();
    stream.run(0, 20);
    for (let i = 20; i < 40; i++) {
      stream.arrive(i, 20 * i, 8, 30_000);
      stream.tick(20 * i + 10);
    }
    expect(stream.heard().slice(-17)).toEqual(range(20, 37));
    expect(stream.buffer.stats()).toMatchObject({ lost: 0, restarts: 1 });
  });

  test('takes one packet with a wild number for a stray, two in a row for a new beginning', () => {
    const stream = new Stream();
    stream.run(0, 20);
    stream.arrive(20, 400, 7, 5000);
    stream.run(20, 30);
    expect(stream.buffer.stats().restarts).toBe(0);
    for (let i = 30; i < 50; i++) {
      stream.arrive(i, 20 * i, 7, 5000);
      stream.tick(20 * i + 10);
    }
    expect(stream.buffer.stats()).toMatchObject({ restarts: 1, lost: 0 });
    expect(stream.heard().at(-1)).toBe(46);
  });

  test('waits when the sender left out time without leaving out numbers', () => {
    const stream = new Stream();
    stream.run(0, 20);
    const insert = (index: number, now: number) =>
      stream.buffer.insert(
        {
          payloadType: 111,
          marker: index === 20,
          sequenceNumber: (65_530 + index) & 0xffff,
          timestamp: (2 ** 32 - 3000 + 960 * (index + 15)) >>> 0,
          ssrc: 7,
          payload: Uint8Array.of(0xf8, 0, index),
        },
        now,
      );
    for (let i = 20; i < 35; i++) stream.tick(20 * i + 10);
    for (let i = 20; i < 40; i++) {
      insert(i, 20 * (i + 15));
      stream.tick(20 * (i + 15) + 10);
    }
    expect(stream.heard()).toEqual(range(0, 37));
    expect(stream.buffer.stats().lost).toBe(0);
  });

  test.each([-5000, 5000])('plays on when the sender moves its timestamps by %i ms', (moveMs) => {
    const stream = new Stream();
    stream.run(0, 20);
    for (let i = 20; i < 40; i++) {
      stream.buffer.insert(
        {
          payloadType: 111,
          marker: false,
          sequenceNumber: (65_530 + i) & 0xffff,
          timestamp: (2 ** 32 - 3000 + 960 * i + 48 * moveMs) >>> 0,
          ssrc: 7,
          payload: Uint8Array.of(0xf8, 0, i),
        },
        20 * i,
      );
      stream.tick(20 * i + 10);
    }
    expect(stream.heard().slice(-17)).toEqual(range(20, 37));
    expect(stream.buffer.stats().restarts).toBe(1);
  });

  test('refuses a payload that is larger than its slots', () => {
    const payload = new Uint8Array(MAX_OPUS_PACKET_BYTES + 1);
    const packet = { payloadType: 111, marker: false, sequenceNumber: 1, timestamp: 0, ssrc: 7 };
    expect(() => new JitterBuffer().insert({ ...packet, payload }, 0)).toThrow(RangeError);
  });

  test.each([
    ['faster', 0.9998],
    ['slower', 1.0002],
  ])('two clocks that differ leave no standing delay (sender %s by 200 ppm)', (_word, factor) => {
    const stream = new Stream();
    let next = 0;
    let worst = 0;
    // Twenty minutes: the clocks come apart by 240 ms.
    for (let tick = 0; tick < 60_000; tick++) {
      while (20 * next * factor <= 20 * tick) {
        stream.arrive(next, 20 * next * factor);
        next++;
      }
      stream.tick(20 * tick + 10);
      const { delayMs } = stream.buffer.stats();
      if (tick > 10) worst = Math.max(worst, Math.abs(delayMs - TARGET_MS));
    }
    expect(worst).toBeLessThan(45);
    // 200 ppm are one frame in 100 s: twelve are left out or guessed, nothing else happens.
    const { skipped, restarts, late } = stream.buffer.stats();
    const guessed = stream.played.filter((what) => what === 'conceal').length;
    expect(skipped + guessed).toBeGreaterThan(9);
    expect(skipped + guessed).toBeLessThan(15);
    expect([restarts, late]).toEqual([0, 0]);
  });

  test('never goes back within a stream, whatever arrives when', () => {
    const packet = fc.record({
      gapMs: fc.integer({ min: 0, max: 100 }),
      move: fc.integer({ min: -40, max: 40 }),
      shiftMs: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.nat(100_000)),
      ticks: fc.nat(4),
    });
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 120 }), (packets) => {
        const buffer = new JitterBuffer(TARGET_MS);
        let now = 0;
        let index = 1000;
        let highest = index;
        let last = 0;
        for (const { gapMs, move, shiftMs, ticks } of packets) {
          now += gapMs;
          index = Math.min(highest + 40, Math.max(0, highest - 40, index + move));
          highest = Math.max(highest, index);
          buffer.insert(
            {
              payloadType: 111,
              marker: false,
              ssrc: 7,
              sequenceNumber: index,
              timestamp: (960 * index + 48 * shiftMs) >>> 0,
              payload: Uint8Array.of(0xf8, index >> 8, index & 0xff),
            },
            now,
          );
          for (let i = 0; i < ticks; i++) {
            now += 20;
            if (buffer.take(now) === 'packet') {
              const [, high = 0, low = 0] = buffer.payload;
              expect(256 * high + low).toBeGreaterThan(last);
              last = 256 * high + low;
            }
          }
          const { bufferedFrames, lost } = buffer.stats();
          expect(bufferedFrames).toBeGreaterThanOrEqual(0);
          expect(bufferedFrames).toBeLessThanOrEqual(JITTER_SLOTS);
          expect(lost).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});
