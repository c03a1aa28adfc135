import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toHex } from '../../agent/base/bytes.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { readCompactNodes } from '../../agent/dht/addresses.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { DhtNode, type DhtNodeOptions } from '../../agent/dht/udp.ts';
import { type PlainValue, VALUE_TYPE, type Value } from '../../agent/dht/value.ts';
import { getAll } from '../../agent/dht-library.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { type Program, PythonNode, startDhtnode } from '../peers/opendht/programs.ts';
import { waitFor } from './harness.ts';
import { until } from './until.ts';

/**
 * Our node as a client of real ones: lifetimes and announcing again, both families, client mode, other networks, and real
 * nodes that know nobody but one of ours. What takes minutes begins first and is looked at last.
 */

const RING = [47_540, 47_541, 47_542, 47_543];
const RING_ENTRY = 47_540;
const THROUGH_US = [47_550, 47_551, 47_552, 47_553, 47_554];
const OURS_ALONE = 47_560;

const newKey = () => new InfoHash(systemRandom.bytes(20));
const data = (bytes: number) => systemRandom.bytes(bytes);

function ourNode(options: Partial<DhtNodeOptions> = {}): DhtNode {
  return new DhtNode({
    id: newKey(),
    bind: ['127.0.0.1'],
    port: 0,
    bootstrap: [{ host: '127.0.0.1', port: RING_ENTRY }],
    policy: cryptoPolicy,
    ...options,
  });
}

/** The ids that the node on `port` gives out as closest to `target`. */
async function closestAt(port: number, target: InfoHash): Promise<InfoHash[]> {
  const socket = createSocket('udp4');
  const ask = { type: 'find', tid: 1, id: newKey(), target, client: true } as const;
  socket.send(encodeMessage(ask), port, '127.0.0.1');
  const [packet] = (await once(socket, 'message')) as [Uint8Array];
  socket.close();
  const answer = decodeMessage(packet);
  if (answer.type !== 'reply') throw new Error('no reply');
  return readCompactNodes(answer.nodes4 ?? new Uint8Array(), 4).map(({ id }) => id);
}

async function knowsAnother(port: number, us: InfoHash): Promise<boolean> {
  const ids = await closestAt(port, newKey());
  return ids.some((id) => !id.equals(us));
}

/** Lives one minute at every storing node. */
function shortLived(id: bigint): PlainValue {
  return { kind: 'plain', id, type: VALUE_TYPE.iceCandidates, data: data(80) };
}

const ring: Program[] = [];
const [alice, bob] = [ourNode(), ourNode()];
const client = ourNode({ client: true });
let python: PythonNode;

/** What the values that take minutes are put under, and what was heard of them. */
const [once60, permanent] = [newKey(), newKey()];
const heard = new Map<string, { readonly id: bigint; readonly expired: boolean; at: number }[]>();
let putAt = 0;

beforeAll(async () => {
  for (const [i, port] of RING.entries())
    ring.push(startDhtnode(port, i === 0 ? undefined : `127.0.0.1:${RING[i - 1]}`));
  await sleep(1000);
  for (const node of [alice, bob, client]) await node.start();
  python = new PythonNode();
  await python.join('127.0.0.1', RING[1] ?? 0);
  await sleep(8000);
  for (const key of [once60, permanent]) {
    const events: { id: bigint; expired: boolean; at: number }[] = [];
    heard.set(key.hex, events);
    bob.listen(key, undefined, ({ id }, expired) =>
      events.push({ id, expired, at: performance.now() }),
    );
  }
  await sleep(1000);
  putAt = performance.now();
  await alice.put(once60, shortLived(81n));
  await alice.put(permanent, shortLived(82n), { permanent: true });
}, 60_000);

afterAll(async () => {
  await Promise.all([alice, bob, client].map((node) => node.stop()));
  await Promise.all([...ring, python].map((program) => program.kill()));
});

describe('real nodes that know nobody but one of ours', () => {
  const entry = ourNode({ port: OURS_ALONE, bootstrap: [] });
  const programs: Program[] = [];
  const users: PythonNode[] = [];

  beforeAll(async () => {
    await entry.start();
    for (const port of THROUGH_US) programs.push(startDhtnode(port, `127.0.0.1:${OURS_ALONE}`));
    await until(() => entry.state().peers4 >= THROUGH_US.length);
    // A real node looks for others 3 to 5 s after its first answer.
    await sleep(8000);
  }, 60_000);

  afterAll(async () => {
    await Promise.all([entry.stop(), ...[...programs, ...users].map((program) => program.kill())]);
  });

  test('know each other then, and are a ring without it', async () => {
    // Whom a real node has not checked itself it does not give out; one in a few takes half a minute to hear of the others.
    for (const port of THROUGH_US)
      await waitFor(`the neighbours of ${port}`, () => knowsAnother(port, entry.id), 70_000);
    await entry.stop();
    const [putter, getter] = [new PythonNode(), new PythonNode()];
    users.push(putter, getter);
    await putter.join('127.0.0.1', THROUGH_US[0] ?? 0);
    await getter.join('127.0.0.1', THROUGH_US[4] ?? 0);
    await sleep(1000);
    const key = newKey();
    const text = toHex(data(1800));
    expect(await putter.put(key.hex, text, 5)).toBe(true);
    expect((await getter.get(key.hex)).map((value) => value.data)).toEqual([text]);
  }, 120_000);
});

describe('over IPv6', () => {
  const only6 = ourNode({ bind: ['::1'], bootstrap: [{ host: '::1', port: RING_ENTRY }] });
  const both = ourNode({
    bind: ['127.0.0.1', '::1'],
    bootstrap: [
      { host: '127.0.0.1', port: RING_ENTRY },
      { host: '::1', port: RING_ENTRY },
    ],
  });
  const ring6: Program[] = [];
  const RING6 = [47_570, 47_571, 47_572];

  beforeAll(async () => {
    for (const port of RING6) ring6.push(startDhtnode(port, `[::1]:${RING_ENTRY}`));
    await sleep(1000);
    await only6.start();
    await both.start();
    // The others come when the real ones have checked each other, which may take minutes.
    await until(() => only6.state().peers6 >= 2);
    await sleep(3000);
  }, 60_000);

  afterAll(async () => {
    await Promise.all([only6.stop(), both.stop(), ...ring6.map((program) => program.kill())]);
  });

  test('a node of both families has the nodes of both', async () => {
    await until(() => both.state().peers4 >= RING.length, 40_000);
    await until(() => both.state().peers6 >= 2, 40_000);
    expect(only6.state().peers4).toBe(0);
  });

  test.each([100, 1800, 60_000])(
    'a value of %d bytes goes from an IPv6 node through real ones to one of both families',
    async (bytes) => {
      const key = newKey();
      const got: Value[] = [];
      const listen = both.listen(key, undefined, (value) => got.push(value));
      await sleep(1000);
      const value: PlainValue = { kind: 'plain', id: 6n, type: 0, data: data(bytes) };
      const { acknowledged } = await only6.put(key, value);
      expect(acknowledged).toBeGreaterThanOrEqual(2);
      expect(await getAll(both, key)).toEqual([value]);
      await until(() => got.length > 0, 5000);
      listen.cancel();
    },
  );

  test('a node of both families gets what a real one put over IPv4 alone', async () => {
    const key = newKey();
    const text = toHex(data(700));
    expect(await python.put(key.hex, text, 8)).toBe(true);
    const [value] = await getAll(both, key);
    expect(value?.kind === 'plain' && toHex(value.data)).toBe(text);
  });
});

describe('a client only', () => {
  test('puts, gets and hears', async () => {
    const [key, other] = [newKey(), newKey()];
    const got: Value[] = [];
    client.listen(other, undefined, (value) => got.push(value));
    const value: PlainValue = { kind: 'plain', id: 9n, type: 0, data: data(900) };
    expect((await client.put(key, value)).acknowledged).toBeGreaterThanOrEqual(RING.length);
    expect((await python.get(key.hex)).map((each) => each.data)).toEqual([toHex(value.data)]);
    const text = toHex(data(100));
    expect(await python.put(other.hex, text, 10)).toBe(true);
    expect((await getAll(client, other)).map(({ id }) => id)).toEqual([10n]);
    await until(() => got.length > 0, 5000);
  });

  test('is not given out by anybody, where one of ours is', async () => {
    for (const port of RING)
      expect((await closestAt(port, client.id)).some((id) => id.equals(client.id))).toBe(false);
    const knowing = await Promise.all(RING.map((port) => closestAt(port, alice.id)));
    expect(knowing.some((ids) => ids.some((id) => id.equals(alice.id)))).toBe(true);
  });
});

test('a node of another network hears nothing', async () => {
  const stranger = ourNode({ network: 7 });
  await stranger.start();
  await sleep(6000);
  expect(stranger.state()).toMatchObject({ state: 'connecting', peers4: 0 });
  await stranger.stop();
});

describe('a value that lives a minute', () => {
  const eventsOf = (key: InfoHash) => heard.get(key.hex) ?? [];

  test('is heard to expire when it was put once', async () => {
    await until(() => eventsOf(once60).some(({ expired }) => expired), 90_000);
    expect(eventsOf(once60).map(({ id, expired }) => [id, expired])).toEqual([
      [81n, false],
      [81n, true],
    ]);
    const lived = (eventsOf(once60)[1]?.at ?? 0) - putAt;
    expect(lived).toBeGreaterThan(57_000);
    expect(lived).toBeLessThan(75_000);
    expect(await python.get(once60.hex)).toEqual([]);
  }, 100_000);

  test('is still there after more than that when it is permanent, and no longer once it is not', async () => {
    await sleep(Math.max(0, putAt + 80_000 - performance.now()));
    expect(eventsOf(permanent).map(({ id, expired }) => [id, expired])).toEqual([[82n, false]]);
    expect((await python.get(permanent.hex)).map(({ id }) => id)).toEqual([82]);
    alice.cancelPut(permanent, 82n);
    await until(() => eventsOf(permanent).some(({ expired }) => expired), 80_000);
  }, 180_000);
});
