import { describe, expect, test } from 'vitest';
import { parseIp } from '../../agent/base/address.ts';
import { LIMITS, PROTOCOL } from '../../agent/dht/limits.ts';
import type { Message, Reply } from '../../agent/dht/message.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { ReportedAddresses } from '../../agent/dht/reported-addresses.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { plainValue, type SimNode, World } from '../sim/world.ts';
import { addressOf, hash, Lab } from './lab.ts';
import { connected, converse, gaps, KEY, of, type Peer, peer, polite, TOKEN } from './peers.ts';

/** What a node does about its line, and about nodes that go and come back. */

const ip = (text: string) => parseIp(text) ?? new Uint8Array();

describe('a client', () => {
  test('says so in every message, parts included, and answers all the same', () => {
    const one = peer(1);
    const lab = connected([one], { client: true });
    const big = plainValue(5n, new Uint8Array(2000));
    lab.turn((dht, now) => dht.put(KEY, big, false, now));
    lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    const messages = converse(lab, [one], 1000).map(({ message }) => message);
    const token = lab.token();
    const values = [packValue(plainValue(6n, 'x'))];
    messages.push(...lab.ask({ type: 'put', key: KEY, values, token }));
    messages.push(...lab.ask({ type: 'get', key: undefined }));
    // The plain query of a node that is known well.
    messages.push(...lab.ask({ type: 'ping' }, one.address, one.id));
    const kinds = new Set(messages.map(({ type }) => type));
    expect([...kinds].sort()).toEqual(['error', 'find', 'listen', 'part', 'put', 'reply']);
    for (const message of messages) expect(message.client, message.type).toBe(true);
    expect(lab.reply({ type: 'get', key: KEY }).values).toHaveLength(2);
  });

  test('gets, puts and listens, and nobody keeps it', () => {
    const world = new World({ seed: 101 });
    const nodes = world.addMany(9);
    const client = world.add({ client: true });
    client.bootstrap(nodes[0] as SimNode);
    world.run(20_000);
    const key = world.randomHash();
    const listen = client.listen(key);
    const put = client.put(key, plainValue(5n, 'from a client'));
    expect(world.runUntil(() => client.isDone(put), 5000)).toBe(true);
    expect(client.of(put).at(-1)).toMatchObject({ acknowledged: 8 });
    const other = nodes[3] as SimNode;
    other.put(key, plainValue(6n, 'to a client'));
    expect(world.runUntil(() => client.values(listen).length === 2, 5000)).toBe(true);
    for (const { dht } of nodes) expect(dht.state(world.now).peers4).toBe(8);
  });
});

describe('our public address', () => {
  test('is the one that most replies named, until the line changed', () => {
    const seen = (text: string) => (message: Message) => ({ ...polite(message), seenIp: ip(text) });
    const peers = [
      peer(1, seen('192.0.2.7')),
      peer(2, seen('192.0.2.7')),
      peer(3, seen('198.51.100.9')),
      peer(4, seen('2001:db8::1')), // not of the family it came by
    ];
    const lab = connected(peers);
    expect(lab.dht.publicAddress(4)).toEqual(ip('192.0.2.7'));
    expect(lab.dht.publicAddress(6)).toBeUndefined();
    expect(lab.dht.stats().rpc).toMatchObject({ reportedAddresses4: 2, reportedAddresses6: 0 });
    lab.turn((dht, now) => dht.connectivityChanged(4, now));
    expect(lab.dht.publicAddress(4)).toBeUndefined();
  });

  test('of many different ones 32 are kept, and lies do not push out what most say', () => {
    const reported = new ReportedAddresses(4);
    for (let i = 0; i < 3; i++) reported.add(ip('192.0.2.7'));
    for (let i = 0; i < 10 * LIMITS.reportedAddresses; i++)
      reported.add(Uint8Array.of(10, 0, i >> 8, i & 0xff));
    expect(reported.size).toBe(LIMITS.reportedAddresses);
    expect(reported.mostReported).toEqual(ip('192.0.2.7'));
    reported.add(new Uint8Array(3));
    reported.add(undefined);
    expect(reported.size).toBe(LIMITS.reportedAddresses);
  });
});

describe('a search whose nodes are all gone', () => {
  const listenAndPut = (lab: Lab) => {
    lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    return lab.turn((dht, now) => dht.put(KEY, plainValue(5n, 'x'), true, now));
  };

  test('ends gets and puts; listens and permanent puts go on with the next node', () => {
    const [gone, back] = [peer(1), peer(2)];
    const lab = connected([gone]);
    const permanent = listenAndPut(lab);
    converse(lab, [gone], 1000);
    const get = lab.turn((dht, now) => dht.get(KEY, undefined, now));
    const put = lab.turn((dht, now) => dht.put(KEY, plainValue(6n, 'y'), false, now));
    converse(lab, [], 12_000);
    expect(lab.events).toContainEqual({ type: 'get.done', operation: get });
    expect(lab.events).toContainEqual({ type: 'put.done', operation: put, acknowledged: 0 });
    expect(lab.events).toContainEqual({ type: 'put.done', operation: permanent, acknowledged: 1 });
    expect(lab.dht.stats()).toMatchObject({ gets: 0, puts: 1, listens: 1, state: 'connecting' });

    lab.receive(encodeMessage({ type: 'ping', tid: 1, id: back.id }), back.address);
    const sent = converse(lab, [back], 500);
    const puts = of(sent, 'put', back).map(({ message }) => message);
    expect(puts).toMatchObject([{ values: [packValue(plainValue(5n, 'x'))] }]);
    expect(of(sent, 'listen', back)).toHaveLength(1);
  });

  test('gives every node one more chance, and then leaves it to the bootstrap', () => {
    const [gone, other] = [peer(1), peer(2)];
    const lab = connected([gone, other]);
    listenAndPut(lab);
    converse(lab, [gone, other], 100);
    lab.turn((dht, now) => dht.bootstrap([other.address], now));
    const sent = converse(lab, [], 3_600_000);
    const tries = sent.filter(({ to, at }) => to.ip[3] === 1 && at > lab.now - 3_590_000);
    expect(tries.length).toBeGreaterThanOrEqual(PROTOCOL.requestAttempts);
    expect(tries.length).toBeLessThanOrEqual(4 * PROTOCOL.requestAttempts);
    expect(converse(lab, [other], 301_000).length).toBeGreaterThan(0);
    expect(lab.dht.state(lab.now).state).toBe('connected');
  });

  test('does not end at made-up ids around the key while a node behind them answers', () => {
    const value = plainValue(5n, 'found');
    const fakes = Array.from({ length: PROTOCOL.badNodesInRow + 5 }, (_, i) => {
      const id = KEY.bytes.slice();
      id[19] = i;
      return { id, number: 100 + i };
    });
    const nodes4 = new Uint8Array(8 * 26);
    let next = 0;
    const liar = peer(0x70, (message) => {
      if (message.type !== 'find' && message.type !== 'get') return {};
      for (let i = 0; i < 8; i++, next++) {
        const { id, number } = fakes[next % fakes.length] as (typeof fakes)[number];
        nodes4.set(id, i * 26);
        nodes4.set(addressOf(number).ip, i * 26 + 20);
        nodes4.set([4222 >> 8, 4222 & 0xff], i * 26 + 24);
      }
      return { token: TOKEN, nodes4: nodes4.slice() };
    });
    const holder = peer(1, (message) =>
      message.type === 'get' ? { token: TOKEN, values: [packValue(value)] } : polite(message),
    );
    const lab = connected([liar, holder]);
    lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    const get = lab.turn((dht, now) => dht.get(KEY, undefined, now));
    const sent = converse(lab, [liar, holder], 60_000);
    expect(lab.events).toContainEqual({ type: 'get.value', operation: get, value });
    expect(lab.events).toContainEqual({ type: 'get.done', operation: get });
    const listens = of(sent, 'listen', holder);
    expect(listens.length).toBeGreaterThanOrEqual(3);
    expect(
      new Set(listens.map(({ message }) => message.type === 'listen' && message.sid)).size,
    ).toBe(1);
  });
});

test('a node with a stable address renews its listens every 290 s', () => {
  const one = peer(1);
  const lab = connected([one], { publicStable: true });
  lab.turn((dht, now) => dht.listen(KEY, undefined, now));
  const listens = of(converse(lab, [one], 900_000), 'listen');
  expect(gaps(listens).map((gap) => Math.round(gap / 1000))).toEqual([290, 290, 290]);
});

test('a node that forgot its tokens refuses many requests at once, and that is one failure', () => {
  let valid = TOKEN;
  const refusal = { error: 401 } as Partial<Reply>;
  const restarted: Peer = peer(1, (message) => {
    if (message.type === 'find' || message.type === 'get') return { token: valid };
    const { token } = message as { token?: Uint8Array };
    return message.type === 'ping' || token?.[0] === valid[0] ? {} : refusal;
  });
  const lab = connected([restarted]);
  const keys = Array.from({ length: 8 }, (_, i) => hash(0x40 + i));
  for (const key of keys) lab.turn((dht, now) => dht.listen(key, undefined, now));
  converse(lab, [restarted], 1000);
  valid = Uint8Array.of(9, 9, 9, 9);
  const sent = converse(lab, [restarted], 25_000);
  expect(lab.dht.state(lab.now).peers4).toBe(1);
  const good = of(sent, 'listen').filter(
    ({ message }) => message.type === 'listen' && message.token?.[0] === 9,
  );
  expect(good).toHaveLength(keys.length);
  expect(lab.dht.stats().rpc.requestsExpired).toBe(0);
});

test('maintenance of a node with both families asks for both', () => {
  const lab = new Lab({ families: [4, 6] });
  const one = peer(1);
  lab.turn((dht, now) => dht.bootstrap([one.address], now));
  const finds = of(converse(lab, [one], 10_000), 'find');
  const wants = finds.map(({ message }) => (message.type === 'find' ? message.want : undefined));
  expect(wants).toContainEqual([2, 10]);
  // Searches send none: the first is the one for our own neighbourhood.
  expect(wants).toContainEqual(undefined);
});
