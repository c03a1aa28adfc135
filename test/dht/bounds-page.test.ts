import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LIMITS, PROTOCOL } from '../../agent/dht/limits.ts';
import { Lab } from './lab.ts';

const PAGE = readFileSync(new URL('../../docs/dht-bounds.md', import.meta.url), 'utf8');

const named = (cell = '') => [...cell.matchAll(/`([\w.]+)`/g)].map(([, name = '']) => name);

const ROWS = PAGE.split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| what'))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, what = '', cap, , counters]) => ({ what, caps: named(cap), counters: named(counters) }));

/** `rpc.nodes4` of the statistics. */
function at(stats: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce((value, name) => (value as Record<string, unknown> | undefined)?.[name], stats);
}

test.each(ROWS)(
  'the page of bounds: $what has caps and counters that exist',
  ({ caps, counters }) => {
    expect(caps.length).toBeGreaterThan(0);
    for (const name of caps) expect({ ...PROTOCOL, ...LIMITS }, name).toHaveProperty(name);
    const stats = new Lab().dht.stats();
    for (const path of counters) expect(at(stats, path), path).toBeTypeOf('number');
  },
);

test('the page of bounds has all collections', () => {
  expect(ROWS.length).toBeGreaterThan(25);
});
