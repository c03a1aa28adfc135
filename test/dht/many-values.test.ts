import { describe, expect, test } from 'vitest';
import { LIMITS } from '../../agent/dht/limits.ts';
import type { GetQuery, Message } from '../../agent/dht/message.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { plainValue, type SimNode, World } from '../sim/world.ts';
import { Lab, PROBE_ID } from './lab.ts';
import { connected, converse, KEY, of, peer, polite, TOKEN } from './peers.ts';

/** Several values under one key: a get tells of all of them, however they have to be asked for. */

const sized = (id: number, bytes: number) => plainValue(BigInt(id), new Uint8Array(bytes).fill(id));

const wantedId = ({ query }: GetQuery): bigint | undefined => {
  for (const filter of query?.where ?? []) if (filter.field === 'id') return filter.value;
  return undefined;
};

describe('64 values of 8 kB, twice what one reply carries', () => {
  test.each([0, 0.1])('are all got, with %d of all datagrams lost', (loss) => {
    const world = new World({ seed: 202 });
    const [holder, other, reader] = world.addMany(3) as [SimNode, SimNode, SimNode];
    world.run(10_000);
    const key = world.randomHash();
    for (let id = 1; id <= 64; id++) {
      holder.put(key, sized(id, 8000));
      world.run(20);
    }
    world.run(5000);
    expect(other.dht.stats().storage.values).toBe(64);
    world.network.options = { ...world.network.options, loss };
    const get = reader.get(key);
    // The reader holds them too, as one of the three closest; another newcomer does not.
    const newcomer = world.add();
    newcomer.bootstrap(holder);
    world.runUntil(() => newcomer.dht.state(world.now).peers4 === 3, 20_000);
    const again = newcomer.get(key);
    expect(world.runUntil(() => newcomer.isDone(again), 120_000)).toBe(true);
    expect(newcomer.values(again).length).toBe(64);
    expect(reader.values(get).length).toBe(64);
    expect(holder.dht.stats().server.repliesCut).toBeGreaterThan(0);
  });
});

test('selected fields of more values than a datagram holds are cut to one that can be sent', () => {
  const lab = new Lab();
  const token = lab.token();
  const owner = new Uint8Array(550).fill(1);
  for (let id = 1; id <= 150; id++) {
    lab.run(20); // so many signed values a second from one source
    const signed = { owner, seq: id, signature: new Uint8Array(4) };
    const value = {
      kind: 'plain',
      id: BigInt(id),
      type: 77,
      data: new Uint8Array(),
      signed,
    } as const;
    lab.ask({ type: 'put', key: KEY, values: [packValue(value)], token });
  }
  const select = ['id', 'owner'] as const;
  lab.take();
  const tid = lab.newTid();
  const query = { select, where: [] };
  lab.receive(encodeMessage({ type: 'get', tid, id: PROBE_ID, key: KEY, query }));
  const [reply] = lab.take();
  expect(reply?.message.type === 'reply' && reply.message.fields?.rows.length).toBeGreaterThan(95);
  expect(reply?.packet.length).toBeLessThan(65_507);
  expect(lab.dht.stats().server.repliesCut).toBe(1);
});

describe('a node with more than we take at once', () => {
  const ids = Array.from({ length: 40 }, (_, i) => i + 1);
  /** As the reference does: whatever is under the key in one reply, in parts. Here they are all lost. */
  const overflowing = (message: Message) => {
    if (message.type !== 'get') return polite(message);
    const id = wantedId(message);
    if (id !== undefined) return { token: TOKEN, values: [packValue(sized(Number(id), 500))] };
    if (message.query?.select.includes('id') === true) {
      const rows = ids.map((n) => ({ id: BigInt(n) }));
      return { token: TOKEN, fields: { fields: ['id'] as const, rows } };
    }
    return { token: TOKEN, values: ids.map(() => 60_000) };
  };

  test('is asked which ids it has, and for each of them', () => {
    const lab = connected([peer(1, overflowing)]);
    const operation = lab.turn((dht, now) => dht.get(KEY, undefined, now));
    converse(lab, [peer(1, overflowing)], 5000);
    // Its answer is on its way as far as we know: that is no end.
    expect(lab.events).not.toContainEqual({ type: 'get.done', operation });
    converse(lab, [peer(1, overflowing)], 15_000);
    const got = lab.events.flatMap((event) => (event.type === 'get.value' ? [event.value.id] : []));
    expect(got.sort()).toEqual(ids.map(BigInt).sort());
    expect(lab.events.at(-1)).toEqual({ type: 'get.done', operation });
  });

  test('two of them are not asked for the same twice over, nor one made-up value believed instead', () => {
    const peers = [peer(1, overflowing), peer(2, overflowing), peer(3, overflowing)];
    const lab = connected(peers);
    lab.turn((dht, now) => dht.get(KEY, undefined, now));
    const gets = of(converse(lab, peers, 30_000), 'get').flatMap(({ message }) =>
      message.type === 'get' && wantedId(message) !== undefined ? [message.tid] : [],
    );
    expect(gets.length).toBeGreaterThanOrEqual(LIMITS.giversPerValue * ids.length);
    expect(gets.length).toBeLessThan(3 * ids.length);
  });

  test('that never sends what it announces holds up no get for long', () => {
    const teasing = (message: Message) =>
      message.type === 'get' ? { token: TOKEN, values: [60_000] } : polite(message);
    const lab = connected([peer(1, teasing)]);
    const operation = lab.turn((dht, now) => dht.get(KEY, undefined, now));
    converse(lab, [peer(1, teasing)], 25_000);
    expect(lab.events).toContainEqual({ type: 'get.done', operation });
  });

  test('that takes its time with each is left after a minute', () => {
    let told = 0;
    const endless = (message: Message) => {
      if (message.type !== 'get') return polite(message);
      const rows = Array.from({ length: 5000 }, (_, n) => ({ id: BigInt(n + 1) }));
      if (message.query?.select.includes('id') === true)
        return { token: TOKEN, fields: { fields: ['id'] as const, rows } };
      return ++told === 1 ? { token: TOKEN, values: [60_000] } : { token: TOKEN };
    };
    const lab = connected([peer(1, endless)]);
    const operation = lab.turn((dht, now) => dht.get(KEY, undefined, now));
    // One question in 50 ms, as `converse` serves.
    converse(lab, [peer(1, endless)], LIMITS.restPatienceMs + 15_000);
    expect(lab.events).toContainEqual({ type: 'get.done', operation });
    expect(told).toBeLessThan(2000);
  });
});
