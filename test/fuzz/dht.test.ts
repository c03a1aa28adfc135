import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromHex } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { LIMITS } from '../../agent/dht/limits.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { MsgpackReader } from '../../agent/dht/msgpack-reader.ts';
import { readFields, readQuery } from '../../agent/dht/query.ts';
import { unpackSealed, unpackValue } from '../../agent/dht/value-codec.ts';
import { addressOf, Lab } from '../dht/lab.ts';
import { datagramsOf, loadCases, loadVectors } from '../dht/vectors.ts';

/** Whatever the bytes, a decoder gives a result or a DecodeError. */

const messages = ['rpc', 'errors', 'edge_cases'].flatMap((name) =>
  loadCases(`${name}.json`).flatMap(datagramsOf),
);
const values = loadVectors<{ captured: { value: string }[] }>('values_signed.json').captured.map(
  ({ value }) => fromHex(value),
);

const DECODERS: Record<string, (bytes: Uint8Array) => unknown> = {
  decodeMessage,
  unpackValue,
  unpackSealed: (bytes) => unpackSealed(bytes, 1n),
  readQuery: (bytes) => readQuery(new MsgpackReader(bytes)),
  readFields: (bytes) => readFields(new MsgpackReader(bytes)),
  skip: (bytes) => new MsgpackReader(bytes).skip(),
};

/** A recorded datagram or value with some bytes changed, cut or repeated. */
const mutated = fc
  .record({
    model: fc.constantFrom(...messages, ...values),
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

describe('only DecodeError escapes', () => {
  for (const [name, decode] of Object.entries(DECODERS)) {
    test(name, () => {
      fc.assert(
        fc.property(hostile, (bytes) => {
          try {
            decode(bytes);
          } catch (error) {
            if (!(error instanceof DecodeError)) throw error;
          }
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
