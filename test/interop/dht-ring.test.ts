import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toHex } from '../../agent/base/bytes.ts';
import { AgentError } from '../../agent/base/errors.ts';
import { systemRandom } from '../../agent/base/random.ts';
import type { ConnectionState } from '../../agent/dht/events.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { DhtNode } from '../../agent/dht/udp.ts';
import type { PlainValue, Query, Value } from '../../agent/dht/value.ts';
import { getAll } from '../../agent/dht-library.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { type Program, PythonNode, startDhtnode } from '../peers/opendht/programs.ts';

/** Our node among real ones: five `dhtnode`s, a node of python3-opendht, two of ours. */

const RING = [46010, 46011, 46012, 46013, 46014];
const OURS = [46020, 46021] as const;

let ring: Program[] = [];
let python: PythonNode;
const states: ConnectionState[] = [];

function ourNode(port: number): DhtNode {
  return new DhtNode({
    id: new InfoHash(systemRandom.bytes(20)),
    bind: ['127.0.0.1'],
    port,
    bootstrap: [{ host: '127.0.0.1', port: RING[0] ?? 0 }],
    policy: cryptoPolicy,
    onState: ({ state }) => states.push(state),
  });
}

const [alice, bob] = [ourNode(OURS[0]), ourNode(OURS[1])];

const newKey = () => new InfoHash(systemRandom.bytes(20));

function someValue(id: bigint, bytes: number): PlainValue {
  return { kind: 'plain', id, type: 0, data: systemRandom.bytes(bytes) };
}

async function until(done: () => boolean, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (!done() && performance.now() < end) await sleep(20);
  return done();
}

beforeAll(async () => {
  ring = RING.map((port, i) =>
    startDhtnode(port, i === 0 ? undefined : `127.0.0.1:${RING[i - 1]}`),
  );
  await sleep(1000);
  python = new PythonNode();
  await python.join('127.0.0.1', RING[1] ?? 0);
  await alice.start();
  await bob.start();
  // A real node looks for others 3 to 5 s after its first answer.
  await sleep(7000);
});

afterAll(async () => {
  await alice.stop();
  await bob.stop();
  await Promise.all([...ring, python].map((program) => program.kill()));
});

describe('among real nodes', () => {
  test('we get to know all of them', async () => {
    expect(states.slice(0, 2)).toContain('connecting');
    // At least the ring. Whom a real node has not checked yet it does not give out, and that takes its time.
    const enough = () => [alice, bob].every((node) => node.state().peers4 >= RING.length);
    expect(await until(enough, 40_000)).toBe(true);
    expect(alice.state().state).toBe('connected');
  });

  test.each([
    ['inline', 100],
    ['in parts', 1800],
    ['of 60 kB', 60_000],
  ])('a value %s that they put is got by us', async (_, bytes) => {
    const key = newKey();
    const data = toHex(systemRandom.bytes(bytes));
    expect(await python.put(key.hex, data, 71)).toBe(true);
    const values = await getAll(alice, key);
    expect(values.map((value) => value.kind === 'plain' && toHex(value.data))).toEqual([data]);
  });

  test.each([
    ['inline', 100],
    ['in parts', 1800],
    ['of 60 kB', 60_000],
  ])('a value %s that we put is got by them, and by the other of us', async (_, bytes) => {
    const key = newKey();
    const value = someValue(72n, bytes);
    const { acknowledged } = await alice.put(key, value);
    expect(acknowledged).toBeGreaterThanOrEqual(RING.length);
    expect((await python.get(key.hex)).map(({ data }) => data)).toEqual([toHex(value.data)]);
    expect(await getAll(bob, key)).toEqual([value]);
  });

  test.each([
    ['inline', 100],
    ['in parts', 5000],
  ])('we hear a value %s that they put, and they one that we put', async (_, bytes) => {
    const key = newKey();
    const heard: Value[] = [];
    const listen = alice.listen(key, undefined, (value) => heard.push(value));
    await python.listen(key.hex);
    await sleep(1000);
    const data = toHex(systemRandom.bytes(bytes));
    expect(await python.put(key.hex, data, 73)).toBe(true);
    expect(await until(() => heard.length > 0, 3000)).toBe(true);
    expect(heard[0]?.kind === 'plain' && toHex(heard[0].data)).toBe(data);
    const ours = someValue(74n, bytes);
    await bob.put(key, ours);
    const hex = toHex(ours.data);
    expect(await until(() => python.heard.some((value) => value.data === hex), 3000)).toBe(true);
    listen.cancel();
  });

  test('a filter is evaluated by them', async () => {
    const key = newKey();
    await alice.put(key, someValue(75n, 700));
    await alice.put(key, { ...someValue(76n, 10), userType: 'text/plain' });
    const query: Query = { select: [], where: [{ field: 'userType', value: 'text/plain' }] };
    expect((await getAll(bob, key, query)).map(({ id }) => id)).toEqual([76n]);
  });

  test('a port in use is told by its address', async () => {
    const second = ourNode(OURS[0]);
    const error = await second.start().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AgentError);
    expect(error).toMatchObject({ code: 'port-in-use' });
    expect(String(error)).toContain(`127.0.0.1:${OURS[0]}`);
  });

  test('stopping ends what is under way', async () => {
    const lonely = new DhtNode({
      id: new InfoHash(systemRandom.bytes(20)),
      bind: ['127.0.0.1'],
      port: 0,
      bootstrap: [{ host: '127.0.0.1', port: 46099 }], // nobody is there
      policy: cryptoPolicy,
    });
    // Begun before the start, it waits for it and then for the bootstrap.
    const put = lonely.put(newKey(), someValue(78n, 10));
    await lonely.start();
    expect(lonely.port).toBeGreaterThan(0);
    const values = getAll(lonely, newKey());
    await sleep(50);
    expect(lonely.state().state).toBe('connecting');
    await lonely.stop();
    expect(await put).toEqual({ acknowledged: 0 });
    expect(await values).toEqual([]);
  });

  test('what is asked for right after the start waits for a name as well', async () => {
    const late = new DhtNode({
      id: new InfoHash(systemRandom.bytes(20)),
      bind: ['127.0.0.1'],
      port: 0,
      bootstrap: [{ host: 'localhost', port: RING[0] ?? 0 }],
      policy: cryptoPolicy,
    });
    await late.start();
    const { acknowledged } = await late.put(newKey(), someValue(79n, 10));
    expect(acknowledged).toBeGreaterThan(0);
    await late.stop();
  });

  // The last: it leaves one of the ring.
  test('with all but one of them killed a put still reaches the listener at once', async () => {
    const key = newKey();
    const heard: Value[] = [];
    bob.listen(key, undefined, (value) => heard.push(value));
    await sleep(1000);
    await Promise.all([...ring.slice(1), python].map((program) => program.kill()));
    const start = performance.now();
    const put = alice.put(key, someValue(77n, 1800));
    expect(await until(() => heard.length > 0, 2000)).toBe(true);
    expect(performance.now() - start).toBeLessThan(2000);
    expect((await put).acknowledged).toBeGreaterThanOrEqual(2);
  });
});
