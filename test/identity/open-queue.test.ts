import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  IN_ORDER_WAITING,
  MAX_WAITING_BYTES,
  MAX_WAITING_PER_LANE,
} from '../../agent/identity/limits.ts';
import { OpenQueue } from '../../agent/identity/open-queue.ts';

const drain = <T>(queue: OpenQueue<T>) => {
  const items: T[] = [];
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) items.push(item);
  return items;
};

describe('OpenQueue', () => {
  test('a few are served in order of arrival', () => {
    const queue = new OpenQueue<number>();
    for (let i = 0; i < IN_ORDER_WAITING; i++) queue.push('inbox', i, 100);
    expect(drain(queue)).toEqual([0, 1, 2, 3]);
  });

  test('in a flood the newest is next', () => {
    const queue = new OpenQueue<string>();
    for (let i = 0; i < 1000; i++) queue.push('inbox', 'junk', 100);
    queue.push('inbox', 'call', 100);
    expect(queue.shift()).toBe('call');
  });

  test('a flood keeps within the bound, drops its oldest and counts them', () => {
    const queue = new OpenQueue<number>();
    for (let i = 0; i < 1000; i++) queue.push('inbox', i, 100);
    expect(queue.size).toBe(MAX_WAITING_PER_LANE);
    expect(queue.dropped).toBe(1000 - MAX_WAITING_PER_LANE);
    expect(Math.min(...drain(queue))).toBe(1000 - MAX_WAITING_PER_LANE);
  });

  test('a flood in one lane costs another lane one turn at most, and none of its items', () => {
    const queue = new OpenQueue<string>();
    for (let i = 0; i < 1000; i++) queue.push('inbox', 'junk', 100);
    queue.push('call', 'answer', 100);
    expect([queue.shift(), queue.shift()]).toContain('answer');
  });

  test('its bytes are bounded over all lanes, and the longest row pays', () => {
    const queue = new OpenQueue<string>();
    const bytes = 65_536;
    queue.push('call', 'offer', bytes);
    const gone: string[] = [];
    for (let i = 0; i < 100; i++) gone.push(...queue.push('inbox', `junk ${i}`, bytes));
    expect(queue.bytes).toBe(MAX_WAITING_BYTES);
    expect(queue.size).toBe(MAX_WAITING_BYTES / bytes);
    expect(gone.length).toBe(queue.dropped);
    expect(gone.length + queue.size).toBe(101);
    expect(gone[0]).toBe('junk 0');
    expect(queue.push('call', 'candidate', bytes)).toEqual([`junk ${gone.length}`]);
    expect(drain(queue)).toContain('offer');
    expect(queue.bytes).toBe(0);
  });

  test('a cleared lane is empty, others are not', () => {
    const queue = new OpenQueue<string>();
    queue.push('a', '1', 100);
    queue.push('b', '2', 100);
    queue.clear('a');
    expect([queue.size, queue.bytes]).toEqual([1, 100]);
    expect(drain(queue)).toEqual(['2']);
  });

  test('gives each item once or counts it as dropped', () => {
    const operation = fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom('a', 'b', 'c') },
      { weight: 1, arbitrary: fc.constant('shift') },
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
        const queue = new OpenQueue<number>();
        const seen: number[] = [];
        let pushed = 0;
        for (const what of operations) {
          if (what !== 'shift') queue.push(what, pushed++, 100);
          else {
            const item = queue.shift();
            if (item !== undefined) seen.push(item);
          }
        }
        seen.push(...drain(queue));
        expect(new Set(seen).size).toBe(seen.length);
        expect(seen.length + queue.dropped).toBe(pushed);
      }),
    );
  });
});
