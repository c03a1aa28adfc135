import { describe, expect, test } from 'vitest';
import { EventQueue } from '../../agent/dht/events.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { LIMITS } from '../../agent/dht/limits.ts';
import { ListenCache, nothingHeard } from '../../agent/dht/listen-cache.ts';
import { Listens } from '../../agent/dht/listens.ts';
import type { Message } from '../../agent/dht/message.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { Node } from '../../agent/dht/node.ts';
import { ListenOperation } from '../../agent/dht/operation.ts';
import { Rpc } from '../../agent/dht/rpc.ts';
import { Scheduler } from '../../agent/dht/scheduler.ts';
import type { PlainValue } from '../../agent/dht/value.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { seededRandom } from '../sim/seeded.ts';
import { plainValue } from '../sim/world.ts';
import { addressOf, hash, Lab, PROBE_ID } from './lab.ts';
import { connected, converse, KEY, of, peer, polite, TOKEN } from './peers.ts';

/** Whatever grows with what our own program asks for, and with what others say to that, pushed past its limit. */

const random = seededRandom(19);
const newId = () => new InfoHash(random.bytes(20));

describe('what a listen remembers', () => {
  test('is a bounded number of values; the first heard go', () => {
    const heard = nothingHeard();
    const cache = new ListenCache(() => true, heard);
    for (let i = 0; i < LIMITS.valuesPerOperation + 100; i++)
      cache.add(plainValue(BigInt(i + 1), 'x'), 'self', 0);
    expect(cache.size).toBe(LIMITS.valuesPerOperation);
    expect(heard.evicted).toBe(100);
    expect([...cache.values()][0]?.id).toBe(101n);
    cache.clear();
    expect(heard.bytes).toBe(0);
  });

  test('is a bounded number of contents under one id', () => {
    const cache = new ListenCache(() => true, nothingHeard());
    for (let i = 0; i < 50; i++) cache.add(plainValue(1n, `forged ${i}`), 'self', 0);
    expect(cache.size).toBe(LIMITS.variantsPerValue);
  });

  test('is a bounded number of nodes that have a value; whose word ends first goes', () => {
    const heard = nothingHeard();
    const cache = new ListenCache(() => true, heard);
    const value = plainValue(1n, 'x');
    for (let i = 0; i < LIMITS.holdersPerValue + 5; i++)
      cache.add(value, new Node(newId(), addressOf(i)), i);
    expect(heard.holdersForgotten).toBe(5);
    // The last one's word still counts.
    expect(cache.sweep(600_000 + LIMITS.holdersPerValue + 3)).toEqual([]);
    expect(cache.sweep(600_000 + LIMITS.holdersPerValue + 4)).toEqual([value]);
  });

  test('a copy with another seq beside the same signature hides nothing', () => {
    const signed = (seq: number): PlainValue => ({
      ...(plainValue(1n, 'x') as PlainValue),
      signed: { owner: Uint8Array.of(1), seq, signature: Uint8Array.of(2) },
    });
    const cache = new ListenCache((value) => value.signed?.seq === 3, nothingHeard());
    expect(cache.add(signed(2), 'self', 0)).toBe(true);
    expect(cache.add(signed(3), 'self', 0)).toBe(true);
  });

  test('is a bounded number of bytes in all listens together, whatever storing nodes push', () => {
    const one = peer(1);
    const lab = connected([one]);
    const keys = [hash(0x41), hash(0x42)];
    for (const key of keys) lab.turn((dht, now) => dht.listen(key, undefined, now));
    const sids = of(converse(lab, [one], 100), 'listen').flatMap(({ message }) =>
      message.type === 'listen' ? [message.sid] : [],
    );
    for (let i = 0; i < 400; i++) {
      const values = [packValue(plainValue(BigInt(i + 1), new Uint8Array(40_000)))];
      const sid = sids[i % 8 === 0 ? 0 : 1] as number;
      const update = { type: 'update', style: 1, tid: lab.newTid(), id: one.id, sid, values };
      lab.receive(encodeMessage(update as Message), one.address);
    }
    const stats = lab.dht.stats();
    expect(stats.heardBytes).toBeLessThanOrEqual(LIMITS.heardBytes);
    expect(stats.heardForgotten).toBeGreaterThan(150);
    expect(lab.events.filter(({ type }) => type === 'listen.value').length).toBe(400);
    // The listen with little kept what it had.
    lab.events.length = 0;
    lab.turn((dht, now) => dht.listen(keys[0] as InfoHash, undefined, now));
    expect(lab.events.filter(({ type }) => type === 'listen.value').length).toBe(50);
  });
});

test('a get tells of a bounded number of values, and of contents under one id', () => {
  const many = Array.from({ length: 1500 }, (_, i) => packValue(plainValue(BigInt(i + 1), 'x')));
  const forged = Array.from({ length: 50 }, (_, i) => packValue(plainValue(9999n, `forged ${i}`)));
  const flooding = (first: number) => (message: Message) =>
    message.type === 'get'
      ? { token: TOKEN, values: [...forged, ...renumbered(many, first)] }
      : polite(message);
  const peers = [1, 2, 3, 4].map((number) => peer(number, flooding(2000 * number)));
  const lab = connected(peers);
  lab.turn((dht, now) => dht.get(KEY, undefined, now));
  converse(lab, peers, 5000);
  const values = lab.events.filter(({ type }) => type === 'get.value');
  expect(values.length).toBe(LIMITS.valuesPerOperation);
  const sameId = values.filter((event) => event.type === 'get.value' && event.value.id === 9999n);
  expect(sameId.length).toBe(LIMITS.variantsPerValue);
});

/** The packed values once more, with ids from `first` on. */
function renumbered(values: readonly Uint8Array[], first: number): Uint8Array[] {
  return values.map((_, i) => packValue(plainValue(BigInt(first + i), 'x')));
}

test('events that nobody fetches are dropped beyond a bound, but never the end of an operation', () => {
  const events = new EventQueue();
  for (let i = 0; i < LIMITS.events + 10; i++)
    events.push({ type: 'get.value', operation: 1, value: plainValue(1n, 'x') });
  events.push({ type: 'get.done', operation: 1 });
  expect(events).toMatchObject({ size: LIMITS.events + 1, dropped: 10 });
  let last = events.shift();
  for (let event = events.shift(); event !== undefined; event = events.shift()) last = event;
  expect(last).toEqual({ type: 'get.done', operation: 1 });
});

test('datagrams that nobody fetches are dropped beyond a bound', () => {
  const { dht, now } = new Lab({ rateLimit: false });
  const ping = encodeMessage({ type: 'ping', tid: 1, id: PROBE_ID });
  for (let i = 0; i < LIMITS.outputs + 100; i++) dht.receive(ping, addressOf(i % 5000), now);
  const { outputs, outputsDropped } = dht.stats().rpc;
  expect(outputs).toBe(LIMITS.outputs);
  expect(outputsDropped).toBeGreaterThanOrEqual(100);
});

test('a query that would be kept with a listener is no longer than what it may say', () => {
  const lab = new Lab();
  const token = lab.token();
  const listen = (userType: string) =>
    lab.ask({
      type: 'listen',
      style: 1,
      key: KEY,
      sid: 1,
      token,
      query: { select: [], where: [{ field: 'userType', value: userType }] },
    });
  expect(listen('x'.repeat(400)).length).toBe(1);
  expect(listen('x'.repeat(LIMITS.queryBytes)).length).toBe(0);
  expect(lab.dht.stats().rpc.malformed).toBe(1);
});

describe('requests', () => {
  const setUp = () =>
    new Rpc({
      self: hash(0xee),
      network: 0,
      client: false,
      families: [4],
      random,
      scheduler: new Scheduler(),
      handlers: { onQuery() {}, onHeard() {}, onListed() {}, onNodeExpired() {} },
    });
  const nodes = Array.from({ length: 100 }, (_, i) => new Node(newId(), addressOf(i)));

  test('under way are bounded in number: one more is not begun, and that is told', () => {
    const rpc = setUp();
    for (let i = 0; i < LIMITS.requests; i++)
      expect(rpc.request(nodes[i % 100] as Node, { type: 'ping' }, {}, 0)).toBeDefined();
    expect(rpc.request(nodes[0] as Node, { type: 'ping' }, {}, 0)).toBeUndefined();
    expect(rpc.stats()).toMatchObject({ pending: LIMITS.requests, requestsRefused: 1 });
    rpc.expire(nodes[0] as Node, 0);
    expect(rpc.request(nodes[1] as Node, { type: 'ping' }, {}, 0)).toBeDefined();
  });

  test('under way are bounded in the bytes that follow them in parts', () => {
    const rpc = setUp();
    const values = [new Uint8Array(60_000)];
    const query = { type: 'put', key: KEY, token: TOKEN } as const;
    for (let i = 0; i < 200; i++) rpc.request(nodes[i % 100] as Node, query, {}, 0, values);
    const fitting = Math.floor(LIMITS.requestBytes / 60_000);
    expect(rpc.stats()).toMatchObject({
      requestBytes: 60_000 * fitting,
      requestsRefused: 200 - fitting,
    });
  });

  test('go to nodes that are not blacklisted, of which the last 1024 are known', () => {
    const rpc = setUp();
    for (let i = 0; i < LIMITS.blacklist + 50; i++)
      rpc.blacklist(new Node(newId(), addressOf(i)), 0);
    expect(rpc.stats()).toMatchObject({ blacklist: LIMITS.blacklist, blacklistForgotten: 50 });
    const ping = encodeMessage({ type: 'ping', tid: 1, id: hash(5) });
    rpc.receive(ping, addressOf(50), 0);
    expect(rpc.stats().blacklisted).toBe(1);
    rpc.receive(ping, addressOf(49), 0);
    expect(rpc.stats().blacklisted).toBe(1);
  });
});

describe('our own listens', () => {
  test('that nobody wants any more are bounded; the one unwanted for longest ends first', () => {
    const lab = new Lab();
    for (let i = 0; i < LIMITS.lingeringListens + 20; i++)
      lab.turn((dht, now) => dht.cancel(dht.listen(newId(), undefined, now), now));
    expect(lab.dht.stats()).toMatchObject({
      listens: 0,
      lingeringListens: LIMITS.lingeringListens,
    });
  });

  test('have a bounded number of sockets', () => {
    const listens = new Listens({
      scheduler: new Scheduler(),
      random,
      verify: () => true,
      stored: () => [],
      start: () => {},
      stop: () => {},
      report: () => {},
    });
    const listen = new ListenOperation(KEY, undefined, new ListenCache(() => true, nothingHeard()));
    const sids = Array.from({ length: LIMITS.sockets + 10 }, (_, i) =>
      listens.openSocket(listen, new Node(hash(1), addressOf(i % 4))),
    );
    expect(new Set(sids).size).toBe(LIMITS.sockets + 1);
    expect(listens.stats()).toMatchObject({ sockets: LIMITS.sockets, socketsRefused: 10 });
    listens.closeSocket(sids[0] as number);
    expect(listens.openSocket(listen, new Node(hash(1), addressOf(1)))).toBeDefined();
  });
});

describe('the engine', () => {
  test('refuses requests over the bound, and tells at once', () => {
    const lab = new Lab();
    lab.turn((dht, now) =>
      dht.bootstrap(
        Array.from({ length: 200 }, (_, i) => addressOf(i)),
        now,
      ),
    );
    expect(lab.take().length).toBe(LIMITS.bootstrapAddresses);
  });

  test('has a bounded number of searches: idle ones make room, busy ones do not', () => {
    const lab = new Lab();
    lab.turn((dht, now) => dht.bootstrap([addressOf(1)], now));
    for (let i = 0; i < LIMITS.searches + 20; i++)
      lab.turn((dht, now) => dht.get(newId(), undefined, now));
    expect(lab.dht.stats()).toMatchObject({ searches4: LIMITS.searches, searchesRefused: 20 });
    expect(lab.events.filter(({ type }) => type === 'get.done').length).toBe(20);
    lab.run(60_000);
    expect(lab.dht.stats().gets).toBe(0);
    lab.turn((dht, now) => dht.get(newId(), undefined, now));
    expect(lab.dht.stats()).toMatchObject({ searches4: LIMITS.searches, searchesRefused: 20 });
  });

  test('puts nothing that no node would take', () => {
    const lab = new Lab();
    lab.turn((dht, now) => dht.put(hash(1), plainValue(1n, new Uint8Array(65_537)), true, now));
    expect(lab.events).toContainEqual({ type: 'put.done', operation: 1, acknowledged: 0 });
    expect(lab.dht.stats().storage.values).toBe(0);
  });

  test('takes a bounded number of operations', () => {
    const lab = new Lab({ storage: { ownValues: 1e6 } });
    lab.turn((dht, now) => dht.bootstrap([addressOf(1)], now));
    for (let i = 0; i < LIMITS.operations + 5; i++)
      lab.turn((dht, now) => dht.put(hash(1), plainValue(BigInt(i + 1), 'x'), true, now));
    expect(lab.dht.stats()).toMatchObject({ puts: LIMITS.operations, operationsRefused: 5 });
    expect(lab.events.filter(({ type }) => type === 'put.done').length).toBe(5);
  });
});
