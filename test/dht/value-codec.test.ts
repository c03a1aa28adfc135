import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromHex, toHex, utf8 } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { MsgpackReader } from '../../agent/dht/msgpack-reader.ts';
import { MsgpackWriter } from '../../agent/dht/msgpack-writer.ts';
import { matches, readQuery, writeQuery } from '../../agent/dht/query.ts';
import type { Value } from '../../agent/dht/value.ts';
import {
  packBody,
  packSealed,
  packValue,
  sameValue,
  storedType,
  unpackSealed,
  unpackValue,
} from '../../agent/dht/value-codec.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { loadVectors } from './vectors.ts';

interface Captured {
  readonly name: string;
  readonly value: string;
  readonly signed_bytes: string;
}
const signed = loadVectors<{
  captured: Captured[];
  edit_rules: { steps: { step: string; value: string }[] };
}>('values_signed.json');
const encrypted = loadVectors<{
  captured: (Captured & { cipher: string; plain: string })[];
}>('values_encrypted.json');
const types = loadVectors<{ values: { name: string; hex: string }[] }>('value_types.json');
const published = loadVectors<{
  publication: { puts: { key: string; values: { hex: string }[] }[] };
}>('certificates.json').publication.puts;

describe('values of the reference', () => {
  test.each(signed.captured.map((c) => [c.name, c] as const))('%s', (_, captured) => {
    const value = unpackValue(fromHex(captured.value));
    expect(toHex(packValue(value))).toBe(captured.value);
    if (value.kind !== 'plain') throw new Error('not plain');
    expect(toHex(packBody(value))).toBe(captured.signed_bytes);
    expect(cryptoPolicy.verifySignature(value)).toBe(true);
  });

  test('what is inside an encrypted value is packed and read the same way', () => {
    for (const captured of encrypted.captured) {
      const value = unpackValue(fromHex(captured.value));
      expect(value.kind).toBe('encrypted');
      expect(storedType(value)).toBe(0);
      expect(toHex(packValue(value))).toBe(captured.value);
      const inside = unpackSealed(fromHex(captured.plain), value.id);
      expect(toHex(packSealed(inside))).toBe(captured.plain);
      expect(toHex(packBody(inside))).toBe(captured.signed_bytes);
      expect(inside.signed?.to).toBeInstanceOf(InfoHash);
      expect(cryptoPolicy.verifySignature(inside)).toBe(true);
    }
  });

  test('each type, and certificates', () => {
    const packed = [
      ...types.values.slice(0, 6).map(({ hex }) => hex),
      ...published.flatMap(({ values }) => values.map(({ hex }) => hex)),
      ...signed.edit_rules.steps.map(({ value }) => value),
    ];
    for (const hex of packed) expect(toHex(packValue(unpackValue(fromHex(hex))))).toBe(hex);
    for (const { key, values } of published) {
      const value = unpackValue(fromHex(values[0]?.hex ?? ''));
      if (value.kind !== 'plain') throw new Error('not plain');
      expect(cryptoPolicy.certificateKeyIds(value.data)?.short.hex).toBe(key);
    }
  });

  test('a query', () => {
    const hex = types.values.find(({ name }) => name === 'Query')?.hex ?? '';
    const query = readQuery(new MsgpackReader(fromHex(hex)));
    expect(query.select).toEqual(['id', 'seq']);
    expect(query.where.map(({ field }) => field)).toEqual(['id', 'type', 'owner', 'userType']);
    const out = new MsgpackWriter();
    writeQuery(out, query);
    expect(toHex(out.finish())).toBe(hex);
  });
});

const value: fc.Arbitrary<Value> = fc.oneof(
  fc.record({
    kind: fc.constant('encrypted' as const),
    id: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    cypher: fc.uint8Array({ minLength: 1, maxLength: 700 }),
  }),
  fc.record(
    {
      kind: fc.constant('plain' as const),
      id: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      type: fc.integer({ min: 0, max: 0xffff }),
      data: fc.uint8Array({ maxLength: 700 }),
      userType: fc.string({ minLength: 1, maxLength: 40 }),
      priority: fc.integer({ min: 1, max: 9 }),
      pushType: fc.string({ minLength: 1 }),
      signed: fc.record({
        owner: fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => {
          bytes[0] = 0x30; // DER, not PEM
          return bytes;
        }),
        seq: fc.integer({ min: 0, max: 0xffff }),
        signature: fc.uint8Array({ maxLength: 300 }),
      }),
    },
    { requiredKeys: ['kind', 'id', 'type', 'data'] },
  ),
);

test('unpacking what was packed gives the value back', () => {
  fc.assert(
    fc.property(value, (original) => {
      const packed = packValue(original);
      const again = unpackValue(packed);
      expect(again).toEqual(original);
      expect(sameValue(again, original)).toBe(true);
    }),
  );
});

test('a packed value cut short anywhere is unreadable', () => {
  const packed = fromHex(signed.captured[0]?.value ?? '');
  for (let length = 0; length < packed.length; length++)
    expect(() => unpackValue(packed.subarray(0, length))).toThrow(DecodeError);
});

describe('reading is strict where the reference is', () => {
  const pack = (write: (out: MsgpackWriter) => void) => {
    const out = new MsgpackWriter();
    write(out);
    return out.finish();
  };
  const body = (out: MsgpackWriter, type: number) =>
    out.str('dat').map(1).str('body').map(2).str('type').int(type).str('data').bin(utf8('x'));

  test('an id below zero, a type over 16 bits, no dat: unreadable', () => {
    const bad = [
      pack((out) => body(out.map(2).str('id').int(-5), 0)),
      pack((out) => body(out.map(2).str('id').int(5), 0x1_0000)),
      pack((out) => out.map(2).str('id').int(5).str('p').int(1)),
    ];
    for (const packed of bad) expect(() => unpackValue(packed)).toThrow(DecodeError);
  });

  test('of a repeated entry the first counts', () => {
    const packed = pack((out) => body(out.map(3).str('id').int(5).str('id').int(6), 0));
    expect(unpackValue(packed).id).toBe(5n);
  });

  test('an owner without seq or signature is unreadable, a signature without owner means nothing', () => {
    const withOwner = pack((out) =>
      out
        .map(2)
        .str('id')
        .int(5)
        .str('dat')
        .map(1)
        .str('body')
        .map(3)
        .str('owner')
        .bin(utf8('0'))
        .str('type')
        .int(0)
        .str('data')
        .bin(utf8('x')),
    );
    expect(() => unpackValue(withOwner)).toThrow(DecodeError);
    const withSignature = pack((out) =>
      out
        .map(2)
        .str('id')
        .int(5)
        .str('dat')
        .map(2)
        .str('sig')
        .bin(utf8('s'))
        .str('body')
        .map(2)
        .str('type')
        .int(0)
        .str('data')
        .bin(utf8('x')),
    );
    expect(unpackValue(withSignature)).toEqual({ kind: 'plain', id: 5n, type: 0, data: utf8('x') });
  });

  test('an owner in PEM is the same owner', () => {
    const original = unpackValue(fromHex(signed.captured[0]?.value ?? ''));
    if (original.kind !== 'plain' || original.signed === undefined) throw new Error('not signed');
    const base64 = Buffer.from(original.signed.owner).toString('base64');
    const owner = utf8(`-----BEGIN PUBLIC KEY-----\n${base64}\n-----END PUBLIC KEY-----\n`);
    const packed = packValue({ ...original, signed: { ...original.signed, owner } });
    expect(unpackValue(packed)).toEqual(original);
  });
});

test('filters go by what a storing node sees', () => {
  const inside = unpackValue(fromHex(signed.captured[0]?.value ?? ''));
  if (inside.kind !== 'plain' || inside.signed === undefined) throw new Error('not signed');
  const owner = InfoHash.of(inside.signed.owner);
  const cypher: Value = { kind: 'encrypted', id: 4n, cypher: utf8('?') };
  expect(matches({ select: [], where: [{ field: 'owner', value: owner }] }, inside)).toBe(true);
  expect(matches({ select: [], where: [{ field: 'owner', value: owner }] }, cypher)).toBe(false);
  expect(matches({ select: [], where: [{ field: 'type', value: 0 }] }, cypher)).toBe(true);
  const both = [
    { field: 'id', value: 4n },
    { field: 'userType', value: 'x' },
  ] as const;
  expect(matches({ select: [], where: both }, cypher)).toBe(false);
});
