import { describe, expect, test } from 'vitest';
import { EventQueue } from '../../agent/mqtt/event-queue.ts';

const event = (seq: number) => ({
  body: { topic: 't', eventType: 'ring', fields: {} },
  envelope: { id: `${seq}`, seq, unixMs: 0, clock: 'set' as const },
  happenedAt: 0,
});

describe('EventQueue', () => {
  test('gives each event once, in order, and forgets it when it arrived', () => {
    const queue = new EventQueue(3);
    queue.push(event(1));
    queue.push(event(2));
    expect(queue.take(10)?.envelope.seq).toBe(1);
    expect(queue.take(11)?.envelope.seq).toBe(2);
    expect(queue.take(12)).toBeUndefined();
    queue.settle(10);
    expect(queue.size).toBe(1);
  });

  test('sends again, in the old order, what a lost connection cut off', () => {
    const queue = new EventQueue(3);
    for (const seq of [1, 2, 3]) queue.push(event(seq));
    queue.take(10);
    queue.take(11);
    queue.settle(10);
    queue.rewind();
    expect([queue.take(20), queue.take(21)].map((e) => e?.envelope.seq)).toEqual([2, 3]);
  });

  test('full, drops the oldest and counts it', () => {
    const queue = new EventQueue(2);
    for (const seq of [1, 2, 3]) queue.push(event(seq));
    expect(queue.size).toBe(2);
    expect(queue.dropped).toBe(1);
    expect(queue.take(1)?.envelope.seq).toBe(2);
  });

  test('an acknowledgement of something dropped meanwhile changes nothing', () => {
    const queue = new EventQueue(1);
    queue.push(event(1));
    queue.take(10);
    queue.push(event(2));
    queue.settle(10);
    expect(queue.size).toBe(1);
  });
});
