import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RetainedBudget } from '../../agent/mqtt/retained-budget.ts';

describe('RetainedBudget', () => {
  test('has room for so many topics; one that is known may change', () => {
    const budget = new RetainedBudget(2, 1_000);
    expect(['a', 'b', 'c', 'a'].map((topic) => budget.admit(topic, 10))).toEqual([
      true,
      true,
      false,
      true,
    ]);
    expect(budget).toMatchObject({ topics: 2, refused: 1 });
  });

  test('has room for so many bytes, names included', () => {
    const budget = new RetainedBudget(10, 100);
    expect(budget.admit('ü', 98)).toBe(true);
    expect(budget.bytes).toBe(100);
    expect(budget.admit('b', 1)).toBe(false);
    expect(budget.admit('ü', 99)).toBe(false);
  });

  test('an empty payload makes room', () => {
    const budget = new RetainedBudget(1, 100);
    budget.admit('a', 50);
    expect(budget.admit('a', 0)).toBe(true);
    expect(budget).toMatchObject({ topics: 0, bytes: 0 });
    expect(budget.admit('b', 50)).toBe(true);
  });

  test('counts right and stays within bounds whatever comes', () => {
    const publish = fc.tuple(fc.constantFrom('a', 'bb', 'ccc', 'd/e'), fc.nat({ max: 60 }));
    fc.assert(
      fc.property(fc.array(publish), (publishes) => {
        const budget = new RetainedBudget(3, 120);
        const kept = new Map<string, number>();
        for (const [topic, bytes] of publishes) {
          if (!budget.admit(topic, bytes)) continue;
          if (bytes === 0) kept.delete(topic);
          else kept.set(topic, topic.length + bytes);
        }
        expect(budget.topics).toBe(kept.size);
        expect(budget.bytes).toBe([...kept.values()].reduce((sum, size) => sum + size, 0));
        expect(budget.topics).toBeLessThanOrEqual(3);
        expect(budget.bytes).toBeLessThanOrEqual(120);
      }),
    );
  });
});
