import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Address } from '../../agent/base/address.ts';
import { concatBytes, fromHex, toHex } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { LIMITS } from '../../agent/dht/limits.ts';
import { MsgpackWriter } from '../../agent/dht/msgpack-writer.ts';
import {
  type DatedValue,
  decodeState,
  encodeState,
  type KeptState,
  type StateToKeep,
} from '../../agent/dht/state-file.ts';
import { packValue, unpackValue } from '../../agent/dht/value-codec.ts';
import { addressOf, hash } from './lab.ts';
import { loadVectors } from './vectors.ts';

interface StateFileVector {
  readonly node_id: string;
  readonly file: string;
}

const OLD = loadVectors<StateFileVector>('state_file.json');
const NEW = loadVectors<StateFileVector>('release-4.3.1/state_file.json');

const encode = (state: KeptState<DatedValue>) => concatBytes(...encodeState(counted(state)));

function counted(state: KeptState<DatedValue>): StateToKeep {
  const keys = [...state.values].map(({ key }) => key.hex);
  return { ...state, keys: keys.filter((key, i) => key !== keys[i - 1]).length };
}

function textOf(packed: Uint8Array): string {
  const value = unpackValue(packed);
  return value.kind === 'plain' ? new TextDecoder().decode(value.data) : '';
}

const ip = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);
const infoHash = fc
  .uint8Array({ minLength: 20, maxLength: 20 })
  .map((bytes) => new InfoHash(bytes));
const address: fc.Arbitrary<Address> = fc.record({ ip, port: fc.nat({ max: 65_535 }) });
const date = fc.nat({ max: 4_000_000_000_000 });
const packed = fc
  .record({ id: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }), data: fc.uint8Array() })
  .map(({ id, data }) => packValue({ kind: 'plain', id, type: 0, data }));
const dated: fc.Arbitrary<DatedValue> = fc.record({
  key: infoHash,
  packed,
  source: fc.option(ip, { nil: undefined }),
  createdUnixMs: date,
  expiresUnixMs: date,
});
const state: fc.Arbitrary<KeptState<DatedValue>> = fc.record({
  id: infoHash,
  nodes: fc.array(fc.record({ id: infoHash, address }), { maxLength: 20 }),
  values: fc.array(dated, { maxLength: 20 }),
});

const comparable = ({ id, nodes, values }: KeptState) => ({
  id: id.hex,
  nodes: nodes.map((node) => ({ id: node.id.hex, address: node.address })),
  values: [...values].map(({ key, packed, source, expiresUnixMs }) => ({
    key: key.hex,
    packed: toHex(packed),
    source,
    expiresUnixMs,
  })),
});

describe('files of the reference', () => {
  test.each([
    ['2.4.12', OLD],
    ['4.3.1', NEW],
  ])('%s: id, nodes and values are read', (_, vector) => {
    const read = decodeState(fromHex(vector.file));
    expect(read.id.hex).toBe(vector.node_id);
    expect(read.nodes.map((node) => node.address)).toEqual([
      { ip: Uint8Array.of(127, 0, 0, 1), port: 41_011 },
    ]);
    const values = [...read.values];
    expect(values.map((value) => textOf(value.packed))).toEqual(['state', 'lasting']);
    expect(values.map(({ key }) => key.hex)).toEqual(Array(2).fill(InfoHash.of('hello').hex));
    expect(values.map(({ source }) => source)).toEqual([undefined, undefined]);
  });

  test('dates are those of 4.3.1; ticks of 2.4.12 are none', () => {
    const expiries = (vector: StateFileVector) =>
      [...decodeState(fromHex(vector.file)).values].map(({ expiresUnixMs }) => expiresUnixMs);
    expect(expiries(OLD)).toEqual([undefined, undefined]);
    const [timed, permanent] = expiries(NEW);
    // 0x8c1f8cc46b00bf05: 10 minutes after 0x…6b00bcad, when it was put.
    expect(timed).toBeCloseTo(0x6b00bf05 * 1000 + 587.723, 0);
    expect(permanent).toBeGreaterThan(Date.UTC(2200, 1));
  });
});

describe('our own', () => {
  test('what is written is what is read', () => {
    fc.assert(
      fc.property(state, (kept) => {
        expect(comparable(decodeState(encode(kept)))).toEqual(comparable(kept));
      }),
      { numRuns: 200 },
    );
  });

  test('has the form of 4.3.1, but for the sum at its end', () => {
    const { id, nodes, values } = decodeState(fromHex(NEW.file));
    const [timed] = values;
    if (timed?.expiresUnixMs === undefined) throw new Error('no dated value');
    const { expiresUnixMs } = timed;
    const ours = encode({
      id,
      nodes,
      // The first alone: the other one, permanent there, has a date beyond all dates.
      values: [{ ...timed, createdUnixMs: expiresUnixMs - 600_000, expiresUnixMs }],
    });
    // Our dates are whole milliseconds, theirs nanoseconds.
    const masked = (bytes: Uint8Array) =>
      toHex(bytes).replaceAll(/d7ff.{8}6b00/g, 'd7ff********6b00');
    const [ourHead, ourBlob] = masked(ours).split('c453');
    const [theirHead, theirBlob] = masked(fromHex(NEW.file)).split('c4a7');
    expect(ourHead?.replace(/^85/, '84')).toBe(theirHead);
    expect(`92${ourBlob?.replace(/a373756dc420.*$/, '').slice(2)}`).toBe(
      theirBlob?.slice(0, 2 * 0x53),
    );
  });

  test('comes in pieces, and the pieces of the largest file stay small', () => {
    const data = new Uint8Array(60_000);
    const values = Array.from({ length: 100 }, (_, i) => ({
      key: InfoHash.of(`${i}`),
      packed: packValue({ kind: 'plain', id: 1n, type: 0, data }),
      source: Uint8Array.of(10, 0, 0, 1),
      createdUnixMs: 0,
      expiresUnixMs: 1000,
    }));
    const pieces = [...encodeState({ id: hash(1), nodes: [], values, keys: 100 })];
    expect(pieces.length).toBeGreaterThan(90);
    expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThan(2 ** 17);
    expect([...decodeState(concatBytes(...pieces)).values]).toHaveLength(100);
  });
});

describe('what is refused', () => {
  const sound = encode({
    id: hash(1),
    nodes: [{ id: hash(2), address: addressOf(2) }],
    values: [
      {
        key: hash(3),
        packed: packValue({ kind: 'plain', id: 1n, type: 0, data: new Uint8Array(99) }),
        source: Uint8Array.of(10, 0, 0, 1),
        createdUnixMs: 1_795_000_000_000,
        expiresUnixMs: 1_795_000_600_000,
      },
    ],
  });

  test('every change of a single byte that the sum covers, and of the sum', () => {
    const name = toHex(sound).lastIndexOf('a373756dc420') / 2;
    for (let at = 0; at < sound.length; at++) {
      if (at >= name && at < name + 4) continue; // under another name it is no sum; the rest is whole
      const damaged = sound.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 0x01;
      expect(() => decodeState(damaged), `byte ${at}`).toThrow(DecodeError);
    }
  });

  test('every length but its own', () => {
    for (let length = 0; length < sound.length; length++)
      expect(() => decodeState(sound.slice(0, length)), `${length}`).toThrow(DecodeError);
    expect(() => decodeState(concatBytes(sound, Uint8Array.of(0)))).toThrow(DecodeError);
  });

  test('another version, and msgpack that is something else', () => {
    const empty = (version: number) =>
      new MsgpackWriter()
        .map(4)
        .str('v')
        .int(version)
        .str('id')
        .bin(hash(1).bytes)
        .str('nodes')
        .array(0)
        .str('values')
        .array(0)
        .finish();
    expect(decodeState(empty(1)).nodes).toEqual([]);
    expect(() => decodeState(empty(2))).toThrow('version 2');
    expect(() => decodeState(new MsgpackWriter().map(0).finish())).toThrow('not a state file');
    expect(() => decodeState(new TextEncoder().encode('{"v": 1}'))).toThrow(DecodeError);
  });

  test('more nodes and values than a node can use', () => {
    const many = LIMITS.stateNodes + 5;
    const nodes = Array.from({ length: many }, (_, i) => ({ id: hash(2), address: addressOf(i) }));
    const one = packValue({ kind: 'plain', id: 1n, type: 0, data: new Uint8Array(0) });
    const values = Array.from({ length: LIMITS.stateValues + 5 }, (_, i) => ({
      key: InfoHash.of(`${i >> 8}`),
      packed: one,
      source: undefined,
      createdUnixMs: 0,
      expiresUnixMs: 0,
    }));
    const read = decodeState(encode({ id: hash(1), nodes, values }));
    expect(read.nodes).toHaveLength(LIMITS.stateNodes);
    expect([...read.values]).toHaveLength(LIMITS.stateValues);
  });

  test('only DecodeError escapes, and values are read or stepped over', () => {
    const models = [fromHex(OLD.file), fromHex(NEW.file), sound];
    const changed = fc
      .record({
        model: fc.constantFrom(...models),
        changes: fc.array(fc.record({ at: fc.nat(), byte: fc.nat({ max: 255 }) }), {
          maxLength: 6,
        }),
      })
      .map(({ model, changes }) => {
        const bytes = model.slice();
        for (const { at, byte } of changes) bytes[at % bytes.length] = byte;
        return bytes;
      });
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 200 }), { arbitrary: changed, weight: 5 }),
        (bytes) => {
          try {
            for (const { packed } of decodeState(bytes).values)
              expect(packed.length).toBeGreaterThan(0);
          } catch (error) {
            if (!(error instanceof DecodeError)) throw error;
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('a damaged group of a file without sum costs only itself', () => {
    const bytes = fromHex(OLD.file);
    // The inner array header of the one group: "two values" becomes a number.
    const at = toHex(bytes).indexOf('9292cf') / 2;
    bytes[at] = 0x01;
    const read = decodeState(bytes);
    expect(read.nodes).toHaveLength(1);
    expect([...read.values]).toEqual([]);
  });
});
