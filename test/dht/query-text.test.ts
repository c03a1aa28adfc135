import { describe, expect, test } from 'vitest';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { parseWhere } from '../../agent/dht/query-text.ts';
import { CAPS, sizesAndCounters } from '../../agent/dht/sizes.ts';
import { flatten } from '../../agent/flatten.ts';
import { agentErrorOf } from '../agent-error.ts';
import { Lab } from './lab.ts';

const OWNER = 'ab'.repeat(20);

describe('filters as text', () => {
  test.each([
    ['', []],
    ['WHERE', []],
    ['id=5', [{ field: 'id', value: 5n }]],
    ['where id=18446744073709551615', [{ field: 'id', value: 2n ** 64n - 1n }]],
    [
      `WHERE value_type=3, owner_pk=${OWNER.toUpperCase()},user_type=text/plain`,
      [
        { field: 'type', value: 3 },
        { field: 'owner', value: InfoHash.fromHex(OWNER) },
        { field: 'userType', value: 'text/plain' },
      ],
    ],
    ['user_type=', [{ field: 'userType', value: '' }]],
  ])('%s', (text, where) => {
    expect(parseWhere(text)).toEqual({ where, select: [] });
  });

  test.each([
    ['id=x', '"x" is no id of a value'],
    ['id=18446744073709551616', '"18446744073709551616" is no id of a value'],
    ['value_type=65536', '"65536" is no type of a value'],
    ['owner_pk=abc', '"abc" is not the 40 hex digits of a key\'s id'],
    ['seq=1', 'values cannot be filtered by their sequence number'],
    ['color=red', '"color=red" is no filter'],
    ['id=5,', '"" is no filter'],
    [Array(9).fill('id=5').join(','), 'there are more than 8 filters'],
  ])('%s is refused', (text, message) => {
    expect(agentErrorOf(() => parseWhere(text))).toMatchObject({ code: 'bad-query', message });
  });
});

test('every size of a node that is shown beside its cap is there, and below it', () => {
  const stats = flatten(new Lab().dht.stats());
  const { sizes, counters } = sizesAndCounters(stats);
  expect(sizes.map(({ name }) => name)).toEqual(Object.keys(CAPS));
  for (const { size, cap } of sizes) expect(size).toBeLessThanOrEqual(cap);
  expect(sizes.length + Object.keys(counters).length).toBe(Object.keys(stats).length);
});
