import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Clock, WakeUp } from '../../agent/base/clock.ts';

// Time is vitest's: `performance.now` and `setTimeout` move only when a test moves them.
const clock: Clock = { now: () => performance.now(), unixMs: () => Date.now() };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function setUp() {
  const fired: number[] = [];
  const start = clock.now();
  const wakeUp = new WakeUp(clock, () => fired.push(clock.now() - start));
  return { fired, start, wakeUp };
}

test('fires once, at the deadline and not before', () => {
  const { fired, start, wakeUp } = setUp();
  wakeUp.arm(start + 100);
  vi.advanceTimersByTime(99);
  expect(fired).toEqual([]);
  vi.advanceTimersByTime(1000);
  expect(fired).toEqual([100]);
  expect(vi.getTimerCount()).toBe(0);
});

test('arming again replaces the deadline, to earlier and to later', () => {
  const { fired, start, wakeUp } = setUp();
  wakeUp.arm(start + 100);
  wakeUp.arm(start + 50);
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(60);
  expect(fired).toEqual([50]);
  wakeUp.arm(start + 100);
  wakeUp.arm(start + 500);
  vi.advanceTimersByTime(1000);
  expect(fired).toEqual([50, 500]);
});

test('arming the same deadline keeps the timer that is there', () => {
  const { start, wakeUp } = setUp();
  const set = vi.spyOn(globalThis, 'setTimeout');
  wakeUp.arm(start + 100);
  wakeUp.arm(start + 100);
  expect(set).toHaveBeenCalledTimes(1);
  set.mockRestore();
  wakeUp.disarm();
});

test('infinity and disarm leave no timer', () => {
  const { fired, start, wakeUp } = setUp();
  wakeUp.arm(start + 100);
  wakeUp.arm(Number.POSITIVE_INFINITY);
  expect(vi.getTimerCount()).toBe(0);
  wakeUp.arm(start + 100);
  wakeUp.disarm();
  vi.advanceTimersByTime(1000);
  expect(fired).toEqual([]);
});

test('a deadline in the past fires in the next turn', () => {
  const { fired, start, wakeUp } = setUp();
  wakeUp.arm(start - 1000);
  expect(fired).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(fired).toHaveLength(1);
});

test('a deadline beyond what setTimeout takes comes early, not at once', () => {
  const { fired, start, wakeUp } = setUp();
  wakeUp.arm(start + 2 ** 40);
  vi.advanceTimersByTime(2 ** 31 - 2);
  expect(fired).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(fired).toEqual([2 ** 31 - 1]);
});

test('may be armed again from its own callback, for the same deadline too', () => {
  const start = clock.now();
  let fired = 0;
  const wakeUp = new WakeUp(clock, () => {
    if (++fired < 3) wakeUp.arm(start + 100);
  });
  wakeUp.arm(start + 100);
  vi.advanceTimersByTime(200);
  expect(fired).toBe(3);
});
