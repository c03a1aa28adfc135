import { describe, expect, test } from 'vitest';
import { TokenBucket } from '../../agent/base/token-bucket.ts';

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

  test('gives the whole burst at a moment that is no whole number', () => {
    for (let now = 0.1; now < 1e7; now = now * 1.01 + 0.137) {
      const bucket = new TokenBucket(20, 1000);
      expect(Array.from({ length: 21 }, () => bucket.take(now)).lastIndexOf(true)).toBe(19);
    }
  });
});
