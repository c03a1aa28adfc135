import { expect, test } from 'vitest';
import { Churn } from './churn.ts';
import { LookupProbe } from './lookup-probe.ts';
import { type SimNode, World } from './world.ts';

test('as many die as come, at the stated rate, and those stay that shall', () => {
  const world = new World({ seed: 2 });
  const nodes = world.addMany(20);
  const keep = nodes.slice(0, 3);
  const churn = new Churn(world, { replacedPerHour: 0.5, keep });
  world.run(3_600_000);
  expect(churn.replaced).toBe(10);
  expect(world.nodes.length).toBe(20);
  expect(keep.every(({ alive }) => alive)).toBe(true);
  expect(nodes.filter(({ alive }) => !alive).length).toBeGreaterThan(5);
  churn.stop();
  world.run(3_600_000);
  expect(churn.replaced).toBe(10);
});

test('hops are counted along who named whom, messages with their answers', () => {
  const world = new World({ seed: 3 });
  const lookUp = (asker: SimNode) => {
    const key = world.randomHash();
    const probe = new LookupProbe(asker, key);
    world.taps.add(probe);
    const get = asker.get(key);
    world.runUntil(() => asker.isDone(get), 10_000);
    world.taps.delete(probe);
    const { hops, requests, replies, found } = probe;
    return { hops, requests, replies, found: found.length };
  };
  const [one] = world.addMany(2) as [SimNode];
  world.run(60_000);
  expect(lookUp(one)).toEqual({ hops: 1, requests: 1, replies: 1, found: 1 });
  world.addMany(6);
  world.run(60_000);
  // Four are asked at once, the other three when these have named them.
  expect(lookUp(one)).toEqual({ hops: 2, requests: 7, replies: 7, found: 7 });
});
