import { describe, expect, test } from 'vitest';
import type { Address } from '../../agent/base/address.ts';
import { concatBytes, fromHex } from '../../agent/base/bytes.ts';
import type { Millis } from '../../agent/base/clock.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { LIMITS, PROTOCOL } from '../../agent/dht/limits.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { MsgpackWriter } from '../../agent/dht/msgpack-writer.ts';
import {
  decodeState,
  encodeState,
  type KeptValue,
  type StateToKeep,
} from '../../agent/dht/state-file.ts';
import { type PlainValue, VALUE_TYPE, type Value } from '../../agent/dht/value.ts';
import { packValue, unpackValue } from '../../agent/dht/value-codec.ts';
import { seededRandom } from '../sim/seeded.ts';
import { addressOf, hash, Lab, PROBE } from './lab.ts';
import { loadVectors } from './vectors.ts';

/** A node ends, and another one begins with what it left. */

const MINUTE: Millis = 60_000;
const UNIX_MS = 1_795_219_200_000;
const KEY = hash(0x77);

const sized = (id: bigint, bytes: number): PlainValue => ({
  kind: 'plain',
  id,
  type: VALUE_TYPE.userData,
  data: new Uint8Array(bytes),
});

/** A node with a wall clock. Its monotonic clock begins anywhere. */
function start(
  unixMs: number | 'unset' = UNIX_MS,
  options: ConstructorParameters<typeof Lab>[0] = {},
): Lab {
  const lab = new Lab(options, seededRandom(7).fraction() * 1e9);
  if (unixMs !== 'unset') lab.dht.setWallClock(unixMs, lab.now);
  return lab;
}

/** Through the file and into a node that starts at `unixMs`. */
function restartAt(unixMs: number, kept: StateToKeep): Lab {
  const lab = start(unixMs);
  const read = decodeState(concatBytes(...encodeState(kept)));
  lab.turn((dht, now) => {
    dht.restoreNodes(read.nodes, now);
    for (const value of read.values) dht.restoreValue(value, now);
  });
  return lab;
}

function put(lab: Lab, value: Value, from: Address = PROBE): void {
  const token = lab.token(from);
  lab.ask({ type: 'put', key: KEY, token, values: [packValue(value)] }, from);
}

function valuesOf(lab: Lab, key = KEY): readonly Value[] {
  const { values = [] } = lab.reply({ type: 'get', key });
  return values.flatMap((packed) => (typeof packed === 'number' ? [] : [unpackValue(packed)]));
}

const keep = (lab: Lab) => lab.dht.keep(lab.now);

function kept(value: Value, more: Partial<KeptValue> = {}): KeptValue {
  return {
    key: KEY,
    packed: packValue(value),
    source: PROBE.ip,
    expiresUnixMs: UNIX_MS + 5 * MINUTE,
    ...more,
  };
}

function restores(value: KeptValue, lab = start()): boolean {
  return lab.turn((dht, now) => dht.restoreValue(value, now));
}

/** How long a value is still served. */
function lifeOf(value: KeptValue, unixMs: number | 'unset'): Millis {
  const lab = start(unixMs);
  const began = lab.now;
  if (!restores(value, lab)) return 0;
  while (lab.dht.stats().storage.values > 0) lab.run(1000);
  return lab.now - began;
}

describe('values', () => {
  test('live on with the time they have left', () => {
    const before = start();
    put(before, sized(7n, 100));
    before.run(4 * MINUTE);
    const after = restartAt(UNIX_MS + 5 * MINUTE, keep(before));
    expect(valuesOf(after)).toEqual([sized(7n, 100)]);
    after.run(5 * MINUTE - 1000);
    expect(valuesOf(after)).toHaveLength(1);
    after.run(2000);
    expect(valuesOf(after)).toEqual([]);
  });

  test('a refresh counts', () => {
    const before = start();
    put(before, sized(7n, 100));
    before.run(8 * MINUTE);
    put(before, sized(7n, 100));
    const after = restartAt(UNIX_MS + 16 * MINUTE, keep(before));
    expect(valuesOf(after)).toHaveLength(1);
  });

  test('are gone when the restart took longer than they live', () => {
    const before = start();
    put(before, sized(7n, 100));
    const after = restartAt(UNIX_MS + 10 * MINUTE, keep(before));
    expect(valuesOf(after)).toEqual([]);
  });

  test('of our own stay out of it: the program announces those again', () => {
    const before = start();
    before.turn((dht, now) => dht.put(KEY, sized(1n, 10), true, now));
    put(before, sized(2n, 10));
    const ids = [...keep(before).values].map(({ packed }) => unpackValue(packed).id);
    expect(ids).toEqual([2n]);
  });

  test('keep their source, which goes on paying for them', () => {
    const before = start();
    for (let id = 1n; id <= 3n; id++) put(before, sized(id, 1000), addressOf(1));
    put(before, sized(9n, 500), addressOf(2));
    const after = restartAt(UNIX_MS, keep(before));
    expect(after.dht.stats().storage.sources).toBe(2);
    const again = [...keep(after).values].map(({ source }) => source);
    expect(again).toEqual([...Array(3).fill(addressOf(1).ip), addressOf(2).ip]);
  });

  test('of IPv6 sources belong to their /64', () => {
    const source = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9);
    const lab = start();
    expect(restores(kept(sized(1n, 10), { source }), lab)).toBe(true);
    const [value] = keep(lab).values;
    expect(value?.source).toEqual(Uint8Array.of(...source.subarray(0, 8), ...Array(8).fill(0)));
  });

  test('without a source share one, are counted, and stay without', () => {
    const lab = start();
    restores(kept(sized(1n, 10), { source: undefined }), lab);
    restores(kept(sized(2n, 10), { source: undefined }), lab);
    const { sources, ownValues, bytes } = lab.dht.stats().storage;
    expect({ sources, ownValues }).toEqual({ sources: 1, ownValues: 0 });
    expect(bytes).toBeGreaterThan(0);
    expect([...keep(lab).values].map(({ source }) => source)).toEqual([undefined, undefined]);
  });

  test('are heard by listens that began before them', () => {
    const lab = start();
    lab.turn((dht, now) => dht.listen(KEY, undefined, now));
    restores(kept(sized(3n, 10)), lab);
    lab.turn(() => {});
    expect(lab.events).toContainEqual(
      expect.objectContaining({ type: 'listen.value', value: sized(3n, 10) }),
    );
  });

  test('that came in since the start are newer than those of the file', () => {
    const lab = start();
    put(lab, sized(7n, 100));
    expect(restores(kept(sized(7n, 50)), lab)).toBe(false);
    expect(valuesOf(lab)).toEqual([sized(7n, 100)]);
  });
});

describe('clocks', () => {
  const value = kept(sized(1n, 10));

  test('right: what is left is what is left', () => {
    expect(lifeOf(value, UNIX_MS)).toBe(5 * MINUTE);
    expect(lifeOf(value, UNIX_MS + 5 * MINUTE)).toBe(0);
  });

  test('behind the file, as on a board before it has the time: one lifetime and no more', () => {
    expect(lifeOf(value, 0)).toBe(10 * MINUTE);
    expect(lifeOf(kept(sized(1n, 10), { expiresUnixMs: 8e15 }), UNIX_MS)).toBe(10 * MINUTE);
  });

  test('unset, or a file without dates: one lifetime', () => {
    expect(lifeOf(value, 'unset')).toBe(10 * MINUTE);
    expect(lifeOf(kept(sized(1n, 10), { expiresUnixMs: undefined }), UNIX_MS)).toBe(10 * MINUTE);
  });

  test('without one nothing can be dated, and no value is kept', () => {
    const lab = start('unset');
    put(lab, sized(1n, 10));
    expect([...keep(lab).values]).toEqual([]);
  });
});

describe('a tampered file puts nothing in that the network could not', () => {
  const signed = unpackValue(
    fromHex(
      loadVectors<{ captured: { value: string }[] }>('values_signed.json').captured[0]?.value ?? '',
    ),
  );
  if (signed.kind !== 'plain') throw new Error('not a plain value');
  const announcement = (ip: Uint8Array): Value => ({
    kind: 'plain',
    id: 5n,
    type: VALUE_TYPE.ipService,
    data: new MsgpackWriter()
      .bin(Uint8Array.of(2, 0, 0x10, 0x7e, ...ip, 0, 0, 0, 0, 0, 0, 0, 0))
      .finish(),
  });

  test('a good signature is taken, a bad one is not', () => {
    expect(restores(kept(signed))).toBe(true);
    expect(restores(kept({ ...signed, data: Uint8Array.of(1) }))).toBe(false);
  });

  test.each<[string, KeptValue]>([
    ['a value over the size limit', kept(sized(1n, PROTOCOL.maxValueBytes + 1))],
    ['a value without id', kept({ ...sized(1n, 10), id: 0n })],
    ['no value at all', { ...kept(sized(1n, 10)), packed: Uint8Array.of(0x90) }],
    ['a certificate under a foreign key', kept({ ...sized(1n, 10), type: VALUE_TYPE.certificate })],
    [
      'an IP announcement for another than its source',
      kept(announcement(Uint8Array.of(10, 9, 9, 9))),
    ],
    ['one whose source is not known', kept(announcement(PROBE.ip), { source: undefined })],
  ])('%s is refused', (_, value) => {
    expect(restores(value)).toBe(false);
  });

  test('an IP announcement of its source is taken as it was', () => {
    const lab = start();
    const value = announcement(PROBE.ip);
    expect(restores(kept(value), lab)).toBe(true);
    expect(valuesOf(lab)).toEqual([value]);
  });

  test('more than the storage holds is evicted as ever', () => {
    const lab = start(UNIX_MS, { storage: { values: 64 } });
    for (let id = 1n; id <= 500n; id++) restores(kept(sized(id, 10)), lab);
    expect(lab.dht.stats().storage.values).toBeLessThanOrEqual(64);
  });
});

test('no more is written than is read again', () => {
  const lab = start(UNIX_MS, { storage: { bytes: 4 * LIMITS.stateBytes } });
  const count = Math.ceil((LIMITS.stateBytes / 60_000) * 1.2);
  for (let i = 0; i < count; i++)
    restores(kept(sized(1n, 60_000), { key: InfoHash.of(`${i}`) }), lab);
  expect(lab.dht.stats().storage.bytes).toBeGreaterThan(LIMITS.stateBytes);
  let bytes = 0;
  for (const piece of encodeState(keep(lab))) bytes += piece.length;
  expect(bytes).toBeGreaterThan(LIMITS.stateBytes * 0.9);
  expect(bytes).toBeLessThanOrEqual(LIMITS.stateBytes);
});

describe('nodes', () => {
  const random = seededRandom(5);
  const someNodes = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      id: new InfoHash(random.bytes(20)),
      address: addressOf(i + 1),
    }));

  /** Pings by their address. */
  const asked = (lab: Lab) =>
    new Set(
      lab.take().flatMap(({ to, message }) => (message.type === 'ping' ? [to.ip.join('.')] : [])),
    );

  test('that are good are kept, those nearest to us first', () => {
    const lab = start();
    const nodes = someNodes(40);
    for (const { id, address } of nodes) {
      // Each says something, is asked whether it is there, and says that it is.
      lab.take();
      lab.receive(encodeMessage({ type: 'ping', tid: lab.newTid(), id }), address);
      for (const { to, message } of lab.take()) {
        const node = nodes.find((other) => other.address.ip.join() === to.ip.join());
        if (message.type !== 'find' || node === undefined || node === nodes[0]) continue;
        lab.receive(encodeMessage({ type: 'reply', tid: message.tid, id: node.id }), to);
      }
    }
    const ids = keep(lab).nodes.map(({ id }) => id.hex);
    expect(ids.length).toBeGreaterThan(8);
    expect(ids).not.toContain(nodes[0]?.id.hex);
    const shared = keep(lab).nodes.map(({ id }) => (id.bytes[0] ?? 0) ^ (lab.dht.id.bytes[0] ?? 0));
    expect(Math.max(...shared.slice(0, 4))).toBeLessThan(Math.min(...shared.slice(-4)));
  });

  test('are known, asked some at a time, and not given out before they answer', () => {
    const lab = start();
    const nodes = someNodes(30);
    lab.turn((dht, now) => dht.restoreNodes(nodes, now));
    expect(asked(lab).size).toBe(LIMITS.rememberedPings);
    expect(lab.dht.state(lab.now)).toMatchObject({ state: 'connecting', peers4: 0 });
    expect(lab.reply({ type: 'find', target: hash(0x11) }).nodes4).toBeUndefined();
    // The next round takes the next ones, and in the end all have been asked.
    lab.run(11_000);
    expect(asked(lab).size).toBeLessThanOrEqual(3 * LIMITS.rememberedPings);
    lab.run(5 * MINUTE);
    const all = asked(lab);
    expect(all.size).toBeGreaterThan(20);
  });

  test('one that answers brings us back, and nobody else is asked as a way in', () => {
    const lab = start();
    const nodes = someNodes(30);
    lab.turn((dht, now) => dht.restoreNodes(nodes, now));
    const [ping] = lab.take().filter(({ message }) => message.type === 'ping');
    const node = nodes.find(({ address }) => address.ip.join() === ping?.to.ip.join());
    if (ping === undefined || node === undefined) throw new Error('nobody was asked');
    lab.receive(encodeMessage({ type: 'reply', tid: ping.message.tid, id: node.id }), ping.to);
    expect(lab.dht.state(lab.now)).toMatchObject({ state: 'connected', peers4: 1 });
    const { nodes4 } = lab.reply({ type: 'find', target: node.id });
    expect(nodes4?.length).toBe(26);
  });

  test('ourselves, addresses that nobody has and families without a socket are passed over', () => {
    const lab = start();
    lab.turn((dht, now) =>
      dht.restoreNodes(
        [
          { id: dht.id, address: addressOf(1) },
          { id: hash(0), address: addressOf(2) },
          { id: hash(3), address: { ip: Uint8Array.of(224, 0, 0, 1), port: 4222 } },
          { id: hash(4), address: { ip: addressOf(4).ip, port: 0 } },
          { id: hash(5), address: { ip: new Uint8Array(16).fill(0x20), port: 4222 } },
        ],
        now,
      ),
    );
    expect(lab.take()).toEqual([]);
    expect(lab.dht.state(lab.now).state).toBe('disconnected');
  });
});
