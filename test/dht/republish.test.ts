import { describe, expect, test } from 'vitest';
import { LIMITS, PROTOCOL } from '../../agent/dht/limits.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { plainValue, type SimNode, World } from '../sim/world.ts';
import { hash, Lab } from './lab.ts';
import { connected, converse, of, type Peer, peer } from './peers.ts';

/** A type that lives 7 days: of the others nothing is left that would be worth handing over (opendht.md 11). */
const TRUST_REQUEST = 4;
const KEY = hash(0x71);
const DAY = 86_400_000;
/** In the first some of the 8 may just be silent for too long to count as good. */
const TWO_ROUNDS = 2 * PROTOCOL.republishMs + 20_000;

/** Peers near KEY, of which our id 0xee… is far; two more than the 8 that it takes. */
const near = Array.from({ length: 10 }, (_, i) => peer(0x70 + i));

/** One that kept `count` values for others when it knew nobody, and then gets to know the right nodes. */
function misplaced(count: number, republish: boolean): Lab {
  const lab = new Lab({ republish, rateLimit: false });
  lab.dht.setWallClock(1_795_219_200_000, lab.now);
  const [{ address, id: sender }] = near as [Peer];
  const token = lab.token(address, sender);
  for (let id = 1; id <= count; id++) {
    const value = plainValue(BigInt(id), 'asking for trust', TRUST_REQUEST);
    lab.ask({ type: 'put', key: KEY, values: [packValue(value)], token }, address, sender);
  }
  lab.turn((dht, now) =>
    dht.bootstrap(
      near.map(({ address }) => address),
      now,
    ),
  );
  return lab;
}

describe('every 10 minutes', () => {
  test('a value goes to the 8 that are closer, with what is left of its life, and is forgotten here', () => {
    const lab = misplaced(2, true);
    const sent = converse(lab, near, TWO_ROUNDS);
    const puts = of(sent, 'put').map(({ message }) => message);
    expect(puts).toHaveLength(2 * 8);
    for (const put of puts) expect(put).toMatchObject({ key: KEY, created: 1_795_219_200 });
    expect(lab.dht.stats()).toMatchObject({
      handedOver: 2,
      republishing: 0,
      storage: { values: 0 },
    });
  });

  test('nothing is handed over unless that is wanted, nor what lives 10 minutes, nor what somebody listens to', () => {
    const off = misplaced(1, false);
    expect(of(converse(off, near, TWO_ROUNDS), 'put')).toEqual([]);

    const brief = misplaced(0, true);
    const token = brief.token();
    brief.ask({ type: 'put', key: KEY, values: [packValue(plainValue(1n, 'x'))], token });
    expect(of(converse(brief, near, TWO_ROUNDS), 'put')).toEqual([]);

    const heard = misplaced(1, true);
    heard.turn((dht, now) => dht.listen(KEY, undefined, now));
    expect(of(converse(heard, near, TWO_ROUNDS), 'put')).toEqual([]);
    expect(heard.dht.stats().storage.values).toBe(1);
  });

  test('a value that too few took stays, and is tried again', () => {
    const lab = misplaced(1, true);
    converse(lab, near, 5000);
    const few = near.slice(0, LIMITS.republishAcks - 1);
    const deaf = near.slice(LIMITS.republishAcks - 1).map((one) => ({
      ...one,
      answer: (message: Parameters<typeof one.answer>[0]) =>
        message.type === 'put' ? undefined : one.answer(message),
    }));
    converse(lab, [...few, ...deaf], TWO_ROUNDS);
    const stats = lab.dht.stats();
    expect(stats).toMatchObject({ handedOver: 0, storage: { values: 1 } });
    expect(stats.handOversFailed).toBeGreaterThan(0);
    converse(lab, near, TWO_ROUNDS);
    expect(lab.dht.stats()).toMatchObject({ handedOver: 1, storage: { values: 0 } });
  });
});

describe('a node that stays among the closest', () => {
  /** It keeps a value that one of its neighbours put when they were all there. */
  function settled(republish: boolean): Lab {
    const lab = new Lab({ id: KEY, republish, rateLimit: false });
    lab.dht.setWallClock(1_795_219_200_000, lab.now);
    lab.turn((dht, now) =>
      dht.bootstrap(
        old.map(({ address }) => address),
        now,
      ),
    );
    converse(lab, old, 30_000);
    const [{ address, id: sender }] = old as [Peer];
    const token = lab.token(address, sender);
    const values = [packValue(plainValue(1n, 'asking for trust', TRUST_REQUEST))];
    lab.ask({ type: 'put', key: KEY, values, token }, address, sender);
    return lab;
  }
  const old = near.filter(({ id }) => !id.equals(KEY)).slice(1);
  const newcomer = near[0] as Peer;

  test('tells the value to those who came since it was put, and to nobody when nobody came', () => {
    const lab = settled(true);
    expect(of(converse(lab, old, TWO_ROUNDS), 'put')).toEqual([]);
    lab.receive(
      encodeMessage({ type: 'ping', tid: 9, id: newcomer.id, version: 'o2' }),
      newcomer.address,
    );
    const sent = converse(lab, [...old, newcomer], TWO_ROUNDS);
    const puts = of(sent, 'put');
    expect(puts.map(({ to }) => to)).toContainEqual(newcomer.address);
    expect(puts.length).toBeLessThanOrEqual(9);
    expect(lab.dht.stats()).toMatchObject({
      sharedWithNewcomers: 1,
      handedOver: 0,
      storage: { values: 1 },
    });
    // They all have it now.
    expect(of(converse(lab, [...old, newcomer], TWO_ROUNDS), 'put')).toEqual([]);
  });

  test('unless that is not wanted', () => {
    const lab = settled(false);
    lab.receive(
      encodeMessage({ type: 'ping', tid: 9, id: newcomer.id, version: 'o2' }),
      newcomer.address,
    );
    expect(of(converse(lab, [...old, newcomer], TWO_ROUNDS), 'put')).toEqual([]);
  });

  test('leaves it to whoever did it first', () => {
    const lab = settled(true);
    lab.receive(
      encodeMessage({ type: 'ping', tid: 9, id: newcomer.id, version: 'o2' }),
      newcomer.address,
    );
    converse(lab, [...old, newcomer], 60_000);
    const [{ address, id: sender }] = old as [Peer];
    const values = [packValue(plainValue(1n, 'asking for trust', TRUST_REQUEST))];
    const put = { type: 'put', key: KEY, values, token: lab.token(address, sender) } as const;
    lab.ask(put, address, sender);
    expect(of(converse(lab, [...old, newcomer], TWO_ROUNDS), 'put')).toEqual([]);
  });
});

describe('a node that leaves', () => {
  test('hands over everything that it keeps for others, and says when that is done', () => {
    const lab = misplaced(3, false);
    converse(lab, near, 5000);
    lab.turn((dht, now) => dht.leave(now));
    expect(of(converse(lab, near, 1000), 'put')).toHaveLength(3 * 8);
    expect(lab.events.filter(({ type }) => type === 'left')).toHaveLength(1);
    converse(lab, near, LIMITS.leaveMs);
    expect(lab.events.filter(({ type }) => type === 'left')).toHaveLength(1);
  });

  test('waits for nobody with nothing to hand over, or nobody to take it', () => {
    const idle = connected([peer(1)]);
    idle.turn((dht, now) => dht.leave(now));
    expect(idle.events.at(-1)).toEqual({ type: 'left' });
    const alone = new Lab();
    alone.ask({
      type: 'put',
      key: KEY,
      values: [packValue(plainValue(1n, 'x'))],
      token: alone.token(),
    });
    alone.turn((dht, now) => dht.leave(now));
    expect(alone.events.at(-1)).toEqual({ type: 'left' });
  });

  test('takes a bounded number of values, some at a time', () => {
    const lab = misplaced(LIMITS.republishValues + 30, false);
    converse(lab, near, 5000);
    lab.turn((dht, now) => dht.leave(now));
    expect(lab.dht.stats()).toMatchObject({
      republishing: LIMITS.republishValues,
      handOversPostponed: 30,
    });
    expect(of(lab.take(), 'put').length).toBeLessThanOrEqual(8 * LIMITS.republishAtOnce);
  });

  test('takes 5 s and no longer, however far the others are', () => {
    const world = new World({ seed: 302 });
    const nodes = world.addMany(9);
    world.run(20_000);
    const leaving = nodes[4] as SimNode;
    for (let id = 1; id <= 200; id++) {
      (nodes[0] as SimNode).put(world.randomHash(), plainValue(1n, 'x', TRUST_REQUEST));
      world.run(10);
    }
    world.run(5000);
    world.network.options = { ...world.network.options, latencyMs: 400 };
    world.turn(leaving, (now) => leaving.dht.leave(now));
    const hasLeft = () => leaving.hasLeft;
    expect(world.runUntil(hasLeft, LIMITS.leaveMs - 1)).toBe(false);
    expect(world.runUntil(hasLeft, 2)).toBe(true);
    expect(leaving.dht.stats().handedOver).toBeGreaterThan(LIMITS.republishAtOnce);
  });
});

test('what is handed around and refreshed does not outlive its creation time', () => {
  const lab = new Lab();
  lab.dht.setWallClock(1_795_219_200_000, lab.now);
  const values = [packValue(plainValue(5n, 'x', TRUST_REQUEST))];
  const put = (created: number) =>
    lab.ask({ type: 'put', key: KEY, values, token: lab.token(), created });
  put(1_795_219_200 - 6 * 86_400);
  lab.run(3_600_000);
  put(1_795_219_200 - 6 * 86_400);
  lab.run(DAY - 3_600_000 - 1000);
  expect(lab.dht.stats().storage.values).toBe(1);
  lab.run(2000);
  expect(lab.dht.stats().storage.values).toBe(0);
});

test('values survive a ring whose nodes all leave one after the other', () => {
  const world = new World({ seed: 301 });
  const nodes = world.addMany(12, { republish: true });
  world.run(20_000);
  const key = world.randomHash();
  const publisher = nodes[0] as SimNode;
  publisher.put(key, plainValue(5n, 'handed on', TRUST_REQUEST));
  world.run(5000);
  for (const old of nodes) {
    const newcomer = world.add({ republish: true });
    newcomer.bootstrap(nodes[11] as SimNode, world.nodes.at(-2) as SimNode);
    world.run(30_000);
    world.turn(old, (now) => old.dht.leave(now));
    world.run(LIMITS.leaveMs);
    old.kill();
    world.run(30_000);
  }
  const reader = world.nodes.at(-1) as SimNode;
  const get = reader.get(key);
  expect(world.runUntil(() => reader.isDone(get), 20_000)).toBe(true);
  expect(reader.values(get)).toEqual([plainValue(5n, 'handed on', TRUST_REQUEST)]);
});
