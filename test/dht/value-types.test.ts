import { describe, expect, test } from 'vitest';
import { fromHex } from '../../agent/base/bytes.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { LIMITS } from '../../agent/dht/limits.ts';
import type { Value } from '../../agent/dht/value.ts';
import { packValue, unpackValue } from '../../agent/dht/value-codec.ts';
import { admit, lifetimeMs, mayReplace } from '../../agent/dht/value-types.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { plainValue } from '../sim/world.ts';
import { addressOf, hash, Lab } from './lab.ts';
import { loadVectors } from './vectors.ts';

const { key, steps } = loadVectors<{
  edit_rules: {
    key: string;
    steps: { step: string; value: string; stored_data_afterwards: string | null }[];
  };
}>('values_signed.json').edit_rules;
const published = loadVectors<{
  publication: { puts: { from: string; key: string; values: { hex: string }[] }[] };
}>('certificates.json').publication.puts;
const keys = loadVectors<{ keys: Record<string, { sha1_of_long_id: string }> }>('keys.json').keys;

describe('who may put and edit what, step by step as the reference did', () => {
  const stored = new Map<bigint, Value>();
  test.each(steps.map((step) => [step.step, step] as const))('%s', (_, step) => {
    const value = unpackValue(fromHex(step.value));
    const old = stored.get(value.id);
    const admitted =
      old === undefined || mayReplace(old, value, cryptoPolicy)
        ? admit(InfoHash.fromHex(key), value, addressOf(1), cryptoPolicy)
        : undefined;
    if (admitted !== undefined) stored.set(value.id, admitted);
    const now = stored.get(value.id);
    const data = now?.kind === 'plain' ? Buffer.from(now.data).toString('latin1') : null;
    expect(data).toBe(step.stored_data_afterwards);
  });
});

describe('a certificate', () => {
  test('is stored at both ids of its key and nowhere else', () => {
    for (const { from, key: shortId, values } of published) {
      const value = unpackValue(fromHex(values[0]?.hex ?? ''));
      const at = (where: InfoHash) => admit(where, value, addressOf(1), cryptoPolicy);
      expect(at(InfoHash.fromHex(shortId))).toBe(value);
      expect(at(InfoHash.fromHex(keys[from]?.sha1_of_long_id ?? ''))).toBe(value);
      expect(at(hash(1))).toBeUndefined();
    }
  });

  test('may be replaced by another of the same key', () => {
    const [a, b] = published.map(({ values }) => unpackValue(fromHex(values[0]?.hex ?? '')));
    if (a === undefined || b === undefined) throw new Error('two certificates are needed');
    expect(mayReplace(a, a, cryptoPolicy)).toBe(true);
    const other = published.find(({ from }) => from !== published[0]?.from);
    const theirs = unpackValue(fromHex(other?.values[0]?.hex ?? ''));
    expect(mayReplace(a, theirs, cryptoPolicy)).toBe(false);
    expect(mayReplace(a, plainValue(1n, 'no certificate'), cryptoPolicy)).toBe(false);
  });
});

test('an encrypted value cannot be edited, whatever is inside', () => {
  const cypher: Value = { kind: 'encrypted', id: 1n, cypher: Uint8Array.of(1) };
  expect(mayReplace(cypher, { ...cypher, cypher: Uint8Array.of(2) }, cryptoPolicy)).toBe(false);
});

test.each([
  [0, 600],
  [1, 300],
  [2, 900],
  [3, 300],
  [4, 604_800],
  [5, 60],
  [8, 604_800],
  [4242, 600],
])('type %i lives %i s', (type, seconds) => {
  expect(lifetimeMs(plainValue(1n, '', type))).toBe(seconds * 1000);
});

test('an IP announcement over IPv6 gets the address it came from, and keeps its port', () => {
  const recorded = loadVectors<{ values: { name: string; hex: string }[] }>('value_types.json');
  const hex = recorded.values.find(({ name }) => name === 'IpServiceAnnouncement IPv6')?.hex ?? '';
  const ip = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
  const value = admit(hash(1), unpackValue(fromHex(hex)), { ip, port: 9 }, cryptoPolicy);
  if (value?.kind !== 'plain') throw new Error('refused');
  const bytes = value.data;
  expect(bytes.length).toBe(2 + 28);
  expect([...bytes.subarray(2, 6)]).toEqual([10, 0, 4444 >> 8, 4444 & 255]);
  expect(bytes.subarray(10, 26)).toEqual(ip);
});

test('the signatures of strangers are checked at a bounded rate', () => {
  let checks = 0;
  const policy = {
    ...cryptoPolicy,
    verifySignature: () => {
      checks++;
      return false;
    },
  };
  const lab = new Lab({ policy });
  const signed = unpackValue(fromHex(steps[0]?.value ?? ''));
  const token = lab.token();
  for (let i = 0; i < 500; i++) {
    const values = [packValue({ ...signed, id: BigInt(i + 1) })];
    expect(lab.ask({ type: 'put', key: hash(1), values, token }).length).toBe(1);
  }
  expect(checks).toBe(LIMITS.checksPerSource);
  expect(lab.dht.stats().server.checksRefused).toBe(500 - checks);
});
