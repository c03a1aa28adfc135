import { describe, expect, test } from 'vitest';
import { toHex } from '../../agent/base/bytes.ts';
import { compactNode } from '../../agent/dht/addresses.ts';
import { LIMITS, PROTOCOL } from '../../agent/dht/limits.ts';
import type { Message, Reply } from '../../agent/dht/message.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { plainValue } from '../sim/world.ts';
import { addressOf, hash, Lab, PROBE, PROBE_ID } from './lab.ts';
import { connected, converse, gaps, KEY, of, type Peer, peer, polite, TOKEN } from './peers.ts';

describe('a request', () => {
  test('is sent three times with the same bytes, after 1 and then 2 seconds and a bit', () => {
    const lab = new Lab();
    lab.turn((dht, now) => dht.bootstrap([addressOf(1)], now));
    const sent = converse(lab, [], 9_900);
    expect(sent.length).toBe(3);
    expect(new Set(sent.map(({ packet }) => toHex(packet))).size).toBe(1);
    const [first = 0, second = 0] = gaps(sent);
    expect(first).toBeGreaterThanOrEqual(1000);
    expect(first).toBeLessThanOrEqual(1250);
    expect(second).toBeGreaterThanOrEqual(2000);
    expect(second).toBeLessThanOrEqual(2750);
  });

  test('is answered only by a reply with its tid from its address', () => {
    const lab = new Lab();
    lab.turn((dht, now) => dht.bootstrap([addressOf(1)], now));
    const tid = lab.take()[0]?.message.tid ?? 0;
    const pong = (t: number) => encodeMessage({ type: 'reply', tid: t, id: hash(1) });
    lab.receive(pong(tid + 1), addressOf(1));
    lab.receive(pong(tid), addressOf(2));
    expect(lab.dht.state(lab.now).state).toBe('connecting');
    lab.receive(pong(tid), addressOf(1));
    expect(lab.dht.state(lab.now)).toEqual({ state: 'connected', peers4: 1, peers6: 0 });
    expect(lab.dht.stats().rpc.unasked).toBe(2);
  });

  test('to a node that moved is answered from its new address', () => {
    const moved = peer(1);
    const lab = connected([moved]);
    lab.turn((dht, now) => dht.get(KEY, undefined, now));
    const [{ message } = { message: undefined }] = of(lab.take(), 'get');
    const elsewhere = { ...moved.address, port: 5000 };
    lab.receive(
      encodeMessage({ type: 'reply', tid: message?.tid ?? 0, id: moved.id, token: TOKEN }),
      elsewhere,
    );
    expect(lab.events.some(({ type }) => type === 'get.done')).toBe(true);
  });
});

describe('a ping to an address', () => {
  test('tells who is there and how long the answer took', () => {
    const lab = new Lab();
    const operation = lab.turn((dht, now) => dht.ping(addressOf(1), now));
    lab.run(30);
    converse(lab, [peer(1)], 50);
    const answer = { id: hash(1), roundTripMs: 30 };
    expect(lab.events).toContainEqual({ type: 'ping.done', operation, answer });
    expect(lab.dht.nodes(lab.now)).toEqual([
      { id: hash(1), address: addressOf(1), state: 'good', heardMsAgo: 50, bucket: 0 },
    ]);
  });

  test('where nobody answers is given up', () => {
    const lab = new Lab();
    const operation = lab.turn((dht, now) => dht.ping(addressOf(1), now));
    lab.run(10_000);
    expect(lab.events).toContainEqual({ type: 'ping.done', operation });
    expect(lab.events.filter(({ type }) => type === 'ping.done')).toHaveLength(1);
  });
});

describe('a known id at another address', () => {
  test('does not move a good node, which is asked whether it is still there', () => {
    const good = peer(1);
    const lab = connected([good]);
    const forged = { ...PROBE };
    expect(lab.ask({ type: 'ping' }, forged, good.id).length).toBe(1);
    lab.ask({ type: 'ping' }, forged, good.id);
    const list = lab.reply({ type: 'find', target: good.id }, addressOf(9), hash(9)).nodes4;
    expect(toHex(list ?? new Uint8Array())).toBe(toHex(compactNode(good.id, good.address)));
    expect(lab.dht.state(lab.now).peers4).toBe(1);
  });

  test('moves one that does not answer any more', () => {
    const gone = peer(1);
    const lab = connected([gone]);
    lab.ask({ type: 'ping' }, PROBE, gone.id);
    converse(lab, [], 10_000);
    expect(lab.dht.state(lab.now).peers4).toBe(0);
    lab.receive(encodeMessage({ type: 'ping', tid: 5, id: gone.id }), PROBE);
    converse(lab, [{ ...gone, address: PROBE }], 200);
    const list = lab.reply({ type: 'find', target: gone.id }, addressOf(9), hash(9)).nodes4;
    expect(toHex(list ?? new Uint8Array())).toBe(toHex(compactNode(gone.id, PROBE)));
  });
});

describe('a search', () => {
  test('tells of a value as soon as the first node gives it', () => {
    const value = plainValue(5n, 'hello');
    const holder = peer(7, (message) =>
      message.type === 'get' ? { token: TOKEN, values: [packValue(value)] } : polite(message),
    );
    const silent = Array.from({ length: 6 }, (_, i) => peer(1 + i));
    const lab = connected([holder, ...silent]);
    const operation = lab.turn((dht, now) => dht.get(KEY, undefined, now));
    converse(lab, [holder], 50);
    expect(lab.events).toContainEqual({ type: 'get.value', operation, value });
    expect(lab.events.some(({ type }) => type === 'get.done')).toBe(false);
    converse(lab, [holder], 3000);
    expect(lab.events.filter(({ type }) => type === 'get.value').length).toBe(1);
    expect(lab.events.filter(({ type }) => type === 'get.done').length).toBe(1);
  });

  test('asks 4 at a time, and more only when these are late', () => {
    const peers = Array.from({ length: 8 }, (_, i) => peer(1 + i));
    const lab = connected(peers);
    lab.turn((dht, now) => dht.get(KEY, undefined, now));
    const start = lab.now;
    const sent = converse(lab, [], 900);
    const first = new Map(of(sent, 'get').map(({ to, at }) => [toHex(to.ip), at - start]));
    const starts = [...first.values()];
    expect(starts.filter((at) => at < LIMITS.lateMinMs).length).toBe(4);
    expect(
      starts.filter((at) => at >= LIMITS.lateMinMs && at < 2 * LIMITS.lateMinMs + 1).length,
    ).toBe(4);
  });

  test('that nobody of very many answers asks each of them until it is gone, and no more', () => {
    const lab = new Lab();
    const known = LIMITS.searchKnown + 136;
    for (let i = 0; i < known; i++) lab.ask({ type: 'ping' }, addressOf(i), lab.randomId());
    lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    lab.take();
    lab.run(120_000);
    const most = known * PROTOCOL.requestAttempts;
    expect(lab.take().length).toBeLessThan(2 * most); // our question whether it is there, and the search's
    expect(lab.dht.stats().rpc.pending).toBe(0);
  });

  test('never hears again from a node that answers without a token', () => {
    const broken = peer(1, () => ({}));
    const lab = new Lab();
    lab.turn((dht, now) => dht.bootstrap([broken.address], now));
    converse(lab, [broken], 500);
    expect(lab.dht.stats().rpc.blacklist).toBe(1);
    expect(lab.ask({ type: 'ping' }, broken.address, broken.id)).toEqual([]);
  });

  test('filters what a node did not', () => {
    const values = [plainValue(5n, 'wanted'), plainValue(6n, 'not wanted')].map(packValue);
    const careless = peer(1, (message) =>
      message.type === 'get' ? { token: TOKEN, values } : polite(message),
    );
    const lab = connected([careless]);
    lab.turn((dht, now) => dht.get(KEY, { select: [], where: [{ field: 'id', value: 5n }] }, now));
    converse(lab, [careless], 100);
    const got = lab.events.flatMap((event) => (event.type === 'get.value' ? [event.value.id] : []));
    expect(got).toEqual([5n]);
  });
});

describe('a put', () => {
  test('is sent once to each of the closest, with its creation time', () => {
    const peers = Array.from({ length: 3 }, (_, i) => peer(1 + i));
    const lab = connected(peers);
    const operation = lab.turn((dht, now) => dht.put(KEY, plainValue(5n, 'x'), false, now));
    const puts = of(converse(lab, peers, 700_000), 'put');
    expect(puts.length).toBe(3);
    for (const { message } of puts)
      expect(message).toMatchObject({ key: KEY, token: TOKEN, created: 1_795_219_200 });
    expect(lab.events).toContainEqual({ type: 'put.done', operation, acknowledged: 3 });
  });

  test('with nobody there comes to nothing and is kept here', () => {
    const lab = new Lab();
    const operation = lab.turn((dht, now) => dht.put(KEY, plainValue(0n, 'x'), false, now));
    expect(lab.events).toContainEqual({ type: 'put.done', operation, acknowledged: 0 });
    const kept = lab.turn((dht, now) => dht.get(KEY, undefined, now));
    const [event] = lab.events.filter(({ type }) => type === 'get.value');
    expect(event).toMatchObject({ operation: kept });
    // An id of 0 means none: it got one.
    expect(event?.type === 'get.value' && event.value.id).not.toBe(0n);
  });

  test('with a refused token asks for another and tries again; after four refusals the node is given up', () => {
    let puts = 0;
    const stubborn = peer(1, (message) => {
      if (message.type !== 'put') return polite(message);
      puts++;
      return { error: 401 } as Partial<Reply>;
    });
    const lab = connected([stubborn]);
    const operation = lab.turn((dht, now) => dht.put(KEY, plainValue(5n, 'x'), false, now));
    converse(lab, [stubborn], 1000);
    expect(puts).toBe(PROTOCOL.authFailures + 1);
    expect(lab.events).toContainEqual({ type: 'put.done', operation, acknowledged: 0 });
  });

  test('that is permanent is refreshed 10 s before its end where it still is, and put again where it is not', () => {
    const has = (rows: boolean) => (message: Message) =>
      message.type === 'get' && rows
        ? { token: TOKEN, fields: { fields: ['id', 'seq'] as const, rows: [{ id: 5n, seq: 0 }] } }
        : polite(message);
    const keeper = peer(1, has(true));
    const forgetful = peer(2, has(false));
    const lab = connected([keeper, forgetful]);
    lab.turn((dht, now) => dht.put(KEY, plainValue(5n, 'x'), true, now));
    const start = lab.now;
    const sent = converse(lab, [keeper, forgetful], 600_000);
    const [first, ...again] = of(sent, 'put', forgetful);
    expect(first?.message).not.toHaveProperty('created', expect.anything());
    expect(again.length).toBe(1);
    expect(of(sent, 'put', keeper).length).toBe(1);
    const refreshed = of(sent, 'refresh');
    expect(refreshed.length).toBe(1);
    expect(refreshed[0]?.at).toBeGreaterThanOrEqual(start + 590_000);
    expect(refreshed[0]?.at).toBeLessThan(start + 592_000);

    lab.turn((dht, now) => dht.cancelPut(KEY, 5n, now));
    const afterwards = converse(lab, [keeper, forgetful], 1_300_000);
    expect([...of(afterwards, 'put'), ...of(afterwards, 'refresh')]).toEqual([]);
    expect(lab.dht.stats()).toMatchObject({ puts: 0, storage: { ownValues: 0 } });
  });
});

describe('a listen', () => {
  const push = (lab: Lab, from: Peer, sid: number, content: Partial<Message>) =>
    lab.receive(
      encodeMessage({
        type: 'update',
        tid: lab.newTid(),
        id: from.id,
        style: 1,
        key: KEY,
        sid,
        ...content,
      } as Message),
      from.address,
    );
  const heard = (lab: Lab) =>
    lab.events.flatMap((event) =>
      event.type === 'listen.value' ? [[event.value.id, event.expired]] : [],
    );

  test('is renewed every 20 s with the same sid, at the 4 closest', () => {
    const peers = Array.from({ length: 6 }, (_, i) => peer(0x70 + i));
    const lab = connected(peers);
    lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    const listens = of(converse(lab, peers, 65_000), 'listen');
    expect(listens.length).toBe(4 * 4);
    // 0x77 ^ 0x75, 0x74, 0x73, 0x72 are the smallest distances.
    expect(new Set(listens.map(({ to }) => to.ip[3]))).toEqual(new Set([0x75, 0x74, 0x73, 0x72]));
    const sids = new Set(listens.map(({ message }) => message.type === 'listen' && message.sid));
    expect(sids.size).toBe(4);
    const one = listens.filter(({ to }) => to.ip[3] === 0x75);
    for (const gap of gaps(one)) expect(Math.round(gap / 100)).toBe(200);
  });

  test('hears a value once, and of its end when the last holder dropped it', () => {
    const peers = [peer(1), peer(2)] as const;
    const lab = connected(peers);
    lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    const sids = new Map(
      of(converse(lab, peers, 100), 'listen').map(({ to, message }) => [
        to.ip[3],
        message.type === 'listen' ? message.sid : 0,
      ]),
    );
    const [a, b] = peers;
    const sid = (p: Peer) => sids.get(p.address.ip[3]) ?? 0;
    const values = [packValue(plainValue(5n, 'x'))];
    push(lab, a, sid(a), { values });
    push(lab, b, sid(b), { values });
    expect(heard(lab)).toEqual([[5n, false]]);
    push(lab, a, sid(a), { style: 0, expired: [5n] } as Partial<Message>);
    expect(heard(lab).length).toBe(1);
    push(lab, b, sid(b), { style: 0, expired: [5n] } as Partial<Message>);
    expect(heard(lab)).toEqual([
      [5n, false],
      [5n, true],
    ]);
  });

  test('takes a value for gone when its lifetime passed without a refresh', () => {
    const [a] = [peer(1)];
    const lab = connected([a]);
    lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    const [listen] = of(converse(lab, [a], 100), 'listen');
    const sid = listen?.message.type === 'listen' ? listen.message.sid : 0;
    push(lab, a, sid, { values: [packValue(plainValue(5n, 'x')), packValue(plainValue(6n, 'y'))] });
    converse(lab, [a], 300_000);
    push(lab, a, sid, { style: 0, refreshed: [6n] } as Partial<Message>);
    converse(lab, [a], 301_000);
    expect(heard(lab)).toEqual([
      [5n, false],
      [6n, false],
      [5n, true],
    ]);
  });

  test('believes pushes only of the node that has the sid, and answers all', () => {
    const [a, stranger] = [peer(1), peer(2)];
    const lab = connected([a]);
    lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    const [listen] = of(converse(lab, [a], 100), 'listen');
    const sid = listen?.message.type === 'listen' ? listen.message.sid : 0;
    const values = [packValue(plainValue(5n, 'x'))];
    lab.take();
    push(lab, stranger, sid, { values });
    push(lab, a, sid + 1, { values });
    expect(of(lab.take(), 'reply').length).toBe(2);
    expect(heard(lab)).toEqual([]);
  });

  test('goes on for a minute after it was cancelled, unheard, and then ends', () => {
    const [a] = [peer(1)];
    const lab = connected([a]);
    const operation = lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    const [listen] = of(converse(lab, [a], 100), 'listen');
    const sid = listen?.message.type === 'listen' ? listen.message.sid : 0;
    lab.turn((dht, now) => dht.cancel(operation, now));
    push(lab, a, sid, { values: [packValue(plainValue(5n, 'x'))] });
    expect(heard(lab)).toEqual([]);
    const again = lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    expect(lab.events).toContainEqual(
      expect.objectContaining({ type: 'listen.value', operation: again }),
    );
    lab.turn((dht, now) => dht.cancel(again, now));
    converse(lab, [a], PROTOCOL.listenLingerMs);
    expect(of(converse(lab, [a], 100_000), 'listen')).toEqual([]);
    expect(lab.dht.stats().sockets).toBe(0);
  });

  test('hears what others store at ourselves', () => {
    const lab = new Lab();
    lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    const token = lab.token();
    lab.ask({ type: 'put', key: KEY, values: [packValue(plainValue(5n, 'x'))], token });
    expect(heard(lab)).toEqual([[5n, false]]);
    lab.run(600_100);
    expect(heard(lab)[1]).toEqual([5n, true]);
  });
});

describe('staying in touch', () => {
  test('the bootstrap is repeated after 10, 20, 40 s, at last every 5 minutes', () => {
    const lab = new Lab();
    lab.turn((dht, now) => dht.bootstrap([addressOf(1)], now));
    const sent = converse(lab, [], 3_000_000);
    const rounds = new Map(sent.map(({ at, message }) => [message.tid, at]));
    const firsts = [
      ...new Map([...sent].reverse().map(({ at, message }) => [message.tid, at])).values(),
    ].reverse();
    expect(rounds.size).toBe(firsts.length);
    const pauses = firsts.slice(1).map((at, i) => Math.round((at - (firsts[i] ?? 0)) / 1000));
    expect(pauses.slice(0, 7)).toEqual([10, 20, 40, 80, 160, 300, 300]);
    expect(lab.events.filter(({ type }) => type === 'bootstrap').length).toBe(firsts.length - 1);
  });

  test('losing all nodes is told, and the bootstrap begins again', () => {
    const one = peer(1);
    const lab = connected([one]);
    lab.turn((dht, now) => dht.get(KEY, undefined, now));
    converse(lab, [], 12_000);
    const states = lab.events.flatMap((event) => (event.type === 'state' ? [event.state] : []));
    expect(states.slice(0, 2)).toEqual(['connecting', 'connected']);
    expect(states).not.toHaveLength(2);
    converse(lab, [one], 20_000);
    expect(lab.dht.state(lab.now).state).toBe('connected');
  });

  test('a newcomer is given out only after it answered, a client never', () => {
    const lab = new Lab();
    const [newcomer, client] = [peer(1), peer(2)];
    lab.receive(encodeMessage({ type: 'ping', tid: 1, id: newcomer.id }), newcomer.address);
    lab.receive(
      encodeMessage({ type: 'ping', tid: 2, id: client.id, client: true }),
      client.address,
    );
    const asked = of(lab.take(), 'find');
    expect(asked.map(({ to }) => to.ip[3])).toEqual([1]);
    expect(lab.reply({ type: 'find', target: KEY }).nodes4).toBeUndefined();
    const tid = asked[0]?.message.tid ?? 0;
    lab.receive(
      encodeMessage({ type: 'reply', tid, id: newcomer.id, token: TOKEN }),
      newcomer.address,
    );
    expect(lab.reply({ type: 'find', target: KEY }).nodes4?.length).toBe(26);
  });

  test('a node far from a key does not store there, unless somebody listens', () => {
    // Ids 0x70… are all closer to 0x77… than our 0xee….
    const peers = Array.from({ length: 8 }, (_, i) => peer(0x70 + i));
    const lab = connected(peers);
    converse(lab, peers, 2000);
    expect(lab.dht.state(lab.now).peers4).toBe(8);
    const put = () => {
      const token = lab.token();
      return lab.ask({
        type: 'put',
        key: hash(0x71),
        values: [packValue(plainValue(5n, 'x'))],
        token,
      });
    };
    expect(put().length).toBe(1);
    expect(lab.dht.stats().storage.values).toBe(0);
    lab.ask({ type: 'listen', style: 1, key: hash(0x71), sid: 9, token: lab.token() });
    put();
    expect(lab.dht.stats().storage.values).toBe(1);
  });
});

test('the probe of these tests is not a forger', () => {
  expect(new Lab().reply({ type: 'ping' }).seenIp).toEqual(PROBE.ip);
  expect(PROBE_ID.isZero).toBe(false);
});
