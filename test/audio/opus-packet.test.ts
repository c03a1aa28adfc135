import { describe, expect, test } from 'vitest';
import { opusDuration } from '../../agent/audio/opus-packet.ts';

describe('duration of an Opus packet', () => {
  // RFC 6716 §3.1 table 2: configuration → 10, 20, 40, 60 ms (SILK), 10, 20 (hybrid), 2.5, 5, 10, 20 (CELT).
  test.each([
    [0, 100],
    [1, 200],
    [3, 600],
    [11, 600],
    [12, 100],
    [15, 200],
    [16, 25],
    [17, 50],
    [31, 200],
  ])('configuration %i with one frame: %i tenths of a ms', (config, duration) => {
    expect(opusDuration(Uint8Array.of(config << 3))).toBe(duration);
  });

  test('counts the frames', () => {
    expect(opusDuration(Uint8Array.of(0 | 1))).toBe(200);
    expect(opusDuration(Uint8Array.of(0 | 2))).toBe(200);
    expect(opusDuration(Uint8Array.of(0 | 3, 0x80 | 0x40 | 4))).toBe(400);
  });

  test('is 0 for an empty packet, no frames and more bytes than a frame can have', () => {
    expect(opusDuration(new Uint8Array(0))).toBe(0);
    expect(opusDuration(Uint8Array.of(3))).toBe(0);
    expect(opusDuration(new Uint8Array(1277).fill(0xf8))).toBe(0);
  });
});
