import { expect, test } from 'vitest';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { loadVectors } from './vectors.ts';

const vectors = loadVectors<{
  get: { input_utf8: string; infohash: string }[];
  node_id_from_identity: { key_id: string; node_id: string };
}>('infohash.json');

test('hashes of texts are those of the reference', () => {
  for (const { input_utf8: text, infohash } of vectors.get)
    expect(InfoHash.of(text).hex).toBe(infohash);
  const { key_id: keyId, node_id: nodeId } = vectors.node_id_from_identity;
  expect(InfoHash.of(`node:${keyId}`).hex).toBe(nodeId);
});

test('a hash is not changed by what is made of its copy', () => {
  const hash = InfoHash.of('node');
  const { hex } = hash;
  hash.bytes.slice().fill(0);
  expect(new InfoHash(hash.bytes).hex).toBe(hex);
});

test('hashes that are equal have one key in maps, others have others', () => {
  const [a, b, c] = ['x', 'x', 'y'].map((text) => InfoHash.of(text));
  expect(a?.key).toBe(b?.key);
  expect(a?.key).not.toBe(c?.key);
  expect(new InfoHash(new Uint8Array(20)).isZero).toBe(true);
  expect(a?.isZero).toBe(false);
});
