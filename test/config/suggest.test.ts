import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { editDistance, nearestWord } from '../../agent/base/suggest.ts';
import { allKeys } from '../../agent/config/keys.ts';

const word = fc.string({ maxLength: 12 });
const keys = allKeys().map((path) => path.at(-1) ?? '');

describe('edit distance', () => {
  test.each([
    ['', '', 0],
    ['kitten', 'sitting', 3],
    ['port', 'prot', 1],
    ['ca', 'abc', 3], // the restricted form: no place is edited twice
    ['retain', 'retian', 1],
    ['abc', '', 3],
  ])('%s → %s', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  test('is 0 exactly between equals, symmetric, and at most the longer length', () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b);
        expect(distance === 0).toBe(a === b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });
});

describe('the nearest right key', () => {
  test('is found for every key after any one edit that leads to no other key', () => {
    const letter = fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz_');
    const edit = fc.constantFrom('insert', 'delete', 'replace', 'swap');
    fc.assert(
      fc.property(fc.constantFrom(...keys), edit, fc.nat(), letter, (key, kind, at, by) => {
        const i = at % key.length;
        const typed =
          kind === 'insert'
            ? key.slice(0, i) + by + key.slice(i)
            : kind === 'delete'
              ? key.slice(0, i) + key.slice(i + 1)
              : kind === 'replace'
                ? key.slice(0, i) + by + key.slice(i + 1)
                : key.slice(0, i) + (key[i + 1] ?? '') + (key[i] ?? '') + key.slice(i + 2);
        const found = nearestWord(typed, keys);
        expect(found).toBeDefined();
        expect(editDistance(typed, found ?? '')).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('does not depend on case, and is not forced on what is far from all', () => {
    expect(nearestWord('Port', ['port'])).toBe('port');
    expect(nearestWord('zebra', keys)).toBeUndefined();
    expect(nearestWord('x', ['y'])).toBeUndefined();
    expect(nearestWord('a'.repeat(100_000), keys)).toBeUndefined();
  });
});
