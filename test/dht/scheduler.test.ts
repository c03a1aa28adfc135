import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Scheduler } from '../../agent/dht/scheduler.ts';

test('jobs run once each, in the order of their moments, cancelled ones never', () => {
  const job = fc.record({ at: fc.nat({ max: 50 }), cancel: fc.boolean() });
  fc.assert(
    fc.property(fc.array(job, { maxLength: 60 }), fc.nat({ max: 50 }), (jobs, until) => {
      const scheduler = new Scheduler();
      const ran: number[] = [];
      const scheduled = jobs.map(({ at }) => scheduler.schedule(at, () => ran.push(at)));
      jobs.forEach(({ cancel }, i) => {
        if (cancel) scheduled[i]?.cancel();
      });
      const left = jobs.filter(({ cancel }) => !cancel).map(({ at }) => at);
      expect(scheduler.next()).toBe(Math.min(Number.POSITIVE_INFINITY, ...left));
      scheduler.runDue(until);
      expect(ran).toEqual(left.filter((at) => at <= until).sort((a, b) => a - b));
      expect(scheduler.size).toBe(left.length - ran.length);
      scheduled[0]?.cancel();
      scheduled[0]?.cancel();
    }),
  );
});

test('what is scheduled for now while jobs run is run as well', () => {
  const scheduler = new Scheduler();
  let runs = 0;
  scheduler.schedule(5, (now) => {
    scheduler.schedule(now, () => runs++);
  });
  scheduler.runDue(5);
  expect(runs).toBe(1);
  expect(scheduler.next()).toBe(Number.POSITIVE_INFINITY);
});
