import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../agent/base/errors.ts';
import { decodeControl, encodeControl } from '../../agent/call/control.ts';
import { ReplayWindow } from '../../agent/call/replay-window.ts';
import { HANGUP_REASONS } from '../../agent/call/signal.ts';

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
