import { describe, expect, test } from 'vitest';
import { plainValue, type SimNode, World } from '../sim/world.ts';
import { BAD, grown, kilobytes, node } from './grown.ts';

/** A DHT of a few dozen engines: puts, gets and listens, the death of neighbours, hostile bytes. */

describe('sixty nodes that know one other each', () => {
  const { world, nodes } = grown(11, 60);
  const key = world.randomHash();
  const [publisher, listener, reader] = [node(nodes, 50), node(nodes, 10), node(nodes, 30)];

  test('find enough others to be a DHT', () => {
    for (const { dht } of nodes) expect(dht.state(world.now).peers4).toBeGreaterThanOrEqual(8);
  });

  test('a put is held by 8, heard by who listens, and found by all', () => {
    const listen = listener.listen(key);
    world.run(3000);
    const start = world.now;
    const put = publisher.put(key, kilobytes(5n));
    expect(world.runUntil(() => listener.values(listen).length > 0, 1000)).toBe(true);
    expect(world.now - start).toBeLessThan(200);
    expect(world.runUntil(() => publisher.isDone(put), 2000)).toBe(true);
    // The closest 8, and perhaps one that was among them for a moment.
    const [done] = publisher.of(put).slice(-1);
    expect(done?.type === 'put.done' && done.acknowledged).toBeGreaterThanOrEqual(8);
    for (const asker of [reader, listener, publisher, node(nodes, 0)]) {
      const get = asker.get(key);
      expect(world.runUntil(() => asker.isDone(get), 2000)).toBe(true);
      expect(asker.values(get)).toEqual([kilobytes(5n)]);
    }
  });

  test('a value of 60 kB arrives whole', () => {
    const put = publisher.put(key, kilobytes(6n, 60_000));
    world.runUntil(() => publisher.isDone(put), 5000);
    const get = reader.get(key, { select: [], where: [{ field: 'id', value: 6n }] });
    expect(world.runUntil(() => reader.isDone(get), 5000)).toBe(true);
    expect(reader.values(get)).toEqual([kilobytes(6n, 60_000)]);
  });

  test('the listener hears when a value has expired everywhere', () => {
    const short = world.randomHash();
    const listen = listener.listen(short);
    publisher.put(short, plainValue(7n, 'ice', 5));
    world.run(50_000);
    expect(listener.of(listen).length).toBe(1);
    world.run(15_000);
    expect(listener.of(listen)[1]).toMatchObject({ type: 'listen.value', expired: true });
  });
});

test.each([21, 22, 23])(
  'all but one other node die, and a put still reaches the listener in 2 s (seed %i)',
  (seed) => {
    const { world, nodes } = grown(seed, 30);
    const [publisher, listener, survivor] = [node(nodes, 3), node(nodes, 17), node(nodes, 25)];
    const key = world.randomHash();
    const listen = listener.listen(key);
    world.run(5000);
    for (const other of nodes) if (![publisher, listener, survivor].includes(other)) other.kill();
    const start = world.now;
    const put = publisher.put(key, kilobytes(5n));
    expect(world.runUntil(() => listener.values(listen).length > 0, 2000)).toBe(true);
    expect(world.now - start).toBeLessThan(2000);
    expect(world.runUntil(() => publisher.isDone(put), 10_000)).toBe(true);
  },
);

test('a listen moves on to the nodes that are left', () => {
  const { world, nodes } = grown(31, 24);
  const [publisher, listener, survivor] = [node(nodes, 3), node(nodes, 17), node(nodes, 20)];
  const key = world.randomHash();
  const listen = listener.listen(key);
  world.run(5000);
  for (const other of nodes) if (![publisher, listener, survivor].includes(other)) other.kill();
  world.run(30_000);
  publisher.put(key, kilobytes(5n));
  expect(world.runUntil(() => listener.values(listen).length > 0, 2000)).toBe(true);
  const listening = [publisher, survivor].filter(({ dht }) => dht.stats().server.listeners > 0);
  expect(listening.length).toBeGreaterThan(0);
});

test('a fifth of all datagrams is lost, others come late, twice or in another order, and it still works', () => {
  const { world, nodes } = grown(41, 20);
  world.network.options = { ...BAD, loss: 0.2 };
  const key = world.randomHash();
  const [publisher, listener, reader] = [node(nodes, 1), node(nodes, 9), node(nodes, 15)];
  const listen = listener.listen(key);
  world.run(10_000);
  const put = publisher.put(key, kilobytes(5n));
  expect(world.runUntil(() => listener.values(listen).length > 0, 10_000)).toBe(true);
  expect(world.runUntil(() => publisher.isDone(put), 15_000)).toBe(true);
  const get = reader.get(key);
  expect(world.runUntil(() => reader.isDone(get), 15_000)).toBe(true);
  expect(reader.values(get)).toEqual([kilobytes(5n)]);
});

test('a permanent value outlives its lifetime and the nodes that held it', () => {
  const { world, nodes } = grown(51, 16);
  const key = world.randomHash();
  const publisher = node(nodes, 0);
  publisher.put(key, plainValue(5n, 'still here'), true);
  world.run(60_000);
  for (let minutes = 0; minutes < 25; minutes += 2) {
    // One goes, one comes.
    node(nodes, 1 + minutes / 2).kill();
    const newcomer = world.add();
    newcomer.bootstrap(publisher);
    world.run(120_000);
  }
  const reader = world.nodes.at(-1) as SimNode;
  const get = reader.get(key);
  expect(world.runUntil(() => reader.isDone(get), 10_000)).toBe(true);
  expect(reader.values(get)).toEqual([plainValue(5n, 'still here')]);
});

test('a station whose line comes back is connected again within the longest pause', () => {
  const { world, nodes } = grown(71, 6);
  const station = node(nodes, 5);
  world.network.moveToSide(station.address, 1);
  station.listen(world.randomHash());
  world.run(3_600_000);
  expect(station.dht.state(world.now).state).toBe('disconnected');
  world.network.moveToSide(station.address, 0);
  expect(world.runUntil(() => station.dht.state(world.now).state === 'connected', 310_000)).toBe(
    true,
  );
});

test('an hour alone and idle leaves nothing behind', () => {
  const { world, nodes } = grown(72, 8);
  const [publisher, reader] = [node(nodes, 0), node(nodes, 1)];
  for (let i = 0; i < 30; i++) {
    const key = world.randomHash();
    publisher.put(key, kilobytes(BigInt(i + 1)));
    reader.cancel(reader.listen(key));
    reader.get(key);
    world.run(2000);
  }
  world.run(4_500_000);
  for (const { dht } of nodes) {
    const stats = dht.stats();
    expect(stats).toMatchObject({ gets: 0, puts: 0, listens: 0, sockets: 0 });
    expect(stats.searches4).toBeLessThanOrEqual(1);
    expect(stats.storage).toMatchObject({ keys: 0, values: 0, bytes: 0 });
    expect(stats.rpc).toMatchObject({
      requestBytes: 0,
      assemblies: 0,
      assemblyBytes: 0,
      partQueueBytes: 0,
    });
    expect(stats.jobs).toBeLessThan(20);
  }
});

test('it works over IPv6, and a node of both families joins what each has', () => {
  const world = new World({ seed: 81 });
  const only4 = world.addMany(6);
  const only6 = [world.add({ families: [6] })];
  for (let i = 0; i < 5; i++) {
    const next = world.add({ families: [6] });
    next.bootstrap(only6[0] as SimNode);
    only6.push(next);
    world.run(200);
  }
  const both = world.add({ families: [4, 6] });
  both.bootstrap(node(only4, 0), node(only6, 0));
  world.run(20_000);
  expect(both.dht.state(world.now)).toMatchObject({ state: 'connected', peers4: 6, peers6: 6 });
  const key = world.randomHash();
  const put = both.put(key, kilobytes(5n));
  expect(world.runUntil(() => both.isDone(put), 5000)).toBe(true);
  expect(both.of(put).at(-1)).toMatchObject({ acknowledged: 12 });
  for (const reader of [node(only4, 3), node(only6, 3)]) {
    const get = reader.get(key);
    expect(world.runUntil(() => reader.isDone(get), 5000)).toBe(true);
    expect(reader.values(get)).toEqual([kilobytes(5n)]);
  }
});

test('a flood of hostile bytes disturbs nobody', () => {
  const { world, nodes } = grown(91, 10);
  const [publisher, listener] = [node(nodes, 0), node(nodes, 5)];
  const key = world.randomHash();
  const listen = listener.listen(key);
  world.run(2000);
  const seen: Uint8Array[] = [];
  world.taps.add({
    sent(_from, _to, packet) {
      if (seen.length < 200) seen.push(packet.slice());
    },
  });
  for (let round = 0; round < 10; round++) {
    publisher.put(key, kilobytes(BigInt(round + 1)));
    for (let i = 0; i < 300; i++) {
      const model =
        seen[world.random.uint32() % Math.max(1, seen.length)] ?? world.random.bytes(60);
      const packet = i % 3 === 0 ? world.random.bytes(world.random.uint32() % 300) : model.slice();
      if (packet.length > 0) packet[world.random.uint32() % packet.length] = world.random.uint32();
      // Half of them with the address of a node that is there.
      const from =
        i % 2 === 0
          ? node(nodes, i % 10).address
          : { ip: world.random.bytes(4), port: 1 + (world.random.uint32() % 65_535) };
      world.inject(from, i % 4 === 0 ? publisher : listener, packet);
    }
    world.run(1000);
  }
  expect(world.runUntil(() => listener.values(listen).length >= 10, 10_000)).toBe(true);
  const stats = listener.dht.stats();
  expect(stats.rpc.malformed).toBeGreaterThan(100);
  expect(stats.state).toBe('connected');
});
