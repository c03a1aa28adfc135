import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BoundedMap, BoundedQueue } from '../../agent/base/bounded.ts';

describe('BoundedMap', () => {
  test('past its limit the entry set longest ago goes, is counted and handed out', () => {
    const gone: [string, number][] = [];
    const map = new BoundedMap<string, number>(2, (key, value) => gone.push([key, value]));
    map.set('a', 1);
    map.set('b', 2);
    map.set('a', 3);
    map.get('b');
    map.set('c', 4);
    expect([...map.entries()]).toEqual([
      ['a', 3],
      ['c', 4],
    ]);
    expect({ gone, evicted: map.evicted }).toEqual({ gone: [['b', 2]], evicted: 1 });
  });

  test('deleting and clearing are no evictions', () => {
    const gone: string[] = [];
    const map = new BoundedMap<string, number>(2, (key) => gone.push(key));
    map.set('a', 1);
    expect([map.delete('a'), map.delete('a')]).toEqual([true, false]);
    map.set('b', 1);
    map.clear();
    expect({ size: map.size, gone, evicted: map.evicted }).toEqual({
      size: 0,
      gone: [],
      evicted: 0,
    });
  });

  test('is a Map that remembers only the newest', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.tuple(fc.nat(8), fc.nat()), { maxLength: 60 }),
        (limit, sets) => {
          const map = new BoundedMap<number, number>(limit);
          let model: [number, number][] = [];
          for (const [key, value] of sets) {
            map.set(key, value);
            model = [...model.filter(([k]) => k !== key), [key, value] as [number, number]];
            model = model.slice(-limit);
            expect([...map.entries()]).toEqual(model);
            expect(map.size).toBeLessThanOrEqual(limit);
          }
        },
      ),
    );
  });
});

describe('BoundedQueue', () => {
  test('refuses when full, if told so', () => {
    const queue = new BoundedQueue<number>(2, 'refuse');
    expect([queue.push(1), queue.push(2), queue.push(3)]).toEqual([true, true, false]);
    expect([queue.shift(), queue.shift(), queue.shift()]).toEqual([1, 2, undefined]);
    expect(queue.dropped).toBe(1);
  });

  test('drops its oldest when full, if told so', () => {
    const queue = new BoundedQueue<number>(2, 'drop-oldest');
    expect([queue.push(1), queue.push(2), queue.push(3)]).toEqual([true, true, true]);
    expect([queue.shift(), queue.shift(), queue.shift()]).toEqual([2, 3, undefined]);
    expect(queue.dropped).toBe(1);
  });

  test('keeps order over any mixture of pushes and shifts, and never grows past its limit', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.constantFrom('refuse' as const, 'drop-oldest' as const),
        fc.array(fc.option(fc.nat(), { nil: undefined }), { maxLength: 400 }),
        (limit, whenFull, steps) => {
          const queue = new BoundedQueue<number>(limit, whenFull);
          const model: number[] = [];
          for (const step of steps) {
            if (step === undefined) {
              expect(queue.shift()).toBe(model.shift());
            } else {
              queue.push(step);
              if (model.length < limit) model.push(step);
              else if (whenFull === 'drop-oldest') {
                model.shift();
                model.push(step);
              }
            }
            expect(queue.size).toBe(model.length);
          }
        },
      ),
    );
  });

  test('is empty after clear, and usable', () => {
    const queue = new BoundedQueue<number>(3, 'refuse');
    queue.push(1);
    queue.clear();
    expect([queue.size, queue.shift()]).toEqual([0, undefined]);
    queue.push(2);
    expect(queue.shift()).toBe(2);
  });

  test('lets go of what was taken out', () => {
    const queue = new BoundedQueue<number>(1000, 'refuse');
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 100; i++) queue.push(i);
      for (let i = 0; i < 100; i++) expect(queue.shift()).toBe(i);
    }
    expect(queue.size).toBe(0);
  });
});
