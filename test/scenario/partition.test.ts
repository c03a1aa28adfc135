import { expect } from 'vitest';
import { LIMITS } from '../../agent/dht/limits.ts';
import { story } from '../sim/seeds.ts';
import { partition } from './partition.ts';

const MINUTE = 60_000;

// Longer than nodes are remembered as good (10 minutes), than they stay in buckets, and than tokens live.
const apartMs = 100 * MINUTE;

story('two halves that lost each other find everything of both again', [1], (seed) => {
  const healMs = LIMITS.bootstrapCheckMs + 5 * MINUTE;
  const result = partition({ seed, nodes: 30, apartMs, healMs });
  expect(result).toEqual({ ownSideApart: 1, otherSideApart: 0, healed: 1 });
});

story('so do two halves of strangers, who have nothing in common but an address', [3], (seed) => {
  const healMs = LIMITS.bootstrapCheckMs + 5 * MINUTE;
  const result = partition({ seed, nodes: 30, apartMs, healMs, strangers: true });
  expect(result).toEqual({ ownSideApart: 1, otherSideApart: 0, healed: 1 });
});
