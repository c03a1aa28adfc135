import { expect, test } from 'vitest';
import { DecodeError } from '../../agent/base/errors.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { loadVectors } from './vectors.ts';

const vectors = loadVectors<{
  get: { input_utf8: string; infohash: string }[];
  parse_hex: { input: string; parsed: string }[];
  node_id_from_identity: { key_id: string; node_id: string };
}>('infohash.json');

test('hashes of texts are those of the reference', () => {
  for (const { input_utf8: text, infohash } of vectors.get)
    expect(InfoHash.of(text).hex).toBe(infohash);
  const { key_id: keyId, node_id: nodeId } = vectors.node_id_from_identity;
  expect(InfoHash.of(`node:${keyId}`).hex).toBe(nodeId);
});

test('text is read as the reference reads it, or refused where that gives zero or only a part', () => {
  expect(vectors.parse_hex.length).toBeGreaterThan(3);
  for (const { input, parsed } of vectors.parse_hex) {
    if (input.toLowerCase() === parsed) expect(InfoHash.fromHex(input).hex).toBe(parsed);
    else expect(() => InfoHash.fromHex(input)).toThrow(DecodeError);
  }
});

test('hashes that are equal have one key in maps, others have others', () => {
  const [a, b, c] = ['x', 'x', 'y'].map((text) => InfoHash.of(text));
  expect(a?.key).toBe(b?.key);
  expect(a?.key).not.toBe(c?.key);
  expect(new InfoHash(new Uint8Array(20)).isZero).toBe(true);
  expect(a?.isZero).toBe(false);
});
