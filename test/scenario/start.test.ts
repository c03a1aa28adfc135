import { expect } from 'vitest';
import { story } from '../sim/seeds.ts';
import { plainValue } from '../sim/world.ts';
import { BAD, FAR_APART, grown, kilobytes, node } from './grown.ts';

/** Hard beginnings: everybody at once, through loss, with an id that somebody else has. */

story('a ring whose nodes all start again at once is one ring in ten seconds', [1, 2], (seed) => {
  const { world, nodes } = grown(seed, 30, { network: FAR_APART });
  const before = nodes.map(({ id, addresses, dht }) => ({ id, addresses, kept: dht.stats() }));
  expect(before.every(({ kept }) => kept.rpc.nodes4 > 8)).toBe(true);
  for (const old of nodes) old.kill();
  const again = before.map(({ id, addresses }) => world.add({ id, addresses }));
  // Each knows two others, as a configuration names them, and nothing else.
  for (const one of again) one.bootstrap(world.pick(again), world.pick(again));
  world.run(10_000);
  for (const { dht } of again) expect(dht.state(world.now).peers4).toBeGreaterThanOrEqual(8);
  for (let i = 1; i <= 20; i++) {
    const [publisher, reader] = [world.pick(again), world.pick(again)];
    const key = world.randomHash();
    const put = publisher.put(key, plainValue(BigInt(i), 'anew'));
    expect(world.runUntil(() => publisher.isDone(put), 5000)).toBe(true);
    const get = reader.get(key);
    expect(world.runUntil(() => reader.isDone(get), 5000)).toBe(true);
    expect(reader.values(get)).toEqual([plainValue(BigInt(i), 'anew')]);
  }
});

for (const loss of [0.1, 0.2, 0.3]) {
  story(`nodes join, put and get where ${100 * loss} % is lost`, [3], (seed) => {
    const { world, nodes } = grown(seed, 25, { network: { ...BAD, loss } });
    world.run(60_000);
    for (const { dht } of nodes) expect(dht.state(world.now).peers4).toBeGreaterThanOrEqual(8);
    for (let i = 1; i <= 10; i++) {
      const [publisher, reader] = [world.pick(nodes), world.pick(nodes)];
      const key = world.randomHash();
      const put = publisher.put(key, kilobytes(BigInt(i)));
      expect(world.runUntil(() => publisher.isDone(put), 30_000)).toBe(true);
      const get = reader.get(key);
      expect(world.runUntil(() => reader.isDone(get), 30_000)).toBe(true);
      expect(reader.values(get)).toEqual([kilobytes(BigInt(i))]);
    }
  });
}

story('two nodes with one id do not disturb the others, and both still work', [4], (seed) => {
  const { world, nodes } = grown(seed, 20);
  const first = node(nodes, 7);
  const second = world.add({ id: first.id });
  second.bootstrap(node(nodes, 3));
  world.run(60_000);
  const others = nodes.filter((other) => other !== first);
  for (const [i, publisher] of [first, second, ...others.slice(0, 6)].entries()) {
    const key = world.randomHash();
    const listener = world.pick(others);
    const listen = listener.listen(key);
    world.run(3000);
    publisher.put(key, plainValue(BigInt(i + 1), 'twin'));
    expect(world.runUntil(() => listener.values(listen).length > 0, 5000)).toBe(true);
    for (const reader of [first, second, world.pick(others)]) {
      const get = reader.get(key);
      expect(world.runUntil(() => reader.isDone(get), 10_000)).toBe(true);
      expect(reader.values(get).length).toBe(1);
    }
  }
});
