import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../agent/base/errors.ts';
import { decodeControl, encodeControl } from '../../agent/call/control.ts';
import { parseIceServer } from '../../agent/call/ice-server.ts';
import { ReplayWindow } from '../../agent/call/replay-window.ts';
import { HANGUP_REASONS } from '../../agent/call/signal.ts';
import { TokenBucket } from '../../agent/call/token-bucket.ts';

describe('replay window', () => {
  test('takes numbers out of turn, each once', () => {
    const window = new ReplayWindow();
    const verdicts = [1, 3, 2, 3, 1, 4].map((sequence) => window.accept(sequence));
    expect(verdicts).toEqual([true, true, true, false, false, true]);
  });

  test('refuses what is far behind, and everything it has seen', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 65535 })), (numbers) => {
        const window = new ReplayWindow();
        const taken = new Set<number>();
        let highest = -1;
        for (const number of numbers) {
          const expected = !taken.has(number) && highest - number < 32;
          expect(window.accept(number)).toBe(expected);
          if (expected) taken.add(number);
          highest = Math.max(highest, number);
        }
      }),
    );
  });

  test('bit 31 of the window counts', () => {
    const window = new ReplayWindow();
    expect([31, 0, 0, 1, 32, 0].map((n) => window.accept(n))).toEqual([
      true,
      true,
      false,
      true,
      true,
      false,
    ]);
  });
});

describe('token bucket', () => {
  test('gives its burst, then one per refill time', () => {
    const bucket = new TokenBucket(3, 1000);
    expect([0, 0, 0, 0, 999, 1000, 1001].map((now) => bucket.take(now))).toEqual([
      true,
      true,
      true,
      false,
      false,
      true,
      false,
    ]);
    expect([100_000, 100_000, 100_000, 100_000].map((now) => bucket.take(now))).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });
});

describe('control frames', () => {
  test('come back', () => {
    for (const reason of HANGUP_REASONS)
      expect(decodeControl(encodeControl({ kind: 'bye', reason }))).toEqual({
        kind: 'bye',
        reason,
      });
    for (const kind of ['heartbeat', 'bye-heard'] as const)
      expect(decodeControl(encodeControl({ kind }))).toEqual({ kind });
  });

  test.each([[[]], [[0]], [[4]], [[2]], [[2, 99]]])('refuses %j', (bytes) => {
    expect(() => decodeControl(Uint8Array.from(bytes))).toThrow(DecodeError);
  });
});

describe('ICE servers', () => {
  test.each([
    ['stun', 'stun:stun.example.org', { host: 'stun.example.org', port: 3478 }],
    ['stun', '192.0.2.1:19302', { host: '192.0.2.1', port: 19302 }],
    ['stun', 'stun:[2001:db8::1]:3478', { host: '2001:db8::1', port: 3478 }],
    [
      'turn',
      'turn:door:s%40c%3Aret@turn.example.org:443',
      { host: 'turn.example.org', port: 443, username: 'door', password: 's@c:ret' },
    ],
    ['turn', 'a:100%@h', { host: 'h', port: 3478, username: 'a', password: '100%' }],
  ] as const)('%s %s', (kind, text, expected) => {
    expect(parseIceServer(kind, text)).toEqual({ kind, ...expected });
  });

  test.each([
    ['stun', 'stun:'],
    ['stun', 'stun:host:0'],
    ['stun', 'stun:user@host'],
    ['stun', 'turn:host:1'],
    ['turn', 'turn:host'],
    ['turn', 'turn:user@host'],
    ['turn', 'turn:a:b:c@host'],
    ['turn', 'turn:user:secret@host?transport=tcp'],
  ] as const)('refuses %s %s, and keeps the password to itself', (kind, text) => {
    expect(() => parseIceServer(kind, text)).toThrow(
      expect.objectContaining({
        code: 'bad-ice-server',
        message: expect.not.stringContaining('secret'),
      }),
    );
  });
});
