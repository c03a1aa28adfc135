import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { commonBits, compareDistance, InfoHash } from '../../agent/dht/infohash.ts';
import { LIMITS, PROTOCOL } from '../../agent/dht/limits.ts';
import { Node } from '../../agent/dht/node.ts';
import { RoutingTable } from '../../agent/dht/routing-table.ts';
import { seededRandom } from '../sim/seeded.ts';
import { addressOf } from './lab.ts';

const hash = fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes) => new InfoHash(bytes));
/** Near to each other often enough. */
const nearHash = fc
  .record({ at: fc.nat({ max: 19 }), byte: fc.nat({ max: 255 }), tail: fc.nat({ max: 255 }) })
  .map(({ at, byte, tail }) => {
    const bytes = new Uint8Array(20);
    bytes[at] = byte;
    bytes[19] = (bytes[19] ?? 0) ^ tail;
    return new InfoHash(bytes);
  });
const anyHash = fc.oneof(hash, nearHash);

const asNumber = (a: InfoHash, b: InfoHash): bigint =>
  a.bytes.reduce((sum, byte, i) => (sum << 8n) | BigInt(byte ^ (b.bytes[i] ?? 0)), 0n);

describe('XOR order', () => {
  test('is that of the distances as numbers', () => {
    fc.assert(
      fc.property(anyHash, anyHash, anyHash, (target, a, b) => {
        const [toA, toB] = [asNumber(target, a), asNumber(target, b)];
        const order = toA < toB ? -1 : toA > toB ? 1 : 0;
        expect(Math.sign(compareDistance(target, a, b))).toBe(order);
      }),
    );
  });

  test('common bits are the leading zeros of the distance', () => {
    fc.assert(
      fc.property(anyHash, anyHash, (a, b) => {
        const distance = asNumber(a, b);
        expect(commonBits(a, b)).toBe(distance === 0n ? 160 : 160 - distance.toString(2).length);
      }),
    );
  });
});

function goodNode(id: InfoHash, number: number): Node {
  const node = new Node(id, addressOf(number));
  node.heard(0);
  node.lastReply = 0;
  return node;
}

test('the closest good nodes of a table are the closest of all in it, in order', () => {
  fc.assert(
    fc.property(anyHash, fc.array(anyHash, { maxLength: 120 }), anyHash, (self, ids, target) => {
      const table = new RoutingTable(self);
      ids.forEach((id, i) => {
        if (!id.equals(self)) table.insert(goodNode(id, i), 0);
      });
      const all = [...table.nodes()].sort((a, b) => compareDistance(target, a.id, b.id));
      const closest = table.closestGood(target, PROTOCOL.targetNodes, 0).map(({ id }) => id.hex);
      expect(closest).toEqual(all.slice(0, PROTOCOL.targetNodes).map(({ id }) => id.hex));
      for (const bucket of table.buckets)
        expect(bucket.nodes.length).toBeLessThanOrEqual(PROTOCOL.targetNodes);
    }),
  );
});

test('a random id for a bucket belongs into it', () => {
  const random = seededRandom(4);
  const self = new InfoHash(random.bytes(20));
  const table = new RoutingTable(self);
  for (let i = 0; i < 500; i++) table.insert(goodNode(new InfoHash(random.bytes(20)), i), 0);
  expect(table.buckets.length).toBeGreaterThan(3);
  table.buckets.forEach((bucket, index) => {
    for (let i = 0; i < 20; i++) expect(table.bucketOf(table.randomId(index, random))).toBe(bucket);
  });
});

describe('a full bucket', () => {
  /** Ids that share no bit with us, so that no split helps. */
  const far = (i: number) => new InfoHash(new Uint8Array(20).fill(0x80 + i));
  const setUp = () => {
    const table = new RoutingTable(new InfoHash(new Uint8Array(20)));
    const nodes = Array.from({ length: 8 }, (_, i) => goodNode(far(i), i));
    for (const node of nodes) table.insert(node, 0);
    // One that is near makes us split: from now on the far ones have a bucket to themselves.
    table.insert(goodNode(new InfoHash(new Uint8Array(20).fill(1)), 100), 0);
    return { table, nodes };
  };

  test('of good nodes takes nobody', () => {
    const { table } = setUp();
    const newcomer = goodNode(far(20), 20);
    expect(table.insert(newcomer, 0)).toBeUndefined();
    expect(newcomer.inTable).toBe(false);
  });

  test('gives the place of an expired node away', () => {
    const { table, nodes } = setUp();
    const [gone] = nodes as [Node];
    gone.expired = true;
    const newcomer = goodNode(far(20), 20);
    table.insert(newcomer, 0);
    expect([newcomer.inTable, gone.inTable]).toEqual([true, false]);
    expect(gone.uses).toBe(0);
  });

  test('has its dubious node asked, and keeps the newcomer for its place', () => {
    const { table, nodes } = setUp();
    const later = PROTOCOL.nodeSilentMs + 1;
    for (const node of nodes.slice(1)) node.heard(later);
    const newcomer = goodNode(far(20), 20);
    expect(table.insert(newcomer, later)).toBe(nodes[0]);
    expect(newcomer.uses).toBe(1);
    (nodes[0] as Node).expired = true;
    expect(table.removeExpired()).toEqual([newcomer]);
    table.insert(newcomer, later);
    expect(newcomer.inTable).toBe(true);
    expect(newcomer.uses).toBe(1);
  });
});

test('a client never gets in, and a bucket is found for every id', () => {
  const table = new RoutingTable(new InfoHash(new Uint8Array(20)));
  const client = goodNode(new InfoHash(new Uint8Array(20).fill(9)), 1);
  client.isClient = true;
  table.insert(client, 0);
  expect(client.inTable).toBe(false);
  expect(table.buckets.length).toBeLessThanOrEqual(LIMITS.buckets);
});
