import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../agent/base/bytes.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Message } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { datagramsOf, loadCases, loadVectors, tryDecode } from './vectors.ts';

/** Datagrams that a node drops, or that are not written as the reference writes. */
const UNREADABLE = new Set([
  'wrong-y',
  'tid-array4',
  'tid-over-32-bits',
  'unknown-query',
  'no-a',
  'no-id',
  'id-19-bytes',
  'id-as-str',
  'truncated',
  'find-want-not-an-array',
  'get-where-seq',
  'get-query-without-w',
]);
const WRITTEN_OTHERWISE = new Set([
  'no-y',
  'reverse-key-order',
  'extra-keys',
  'tid-bin4',
  'tid-str4',
  'network-0-explicit',
  'trailing-bytes',
  'find-no-target', // read as the all-zero target
  'get-select-unknown-field', // an unknown field is not remembered, and the reply is no msgpack
]);

describe('messages recorded from the reference', () => {
  for (const file of ['rpc', 'errors', 'edge_cases'].flatMap((name) => [
    name,
    `release-4.3.1/${name}`,
  ])) {
    test(`${file}: every readable one is written again with the same bytes`, () => {
      let exact = 0;
      for (const recorded of loadCases(`${file}.json`)) {
        for (const packet of datagramsOf(recorded)) {
          const message = tryDecode(packet);
          if (message === undefined) {
            expect(
              UNREADABLE.has(recorded.name) || WRITTEN_OTHERWISE.has(recorded.name),
              recorded.name,
            ).toBe(true);
            continue;
          }
          const again = encodeMessage(message);
          if (toHex(again) === toHex(packet)) exact++;
          else expect([...WRITTEN_OTHERWISE], recorded.name).toContain(recorded.name);
          expect(decodeMessage(again), recorded.name).toEqual(message);
        }
      }
      expect(exact).toBeGreaterThan(20);
    });
  }

  test('what a node must drop is not readable', () => {
    for (const recorded of loadCases('edge_cases.json')) {
      if (!UNREADABLE.has(recorded.name)) continue;
      expect(tryDecode(fromHex(recorded.request?.hex ?? '')), recorded.name).toBeUndefined();
    }
  });

  test.each([
    ['network_trace.json', 200],
    ['dhtnode_trace.json', 100],
    ['release-4.3.1/dhtnode_trace.json', 100],
  ])(
    'all traffic sniffed between real nodes is written again with the same bytes: %s',
    (file, least) => {
      const { steps } = loadVectors<{ steps: { packets: { hex: string }[] }[] }>(file);
      const packets = steps.flatMap((step) => step.packets);
      expect(packets.length).toBeGreaterThan(least);
      for (const { hex } of packets)
        expect(toHex(encodeMessage(decodeMessage(fromHex(hex))))).toBe(hex);
    },
  );
});

const hash = fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes) => {
  bytes[0] = 1; // not the all-zero hash
  return new InfoHash(bytes);
});
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const blob = fc.uint8Array({ maxLength: 80 });
const envelope = {
  tid: uint32,
  network: uint32,
  client: fc.boolean(),
  version: fc.constantFrom(undefined, 'o2', 'dw1'),
};
const query = fc.option(
  fc.record({
    select: fc.subarray(['id', 'type', 'owner', 'seq', 'userType'] as const),
    where: fc.array(
      fc.oneof(
        fc.record({ field: fc.constant('id' as const), value: uint64 }),
        fc.record({
          field: fc.constant('type' as const),
          value: fc.integer({ min: 0, max: 0xffff }),
        }),
        fc.record({ field: fc.constant('owner' as const), value: hash }),
        fc.record({ field: fc.constant('userType' as const), value: fc.string() }),
      ),
      { maxLength: 3 },
    ),
  }),
  { nil: undefined },
);
const token = fc.option(blob, { nil: undefined });
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ type: fc.constant('ping' as const), ...envelope, id: hash }),
  fc.record({
    type: fc.constant('get' as const),
    ...envelope,
    id: hash,
    key: hash,
    query,
    want: fc.option(fc.array(uint32, { maxLength: 3 }), { nil: undefined }),
  }),
  fc.record({
    type: fc.constant('put' as const),
    ...envelope,
    id: hash,
    key: hash,
    values: fc.array(fc.integer({ min: 0, max: 100_000 }), { maxLength: 20 }),
    created: fc.option(fc.integer(), { nil: undefined }),
    token,
  }),
  fc.record({
    type: fc.constant('listen' as const),
    ...envelope,
    id: hash,
    key: hash,
    style: fc.constantFrom(0, 1),
    sid: uint32,
    token,
    query,
  }),
  fc.record({
    type: fc.constant('part' as const),
    ...envelope,
    version: fc.constant(undefined),
    pieces: fc.array(fc.record({ index: uint32, offset: uint32, data: blob }), {
      minLength: 1,
      maxLength: 3,
    }),
  }),
);

test('decoding what was encoded gives the message back', () => {
  fc.assert(
    fc.property(message, (sent) => {
      expect(decodeMessage(encodeMessage(sent))).toEqual(sent);
    }),
  );
});
