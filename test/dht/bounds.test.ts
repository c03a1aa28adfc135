import { describe, expect, test } from 'vitest';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { LIMITS, PROTOCOL } from '../../agent/dht/limits.ts';
import type { PartMessage } from '../../agent/dht/message.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { Node } from '../../agent/dht/node.ts';
import { NodeTable } from '../../agent/dht/node-table.ts';
import { PartAssembler } from '../../agent/dht/part-assembler.ts';
import { PartSender } from '../../agent/dht/part-sender.ts';
import { RateLimit } from '../../agent/dht/rate-limit.ts';
import { RemoteListeners } from '../../agent/dht/remote-listeners.ts';
import { RoutingTable } from '../../agent/dht/routing-table.ts';
import { Scheduler } from '../../agent/dht/scheduler.ts';
import { DEFAULT_STORAGE_LIMITS, Storage, type StorageLimits } from '../../agent/dht/storage.ts';
import { seededRandom } from '../sim/seeded.ts';
import { plainValue } from '../sim/world.ts';
import { addressOf, hash, Lab, PROBE_ID } from './lab.ts';

/** Every collection of the DHT, pushed past its limit. */

const random = seededRandom(9);
const newId = () => new InfoHash(random.bytes(20));
const newNode = (number: number) => new Node(newId(), addressOf(number));

describe('known nodes', () => {
  test('the oldest that nothing uses is forgotten', () => {
    const table = new NodeTable(() => {});
    const used = table.heard(newId(), addressOf(0), false, 0);
    used.uses = 1;
    const idle = table.heard(newId(), addressOf(1), false, 0);
    for (let i = 2; i < LIMITS.nodes + 100; i++) table.heard(newId(), addressOf(i), false, 0);
    expect(table.size).toBe(LIMITS.nodes);
    expect(table.evicted).toBe(100);
    expect(table.get(used.id)).toBe(used);
    expect(table.get(idle.id)).toBeUndefined();
  });

  test('with all of them in use a new one is served but not kept', () => {
    const table = new NodeTable(() => {});
    for (let i = 0; i < LIMITS.nodes; i++) table.heard(newId(), addressOf(i), false, 0).uses = 1;
    const surplus = table.heard(newId(), addressOf(9999), false, 0);
    expect(table.get(surplus.id)).toBeUndefined();
    expect(table.size).toBe(LIMITS.nodes);
    expect(table.unkept).toBe(1);
  });
});

test('a routing table holds 8 nodes in each of at most 32 buckets, none of them twice', () => {
  const self = newId();
  const table = new RoutingTable(self);
  for (let i = 0; i < 3000; i++) {
    const node = newNode(i);
    // Half of them forged to be near us, ever nearer.
    if (i % 2 === 0) node.id.bytes.set(self.bytes.subarray(0, (i / 2) % 20));
    node.heard(0);
    node.lastReply = 0;
    table.insert(node, 0);
    table.insert(node, 0);
  }
  expect(table.buckets.length).toBe(LIMITS.buckets);
  const nodes = [...table.nodes()];
  expect(new Set(nodes).size).toBe(nodes.length);
  for (const bucket of table.buckets)
    expect(bucket.nodes.length).toBeLessThanOrEqual(PROTOCOL.targetNodes);
  expect(nodes.every((node) => node.uses === 1)).toBe(true);
});

describe('rate limit', () => {
  test('a source gets its share of each second, the others theirs', () => {
    const limit = new RateLimit(10, 1000);
    const take = (now: number) =>
      Array.from({ length: 50 }, () => limit.take(1, now)).filter(Boolean).length;
    expect(take(5000)).toBe(10);
    expect(limit.take(2, 5000)).toBe(true);
    // Whatever comes in the second after a burst; half of what it counts for is left in the middle of the next.
    expect(take(5999)).toBe(0);
    expect(take(6500)).toBe(5);
    expect(take(9000)).toBe(10);
    expect(limit.refused).toBe(40 + 50 + 45 + 40);
  });

  test('a burst gets what the reference gives it: 3000 in a third of a second get 1024', () => {
    const limit = new RateLimit(PROTOCOL.requestsPerSource, PROTOCOL.requestsTotal);
    let taken = 0;
    for (let i = 0; i < 3000; i++) if (limit.take(1, 1000 + (330 * i) / 3000)) taken++;
    expect(taken).toBe(1024);
  });

  test('over any second of a steady stream it lets pass about its rate', () => {
    const limit = new RateLimit(100, 1e9);
    const times: number[] = [];
    for (let now = 0; now < 10_000; now++) if (limit.take(1, now)) times.push(now);
    expect(times.length).toBeGreaterThan(990);
    for (const start of times)
      expect(times.filter((at) => at >= start && at < start + 1000).length).toBeLessThan(150);
  });

  test('all together get no more than the total', () => {
    const limit = new RateLimit(10, 100);
    let taken = 0;
    for (let source = 0; source < 50; source++)
      for (let i = 0; i < 10; i++) if (limit.take(source, 0)) taken++;
    expect(taken).toBe(100);
  });

  test.each([
    [true, PROTOCOL.requestsPerSource],
    [false, 2 * PROTOCOL.requestsPerSource],
  ])('of a node with rateLimit %s', (rateLimit, answers) => {
    const lab = new Lab({ rateLimit });
    const ping = encodeMessage({ type: 'ping', tid: 1, id: PROBE_ID });
    for (let i = 0; i < 2 * PROTOCOL.requestsPerSource; i++) lab.receive(ping);
    expect(lab.take().filter(({ message }) => message.type === 'reply')).toHaveLength(answers);
  });

  test('remembers a bounded number of sources', () => {
    const limit = new RateLimit(1000, 1e9);
    for (let source = 0; source < LIMITS.rateSources + 500; source++) limit.take(source, 0);
    expect(limit).toMatchObject({ sources: LIMITS.rateSources, forgotten: 500 });
    // Those that have been quiet are forgotten all at once, and are not missed.
    limit.take(-1, 5000);
    expect(limit).toMatchObject({ sources: 1, forgotten: 500 });
  });
});

describe('storage', () => {
  const limits: StorageLimits = {
    ...DEFAULT_STORAGE_LIMITS,
    bytes: 64_000,
    bytesPerKey: 8000,
    values: 100,
    valuesPerKey: 20,
    ownValues: 3,
  };
  const setUp = (some: Partial<StorageLimits> = {}) => {
    const expired: bigint[] = [];
    const scheduler = new Scheduler();
    const storage = new Storage(scheduler, { ...limits, ...some }, (change, { value }) => {
      if (change === 'expired') expired.push(value.id);
    });
    return { storage, scheduler, expired };
  };

  test('over its bytes it takes from the biggest source what expires next', () => {
    const { storage, expired } = setUp();
    storage.put(newId(), plainValue(1n, new Uint8Array(500)), 7, 50, 0);
    for (let i = 0; i < 40; i++)
      storage.put(newId(), plainValue(BigInt(100 + i), new Uint8Array(2000)), 8, 1000 - i, 0);
    const stats = storage.stats();
    expect(stats.bytes).toBeLessThanOrEqual(limits.bytes);
    expect(stats.evicted).toBe(expired.length);
    expect(expired).not.toContain(1n);
    // The later ones expire sooner.
    expect(Math.min(...expired.map(Number))).toBeGreaterThan(110);
  });

  test('over a key’s bytes and over a key’s values only that key loses', () => {
    const { storage } = setUp();
    const [key, other] = [newId(), newId()];
    storage.put(other, plainValue(1n, new Uint8Array(900)), 8, 1, 0);
    for (let i = 0; i < 30; i++)
      storage.put(key, plainValue(BigInt(i), new Uint8Array(900)), 8, 100 + i, 0);
    expect(storage.get(key, undefined).length).toBe(8);
    for (let i = 0; i < 60; i++) storage.put(key, plainValue(BigInt(i), ''), 8, 100 + i, 0);
    expect(storage.get(key, undefined).length).toBe(limits.valuesPerKey);
    expect(storage.get(other, undefined).length).toBe(1);
  });

  test('one source cannot push out what others keep, neither with large values nor with many small ones', () => {
    const { storage } = setUp();
    const few = newId();
    for (let i = 0; i < 10; i++)
      storage.put(few, plainValue(BigInt(i), new Uint8Array(300)), 7, 10, 0);
    for (let i = 0; i < 500; i++) storage.put(newId(), plainValue(1n, ''), 8, 1000, 0);
    for (let i = 0; i < 500; i++)
      storage.put(newId(), plainValue(1n, new Uint8Array(6000)), 9, 1000, 0);
    for (let i = 0; i < 500; i++)
      storage.put(
        few,
        plainValue(BigInt(100 + i), new Uint8Array(i % 2 === 0 ? 0 : 3000)),
        8,
        1000,
        0,
      );
    const kept = storage.get(few, undefined).filter(({ source }) => source === 7);
    expect(kept.length).toBe(10);
    // Alone it may use what nobody else needs.
    const { storage: idle } = setUp();
    for (let i = 0; i < 500; i++) idle.put(newId(), plainValue(1n, new Uint8Array(600)), 8, 100, 0);
    expect(idle.stats().bytes).toBeGreaterThan(limits.bytes * 0.9);
  });

  test('over its number of values it makes room', () => {
    const { storage } = setUp();
    for (let i = 0; i < 500; i++) storage.put(newId(), plainValue(1n, 'x'), i, 100, 0);
    expect(storage.stats().values).toBeLessThanOrEqual(limits.values);
  });

  test('our own values are not counted, not taken, and bounded', () => {
    const { storage } = setUp();
    const own = newId();
    expect(storage.put(own, plainValue(1n, new Uint8Array(7000)), undefined, 1, 0)).toBe(true);
    for (let i = 0; i < 500; i++)
      storage.put(newId(), plainValue(1n, new Uint8Array(2000)), i, 100, 0);
    expect(storage.get(own, undefined).length).toBe(1);
    for (let i = 0; i < 5; i++) storage.put(newId(), plainValue(1n, 'x'), undefined, 100, 0);
    expect(storage.stats()).toMatchObject({ ownValues: 3, refused: 3 });
  });

  test('a value over the key’s share is refused', () => {
    const { storage } = setUp();
    expect(storage.put(newId(), plainValue(1n, new Uint8Array(9000)), 1, 100, 0)).toBe(false);
    expect(storage.stats()).toMatchObject({ values: 0, refused: 1 });
  });

  test('expires on time, unless refreshed', () => {
    const { storage, scheduler, expired } = setUp();
    const key = newId();
    storage.put(key, plainValue(1n, 'a'), 1, 1000, 0);
    storage.put(key, plainValue(2n, 'b'), 1, 1000, 0);
    const second = storage.find(key, 2n);
    if (second !== undefined) storage.refresh(second, 0, 500);
    scheduler.runDue(1000);
    expect(expired).toEqual([1n]);
    scheduler.runDue(600_499);
    expect(storage.has(key)).toBe(true);
    scheduler.runDue(600_500);
    expect(storage.stats()).toMatchObject({ keys: 0, values: 0, bytes: 0, sources: 0 });
    expect(scheduler.size).toBe(0);
  });
});

describe('listeners of others', () => {
  test('are bounded for each key, each source and in all; the longest not renewed go', () => {
    const listeners = new RemoteListeners();
    const key = hash(1);
    const first = newNode(1);
    listeners.renew(key, first, 1, undefined, false, 0);
    for (let i = 0; i < LIMITS.listenersPerKey; i++)
      listeners.renew(key, newNode(2 + i), 1, undefined, false, 1);
    expect([...listeners.of(key)].length).toBe(LIMITS.listenersPerKey);
    expect([...listeners.of(key)].some(({ node }) => node === first)).toBe(false);
    expect(first.uses).toBe(0);

    const greedy = newNode(1);
    for (let sid = 0; sid < LIMITS.listenersPerSource + 10; sid++)
      listeners.renew(newId(), greedy, sid, undefined, false, 2);
    expect(greedy.uses).toBe(LIMITS.listenersPerSource);

    for (let i = 0; i < LIMITS.listeners + 10; i++)
      listeners.renew(newId(), newNode(i), 1, undefined, false, 3);
    expect(listeners.size).toBe(LIMITS.listeners);
    expect(listeners.evicted).toBeGreaterThan(LIMITS.listenersPerSource);
  });

  test('are forgotten 10 minutes after their last listen', () => {
    const listeners = new RemoteListeners();
    listeners.renew(hash(1), newNode(1), 1, undefined, false, 0);
    const node = newNode(2);
    listeners.renew(hash(1), node, 1, undefined, false, 0);
    expect(listeners.renew(hash(1), node, 1, undefined, false, 300_000)).toBe(false);
    listeners.sweep(PROTOCOL.listenerKeptMs);
    expect(listeners.size).toBe(1);
    listeners.sweep(PROTOCOL.listenerKeptMs + 300_000);
    expect(listeners.size).toBe(0);
    expect(listeners.has(hash(1))).toBe(false);
  });
});

describe('half-received messages', () => {
  const part = (tid: number, index: number, offset: number, length: number): PartMessage => ({
    type: 'part',
    tid,
    pieces: [{ index, offset, data: new Uint8Array(length) }],
  });
  const setUp = () => {
    const scheduler = new Scheduler();
    const whole: string[] = [];
    const assembler = new PartAssembler<string>(scheduler, (header, values) => {
      whole.push(`${header} ${values.map((value) => value.length)}`);
    });
    return { scheduler, assembler, whole };
  };

  test('are bounded in number, for each source and in all', () => {
    const { assembler } = setUp();
    for (let tid = 0; tid < LIMITS.assembliesPerSource + 50; tid++)
      assembler.start('put', tid, [1000], 100, addressOf(1), 0);
    expect(assembler.size).toBe(LIMITS.assembliesPerSource);
    for (let i = 0; i < LIMITS.assemblies + 50; i++)
      assembler.start('put', 1, [1000], 100, addressOf(2 + i), 0);
    expect(assembler.size).toBe(LIMITS.assemblies);
    expect(assembler.evicted).toBeGreaterThan(100);
  });

  test('are bounded in bytes, announced sizes and small parts included', () => {
    const { assembler } = setUp();
    for (let i = 0; i < 300; i++) {
      assembler.start('put', 1, new Array(10_000).fill(60_000), 30_000, addressOf(i), 0);
      for (let offset = 0; offset < 60_000; offset += 1280)
        assembler.part(part(1, 0, offset, 1280), addressOf(i), 0);
    }
    expect(assembler.bytes).toBeLessThanOrEqual(LIMITS.assemblyBytes);
    const { assembler: other } = setUp();
    other.start('put', 1, [65_000], 100, addressOf(1), 0);
    for (let offset = 0; offset < 65_000; offset++)
      other.part(part(1, 0, offset, 1), addressOf(1), 0);
    expect(other.bytes).toBeLessThan(LIMITS.partsPerValue * 200);
  });

  test('take no more from one message than its share', () => {
    const { assembler, whole } = setUp();
    assembler.start('put', 1, new Array(40).fill(60_000), 100, addressOf(1), 0);
    const taken = Math.floor(LIMITS.messageBytes / 60_000);
    for (let index = 0; index < 40; index++) {
      for (let offset = 0; offset < 60_000; offset += 6000)
        assembler.part(part(1, index, offset, 6000), addressOf(1), 0);
    }
    expect(whole).toEqual([`put ${new Array(taken).fill(60_000)}`]);
  });

  test('parts may come before their header, in any order, and twice', () => {
    const { assembler, whole } = setUp();
    for (const offset of [2560, 0, 0]) assembler.part(part(5, 0, offset, 1280), addressOf(1), 0);
    assembler.start('put', 5, [3840], 100, addressOf(1), 0);
    assembler.part(part(5, 0, 2560, 1280), addressOf(1), 0);
    expect(whole).toEqual([]);
    assembler.part(part(5, 0, 1280, 1280), addressOf(1), 0);
    expect(whole).toEqual(['put 3840']);
    expect(assembler).toMatchObject({ size: 0, bytes: 0 });
  });

  test('are given up 3 s after the last part, 10 s after the first', () => {
    const { assembler, scheduler, whole } = setUp();
    assembler.start('a', 1, [5000], 100, addressOf(1), 0);
    scheduler.runDue(2999);
    expect(assembler.size).toBe(1);
    scheduler.runDue(3000);
    expect(assembler.size).toBe(0);
    assembler.start('b', 2, [50_000], 100, addressOf(1), 10_000);
    for (let i = 1; i < 6; i++) {
      assembler.part(part(2, 0, i * 1000, 100), addressOf(1), 10_000 + 1900 * i);
      scheduler.runDue(10_000 + 1900 * i);
    }
    expect(assembler.size).toBe(1);
    scheduler.runDue(20_000);
    expect(assembler).toMatchObject({ size: 0, bytes: 0, abandoned: 2 });
    expect(whole).toEqual([]);
  });
});

describe('parts to be sent', () => {
  const setUp = () => {
    const scheduler = new Scheduler();
    const sender = new PartSender(scheduler, {});
    const sent: number[] = [];
    const drain = () => {
      for (let part = sender.poll(); part !== undefined; part = sender.poll())
        sent.push(part.to.ip[3] as number);
    };
    const send = (to: number, bytes: number) => {
      sender.send(addressOf(to), 1, [new Uint8Array(bytes)], 0);
      drain();
    };
    const pauses = (count: number) => {
      for (let i = 0; i < count; i++) {
        scheduler.runDue(scheduler.next());
        drain();
      }
    };
    return { scheduler, sent, sender, send, pauses };
  };

  test('wait in a bounded queue, a burst at a time', () => {
    const { scheduler, sent, sender, send, pauses } = setUp();
    const askers = 20;
    const each = Math.floor(LIMITS.partBytesPerDestination / 60_000);
    for (let i = 0; i < 200; i++) send(i % askers, 60_000);
    expect(sent.length).toBe(LIMITS.partBurstTotal);
    expect(sender.queuedBytes).toBeGreaterThan(LIMITS.partQueueBytes - 60_000);
    expect(sender.queuedBytes).toBeLessThanOrEqual(LIMITS.partQueueBytes);
    const taken = 200 - sender.dropped;
    expect(taken).toBeLessThan(askers * each);
    pauses(4000);
    expect(sender).toMatchObject({ queuedBytes: 0, destinations: 0 });
    expect(sent.length).toBe(taken * Math.ceil(60_000 / 1280));
    expect(scheduler.size).toBe(0);
  });

  test('of one asker take no more than its share of the queue', () => {
    const { sender, send } = setUp();
    for (let i = 0; i < 100; i++) send(1, 60_000);
    expect(sender.queuedBytes).toBeLessThanOrEqual(LIMITS.partBytesPerDestination);
    const dropped = sender.dropped;
    send(2, 60_000);
    expect(sender.dropped).toBe(dropped);
  });

  test('of one asker do not make another wait', () => {
    const { sent, send } = setUp();
    send(1, 60_000);
    send(2, 2000);
    expect(sent).toEqual([...new Array(LIMITS.partBurst).fill(1), 2, 2]);
  });

  test('go to all askers in turn when they are many', () => {
    const { sent, send, pauses } = setUp();
    const askers = 100;
    for (let i = 0; i < askers; i++) send(i, 30_000);
    expect(sent.length).toBe(LIMITS.partBurstTotal);
    pauses(Math.ceil((askers * LIMITS.partBurst) / LIMITS.partBurstTotal) - 1);
    expect(new Set(sent).size).toBe(askers);
  });

  test('go to a bounded number of addresses at a time', () => {
    const { sender, send } = setUp();
    for (let i = 0; i < LIMITS.partDestinations + 10; i++) send(i, 2000);
    expect(sender.destinations).toBe(LIMITS.partDestinations);
    expect(sender.dropped).toBe(10);
  });
});
