import { describe, expect, test } from 'vitest';
import { utf8 } from '../../agent/base/bytes.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { VALUE_TYPE } from '../../agent/dht/value.ts';
import { KeyDirectory } from '../../agent/identity/key-directory.ts';
import { longKeyId, parseKeyId, shortKeyId } from '../../agent/identity/keys.ts';
import {
  MAX_CERTIFICATES_PER_LOOKUP,
  MAX_KEY_LOOKUPS,
  MAX_KNOWN_KEYS,
} from '../../agent/identity/limits.ts';
import { FakeNetwork } from './fake-dht.ts';
import { vector, vectorKey } from './fixtures.ts';

const bob = vectorKey('bob').publicKeyDer;
const bobs = {
  kind: 'plain' as const,
  id: 1n,
  type: VALUE_TYPE.certificate,
  data: utf8(vector('certificates').hand_made['bob (self signed)'].pem_chain),
};

describe('KeyDirectory', () => {
  test('gives a key that it has learnt by either id, or both', () => {
    const keys = new KeyDirectory(new FakeNetwork().client());
    keys.learn(bob);
    const [shortId, longId] = [shortKeyId(bob), longKeyId(bob)];
    for (const ids of [{ shortId }, { longId }, { shortId, longId }])
      expect(keys.get(ids)).toEqual(bob);
    expect(keys.get({ shortId, longId: longKeyId(utf8('other')) })).toBeUndefined();
    expect(keys.get({ longId: longKeyId(utf8('other')) })).toBeUndefined();
  });

  test('two who ask for the same wait for one look-up, and later nobody waits', async () => {
    const network = new FakeNetwork();
    const keys = new KeyDirectory(network.client());
    const ids = { shortId: shortKeyId(bob) };
    network.add(ids.shortId, bobs);
    expect(await Promise.all([keys.find(ids), keys.find(ids)])).toEqual([bob, bob]);
    expect(await keys.find(ids)).toEqual(bob);
    expect(network.gets).toBe(1);
  });

  test('what was not found is looked up anew', async () => {
    const network = new FakeNetwork();
    const keys = new KeyDirectory(network.client());
    const ids = { longId: longKeyId(bob) };
    await expect(keys.find(ids)).rejects.toMatchObject({ code: 'no-certificate' });
    network.add(InfoHash.of(ids.longId), bobs);
    expect(await keys.find(ids)).toEqual(bob);
  });

  test('keeps so many keys; the one that was seen longest ago goes', () => {
    const keys = new KeyDirectory(new FakeNetwork().client());
    const key = (i: number) => utf8(`key ${i}`);
    for (let i = 0; i <= MAX_KNOWN_KEYS; i++) {
      keys.learn(key(i));
      keys.learn(key(0));
    }
    expect(keys.stats()).toMatchObject({ known: MAX_KNOWN_KEYS, evicted: 1 });
    expect(keys.get({ shortId: shortKeyId(key(0)) })).toEqual(key(0));
    expect(keys.get({ shortId: shortKeyId(key(1)) })).toBeUndefined();
  });

  test('looks up so many at a time, and examines so much for each', async () => {
    const network = new FakeNetwork();
    const keys = new KeyDirectory(network.client());
    const running = Array.from({ length: MAX_KEY_LOOKUPS }, (_, i) => {
      const shortId = InfoHash.of(`key ${i}`);
      network.hold(shortId);
      for (let n = 0; n < MAX_CERTIFICATES_PER_LOOKUP + 2; n++) network.add(shortId, bobs);
      return keys.find({ shortId });
    });
    const oneMore = keys.find({ shortId: shortKeyId(bob) });
    await expect(oneMore).rejects.toMatchObject({ code: 'too-many-lookups' });
    expect(keys.stats()).toMatchObject({ running: MAX_KEY_LOOKUPS, refusedByLimit: 1 });
    network.release(InfoHash.of('key 0'));
    await expect(running[0]).rejects.toMatchObject({ code: 'no-certificate' });
    expect(keys.stats()).toMatchObject({
      badCertificates: MAX_CERTIFICATES_PER_LOOKUP,
      refusedByLimit: 3,
    });
    keys.close();
    for (const lookup of running) await expect(lookup).rejects.toThrow();
    expect(keys.stats().running).toBe(0);
  });
});

describe('parseKeyId', () => {
  const { key_id, long_id } = vector('keys').keys.bob;

  test('reads both lengths, in either case', () => {
    expect(parseKeyId(key_id).shortId?.hex).toBe(key_id);
    expect(parseKeyId(long_id.toUpperCase())).toEqual({ longId: longKeyId(bob) });
  });

  test.each(['', 'bob', key_id.slice(1), `${key_id}0`, `0x${key_id}`, ` ${key_id}`])(
    'refuses %j and says what it wants',
    (text) => {
      expect(() => parseKeyId(text)).toThrow(
        expect.objectContaining({ code: 'bad-key-id', hint: expect.stringContaining('40') }),
      );
    },
  );
});
