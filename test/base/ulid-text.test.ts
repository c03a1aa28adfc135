import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Random } from '../../agent/base/random.ts';
import { ulid } from '../../agent/base/ulid.ts';

const fixed = (byte: number): Random => ({
  bytes: (length) => new Uint8Array(length).fill(byte),
  uint32: () => 0,
  fraction: () => 0,
});

test('writes the time of the specification as its example begins', () => {
  // README of github.com/ulid/spec: 01ARZ3NDEK is the time part of 1469922850259.
  expect(ulid(1_469_922_850_259, fixed(0))).toBe('01ARZ3NDEK0000000000000000');
  expect(ulid(0, fixed(255))).toBe('0000000000ZZZZZZZZZZZZZZZZ');
});

test('has 26 characters of the alphabet and sorts by time', () => {
  const time = fc.nat({ max: 2 ** 48 - 1 });
  fc.assert(
    fc.property(time, time, (a, b) => {
      const [first, second] = [ulid(a, fixed(255)), ulid(b, fixed(0))];
      expect(first).toMatch(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
      if (a < b) expect(first < second).toBe(true);
    }),
  );
});

test('a clock that was never set gives a valid one', () => {
  expect(ulid(-5, fixed(0))).toBe('0'.repeat(26));
});
