import { expect } from 'vitest';
import { story } from '../sim/seeds.ts';
import { type BehindNat, behindNats, mixedRing } from './nat.ts';

// A mapping of 30 s is as short as boxes have it; a listen is renewed every 20 s.
story('a node behind any NAT puts, gets and hears; who serves others', [1, 2], (seed) => {
  const can = { acknowledged: 8, isFound: true, finds: true, hears: true };
  const expected: BehindNat[] = [
    { type: 'full cone', ...can, serves: 1 },
    { type: 'restricted cone', ...can, serves: 0 },
    { type: 'port restricted', ...can, serves: 0 },
    { type: 'symmetric', ...can, serves: 0 },
    { type: 'none', ...can, serves: 1 },
  ];
  expect(behindNats({ seed, open: 24, idleMs: 30_000 })).toEqual(expected);
});

story('a third with addresses of their own carries the others', [3], (seed) => {
  const { put, found, worstMs } = mixedRing(seed, 45, 1 / 3);
  expect({ put, found }).toEqual({ put: 1, found: 1 });
  expect(worstMs).toBeLessThan(10_000);
});
