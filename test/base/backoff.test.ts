import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs } from '../../agent/base/backoff.ts';
import type { Random } from '../../agent/base/random.ts';

const always = (fraction: number): Random => ({
  bytes: (length) => new Uint8Array(length),
  uint32: () => 0,
  fraction: () => fraction,
});

test('doubles from the first delay up to the longest', () => {
  const delays = [0, 1, 2, 3, 4, 5].map((attempt) =>
    backoffMs(attempt, 100, 1000, always(0.999999)),
  );
  expect(delays.map(Math.round)).toEqual([100, 200, 400, 800, 1000, 1000]);
});

test('lies between half and the whole of that, at every attempt, however many there were', () => {
  fc.assert(
    fc.property(
      fc.nat(1_000_000),
      fc.integer({ min: 1, max: 5000 }),
      fc.integer({ min: 5000, max: 3_600_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (attempt, firstMs, maxMs, fraction) => {
        const delay = backoffMs(attempt, firstMs, maxMs, always(fraction));
        const whole = Math.min(firstMs * 2 ** Math.min(attempt, 40), maxMs);
        expect(delay).toBeGreaterThanOrEqual(whole / 2);
        expect(delay).toBeLessThanOrEqual(whole);
      },
    ),
  );
});

test('spreads: another random number, another delay', () => {
  expect(backoffMs(3, 100, 10_000, always(0))).toBe(400);
  expect(backoffMs(3, 100, 10_000, always(0.5))).toBe(600);
});
