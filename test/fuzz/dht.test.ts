import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromHex } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { readCompactNodes } from '../../agent/dht/addresses.ts';
import { LIMITS } from '../../agent/dht/limits.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { MsgpackReader } from '../../agent/dht/msgpack-reader.ts';
import { PartAssembler } from '../../agent/dht/part-assembler.ts';
import { decodeDiscovery } from '../../agent/dht/peer-discovery.ts';
import { readFields, readQuery } from '../../agent/dht/query.ts';
import { Scheduler } from '../../agent/dht/scheduler.ts';
import { decodeState } from '../../agent/dht/state-file.ts';
import { unpackSealed, unpackValue } from '../../agent/dht/value-codec.ts';
import { brokenCaps } from '../dht/caps.ts';
import { addressOf, Lab } from '../dht/lab.ts';
import { loadVectors } from '../dht/vectors.ts';
import { EngineUnderFire } from './engine-under-fire.ts';
import { RECORDED_DATAGRAMS } from './hostile-peers.ts';

/** Whatever the bytes, a decoder gives a result or a DecodeError. */

const values = loadVectors<{ captured: { value: string }[] }>('values_signed.json').captured.map(
  ({ value }) => fromHex(value),
);

const DECODERS: Record<string, (bytes: Uint8Array) => unknown> = {
  decodeMessage,
  unpackValue,
  unpackSealed: (bytes) => unpackSealed(bytes, 1n),
  readQuery: (bytes) => readQuery(new MsgpackReader(bytes)),
  readFields: (bytes) => readFields(new MsgpackReader(bytes)),
  decodeState: (bytes) => [...decodeState(bytes).values],
  decodeDiscovery,
  skip: (bytes) => new MsgpackReader(bytes).skip(),
};

/** A recorded datagram or value with some bytes changed, cut or repeated. */
const mutated = fc
  .record({
    model: fc.constantFrom(...RECORDED_DATAGRAMS, ...values),
    changes: fc.array(fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) }), {
      minLength: 1,
      maxLength: 6,
    }),
    cut: fc.option(fc.nat(), { nil: undefined }),
  })
  .map(({ model, changes, cut }) => {
    const bytes = model.slice();
    for (const { at, byte } of changes) bytes[at % bytes.length] = byte;
    return cut === undefined ? bytes : bytes.slice(0, cut % bytes.length);
  });

const hostile = fc.oneof(fc.uint8Array({ maxLength: 300 }), { arbitrary: mutated, weight: 4 });

/** @returns true; throws what a decoder must not */
function onlyDecodeError(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean {
  try {
    decode(bytes);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
  return true;
}

describe('only DecodeError escapes', () => {
  for (const [name, decode] of Object.entries(DECODERS)) {
    test(name, () => {
      fc.assert(
        fc.property(hostile, (bytes) => {
          onlyDecodeError(decode, bytes);
        }),
        { numRuns: 1500 },
      );
    });
  }
});

test('the engine takes any datagrams in any order, and keeps to its bounds', () => {
  const datagram = fc.record({
    bytes: hostile,
    from: fc.nat({ max: 30 }),
    pauseMs: fc.nat({ max: 900 }),
  });
  fc.assert(
    fc.property(fc.array(datagram, { minLength: 50, maxLength: 120 }), (datagrams) => {
      const lab = new Lab();
      lab.dht.setWallClock(1_795_219_200_000, lab.now);
      for (const { bytes, from, pauseMs } of datagrams) {
        lab.receive(bytes, addressOf(1 + from));
        lab.run(pauseMs);
      }
      const { rpc, storage, server } = lab.dht.stats();
      expect(rpc.assemblyBytes).toBeLessThanOrEqual(LIMITS.assemblyBytes);
      expect(rpc.nodes4).toBeLessThanOrEqual(LIMITS.nodes);
      expect(storage.bytes).toBeLessThanOrEqual(LIMITS.storageBytes);
      expect(server.listeners).toBeLessThanOrEqual(LIMITS.listeners);
      // It still answers.
      expect(lab.reply({ type: 'ping' }, addressOf(200)).seenIp).toEqual(addressOf(200).ip);
    }),
    { numRuns: 20 },
  );
});

test('thousands of hostile datagrams are each counted once, break no cap and silence nobody', () => {
  const engine = new EngineUnderFire(20);
  for (let i = 0; i < 6000; i++) engine.step();
  engine.check();
  expect(brokenCaps(engine.dht.stats())).toEqual([]);
  const { rpc, server, storage } = engine.dht.stats();
  // It got past the door: queries, answers to our own questions and parts were taken up.
  for (const counter of [rpc.queries, rpc.replies, rpc.errors, rpc.parts, server.listeners])
    expect(counter).toBeGreaterThan(5);
  expect(storage.values).toBeGreaterThan(0);
});

describe('containers in containers, and lengths that nobody sends', () => {
  const head = fc.constantFrom(
    [],
    [0x84, 0xa1, 0x61, 0x81, 0xa2, 0x69, 0x64], // {a: {id: …
    [0x84, 0xa1, 0x70, 0x81, 0x00, 0x82, 0xa1, 0x64], // {p: {0: {d: …
    [0x82, 0xa2, 0x69, 0x64, 0x01, 0xa3, 0x64, 0x61, 0x74], // {id: 1, dat: …
    [0x82, 0xa1, 0x73], // {s: …
    [0x82, 0xa1, 0x66], // {f: …
  );
  const nested = fc
    .record({
      code: fc.constantFrom(0x91, 0x9f, 0x81, 0x8f, 0xdc, 0xdd, 0xde, 0xdf),
      depth: fc.integer({ min: 1, max: 60_000 }),
    })
    .map(({ code, depth }) => new Array<number>(depth).fill(code));
  const huge = fc.constantFrom(
    [0xdd, 0xff, 0xff, 0xff, 0xff],
    [0xdf, 0xff, 0xff, 0xff, 0xff, 0x01, 0x01],
    [0xc6, 0xff, 0xff, 0xff, 0xff, 0x01],
    [0xdb, 0x7f, 0xff, 0xff, 0xff, 0x41],
    [0xc9, 0xff, 0xff, 0xff, 0xff, 0x01, 0x01],
    [0xdc, 0xff, 0xff, 0x01],
  );
  const bomb = fc.tuple(head, fc.oneof(nested, huge)).map((parts) => Uint8Array.from(parts.flat()));

  for (const [name, decode] of Object.entries(DECODERS)) {
    test(name, () => {
      fc.assert(
        fc.property(bomb, (bytes) => {
          const start = performance.now();
          expect(onlyDecodeError(decode, bytes)).toBe(true);
          // Linear in the bytes that are there, whatever they announce.
          expect(performance.now() - start).toBeLessThan(500);
        }),
        { numRuns: 60 },
      );
    });
  }
});

test('a list of nodes is read whole or not at all', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.constantFrom(4, 6), (bytes, family) => {
      const size = family === 4 ? 26 : 38;
      const nodes = readCompactNodes(bytes, family);
      expect(nodes.length).toBe(bytes.length % size === 0 ? bytes.length / size : 0);
    }),
  );
});

test('parts in any order, repeated, overlapping or false make the value or nothing', () => {
  const from = addressOf(1);
  const value = Uint8Array.from({ length: 5000 }, (_, i) => i);
  const piece = fc.record({
    index: fc.nat({ max: 2 }),
    offset: fc.oneof(fc.constantFrom(0, 1000, 2000, 3000, 4000), fc.nat({ max: 70_000 })),
    length: fc.constantFrom(0, 1, 1000, 1280, 4000),
  });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.nat({ max: 40 }), (pieces, headerAt) => {
      const scheduler = new Scheduler();
      const whole: Uint8Array[] = [];
      const assembler = new PartAssembler<string>(scheduler, (_, values) => whole.push(...values));
      const start = () => assembler.start('put', 7, [value.length], 100, from, 0);
      for (const [i, { index, offset, length }] of pieces.entries()) {
        if (i === headerAt) start();
        const data = value.slice(offset, offset + length);
        assembler.part({ type: 'part', tid: 7, pieces: [{ index, offset, data }] }, from, 0);
      }
      if (headerAt >= pieces.length) start();
      for (const bytes of whole) expect(bytes).toEqual(value);
      scheduler.runDue(20_000);
      expect([assembler.size, assembler.bytes]).toEqual([0, 0]);
    }),
  );
});
