import fc from 'fast-check';
import { generate } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { PacketSizeWatch } from '../../agent/mqtt/packet-size.ts';

const publish = (bytes: number) =>
  generate({
    cmd: 'publish',
    topic: 'a',
    payload: Buffer.alloc(bytes),
    qos: 0,
    retain: false,
    dup: false,
  });

/** Remaining length of a publish to a topic of one letter, QoS 0. */
const OVERHEAD = 3;

describe('PacketSizeWatch', () => {
  test('lets packets up to the limit pass, and stops the one above', () => {
    const limit = 1_000;
    expect(new PacketSizeWatch(limit).feed(publish(limit - OVERHEAD))).toBe(true);
    expect(new PacketSizeWatch(limit).feed(publish(limit - OVERHEAD + 1))).toBe(false);
  });

  test('stops it at the header, before its payload comes', () => {
    expect(new PacketSizeWatch(1_000).feed(publish(1_000_000).subarray(0, 4))).toBe(false);
  });

  test('a length of five bytes is no length', () => {
    expect(new PacketSizeWatch(2 ** 30).feed(Uint8Array.of(0x30, 255, 255, 255, 255))).toBe(false);
  });

  test('judges the same however the stream is cut', () => {
    const size = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 40_000 }));
    fc.assert(
      fc.property(
        fc.array(size, { minLength: 1, maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 20 }),
        (sizes, cuts) => {
          const stream = Buffer.concat(sizes.map(publish));
          const watch = new PacketSizeWatch(20_000);
          let isFine = true;
          for (let at = 0, i = 0; at < stream.length && isFine; i++) {
            const step = cuts[i % cuts.length] ?? 1;
            isFine = watch.feed(stream.subarray(at, at + step));
            at += step;
          }
          expect(isFine).toBe(sizes.every((bytes) => bytes + OVERHEAD <= 20_000));
        },
      ),
    );
  });
});
