import { beforeEach, describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import type { DhtClient } from '../../agent/dht/client.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { type EncryptedValue, VALUE_TYPE, type Value } from '../../agent/dht/value.ts';
import { openValue, signValue } from '../../agent/identity/envelope.ts';
import { longKeyId, parseKeyId, shortKeyId } from '../../agent/identity/keys.ts';
import { MAX_PUTS_IN_WORK, MAX_REMEMBERED_PUTS } from '../../agent/identity/limits.ts';
import { SecureDht } from '../../agent/identity/secure-dht.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import { FakeNetwork } from './fake-dht.ts';
import { FIXTURE_UNIX_MS, fixtureIdentity, seededRandom, vector, vectorKey } from './fixtures.ts';

const alice = vectorKey('alice');
const bob = vectorKey('bob');
const verifier = new SignatureVerifier();
const key = InfoHash.of('status');
const text = (words: string) => ({ type: 0, data: utf8(words), userType: 'text/plain' });

let network: FakeNetwork;
let writer: SecureDht;

/** A writer with alice's key. */
function writerOn(dht: DhtClient): SecureDht {
  return new SecureDht({
    dht,
    identity: { ...fixtureIdentity('front'), devicePrivateKey: alice },
    random: seededRandom('value-writer'),
    now: () => 0,
    unixMs: () => FIXTURE_UNIX_MS,
  });
}

beforeEach(() => {
  network = new FakeNetwork();
  writer = writerOn(network.client());
});

const stored = (id: bigint) => network.at(key).find((value) => value.id === id) as Value;
const put = (words: string, permanent = false) =>
  writer.putSigned(key, text(words), { valueId: 7n, permanent });

describe('putSigned', () => {
  test('starts at 0, and each edit is one higher and replaces the one before', async () => {
    for (const seq of [0, 1, 2]) {
      await put(`version ${seq}`).result;
      expect(stored(7n)).toMatchObject({ data: utf8(`version ${seq}`), signed: { seq } });
    }
    expect(network.at(key).length).toBe(1);
  });

  test('a random id is not looked up first', async () => {
    const first = writer.putSigned(key, text('one'));
    await first.result;
    expect(network.gets).toBe(0);
    expect(stored(first.valueId)).toMatchObject({ signed: { seq: 0 } });
    // The caller may edit it all the same.
    await writer.putSigned(key, text('two'), { valueId: first.valueId }).result;
    expect(stored(first.valueId)).toMatchObject({ data: utf8('two'), signed: { seq: 1 } });
  });

  test('goes above what the same key has put before this process began', async () => {
    network.add(key, await signValue(text('old'), alice, { id: 7n, seq: 41 }));
    await put('new').result;
    expect(stored(7n)).toMatchObject({ signed: { seq: 42 } });
  });

  test('takes no sequence number from others, nor from forgeries in our name', async () => {
    network.add(key, await signValue(text('by bob'), bob, { id: 7n, seq: 99 }));
    const ours = await signValue(text('ours'), alice, { id: 7n, seq: 5 });
    network.add(key, { ...ours, data: utf8('forged') });
    await put('new').result;
    expect(stored(7n)).toMatchObject({ signed: { seq: 0 } });
  });

  test('edits that are asked for at once leave in that order, each with its own number', async () => {
    const puts = ['a', 'b', 'c'].map((words) => put(words, true));
    await Promise.all(puts.map(({ result }) => result));
    expect(stored(7n)).toMatchObject({ data: utf8('c'), signed: { seq: 2 } });
  });

  test('counts on from what is announced though the network has lost it', async () => {
    await put('first', true).result;
    network.values.clear();
    await put('second', true).result;
    expect(stored(7n)).toMatchObject({ signed: { seq: 1 } });
  });

  test('an edit of a permanent put is permanent without a gap, and only the last can end it', async () => {
    const first = put('first', true);
    await first.result;
    const second = put('second', true);
    first.cancel();
    expect(network.permanent.size).toBe(1);
    await second.result;
    first.cancel();
    expect(network.permanent.size).toBe(1);
    second.cancel();
    expect(network.permanent.size).toBe(0);
  });

  test('an edit that is cancelled before it left never leaves', async () => {
    await put('first').result;
    const second = put('second');
    second.cancel();
    expect(await second.result).toEqual({ acknowledged: 0 });
    expect(stored(7n)).toMatchObject({ data: utf8('first') });
  });

  test('never wraps: after the last number it says so, and what is there stays', async () => {
    network.add(key, await signValue(text('last'), alice, { id: 7n, seq: 65_534 }));
    await put('the very last').result;
    expect(stored(7n)).toMatchObject({ signed: { seq: 65_535 } });
    await expect(put('one too many').result).rejects.toMatchObject({
      code: 'sequence-exhausted',
      hint: expect.stringContaining('another value id'),
    });
    expect(stored(7n)).toMatchObject({ data: utf8('the very last') });
  });

  test('signs with 2048 and 4096 bits alike', async () => {
    for (const name of ['alice', 'carol'] as const) {
      const identity = { ...fixtureIdentity('front'), devicePrivateKey: vectorKey(name) };
      const dht = network.client();
      const random = seededRandom(name);
      const own = new SecureDht({ dht, identity, random, now: () => 0, unixMs: () => undefined });
      const { valueId, result } = own.putSigned(key, text(name));
      await result;
      const value = stored(valueId);
      expect(value.kind === 'plain' && verifier.verify(value)).toBe(true);
    }
  });
});

describe('bounds', () => {
  test('puts that wait to be signed are bounded, and the error says so', async () => {
    network.hold(key);
    const puts = Array.from({ length: MAX_PUTS_IN_WORK }, (_, i) =>
      writer.putSigned(key, text('x'), { valueId: BigInt(i + 1) }),
    );
    await expect(put('one more').result).rejects.toMatchObject({ code: 'too-many-puts' });
    expect(writer.stats().puts).toMatchObject({ inWork: MAX_PUTS_IN_WORK, refusedByLimit: 1 });
    network.release(key);
    await Promise.all(puts.map(({ result }) => result));
    expect(writer.stats().puts.inWork).toBe(0);
  });

  test('remembered places are bounded; one that is forgotten is looked up', async () => {
    const quick = { ...alice, sign: async () => new Uint8Array(256), blockBytes: 256 };
    const identity = { ...fixtureIdentity('front'), devicePrivateKey: quick };
    const dht = network.client();
    const random = seededRandom('places');
    const own = new SecureDht({ dht, identity, random, now: () => 0, unixMs: () => undefined });
    for (let i = 0; i < MAX_REMEMBERED_PUTS + 5; i++)
      await own.putSigned(InfoHash.of(`${i}`), text('x'), { valueId: 1n }).result;
    expect(own.stats().puts).toMatchObject({ remembered: MAX_REMEMBERED_PUTS, evicted: 5 });
  });
});

describe('putEncrypted', () => {
  const bobIds = {
    shortId: shortKeyId(bob.publicKeyDer),
    longId: longKeyId(bob.publicKeyDer),
  };
  const k1 = bobIds.shortId;
  const k2 = InfoHash.of(bobIds.longId);
  const certificate = (pem: string): Value => ({
    kind: 'plain',
    id: 1n,
    type: VALUE_TYPE.certificate,
    data: utf8(pem),
  });
  const bobs = certificate(vector('certificates').hand_made['bob (self signed)'].pem_chain);

  test.each([
    ['the short id, published there', { shortId: bobIds.shortId }, k1],
    ['the long id, published there', { longId: bobIds.longId }, k2],
    ['both ids, published at the short one', bobIds, k1],
    ['both ids, published at the long one', bobIds, k2],
  ])('finds a self-signed certificate by %s', async (_, to, at) => {
    network.add(at, bobs);
    const { valueId, result } = writer.putEncrypted(key, text('for bob'), to);
    await result;
    const { value, author } = await openValue(stored(valueId) as EncryptedValue, bob, verifier);
    expect(fromUtf8(value.data)).toBe('for bob');
    expect(author.publicKeyDer).toEqual(alice.publicKeyDer);
    expect(value.signed?.to?.hex).toBe(bobIds.shortId.hex);
  });

  test('finds the identity that dhtnode makes for itself, under an elliptic authority', async () => {
    const { files, chain } = vector('certificates').reference_identity;
    const shortId = InfoHash.fromHex(chain[0].key_id);
    network.add(shortId, certificate(files['node certificate chain']));
    const { result } = writer.putEncrypted(key, text('x'), { shortId });
    expect(await result).toEqual({ acknowledged: 1 });
    // For a device of an account it would not do.
    expect(await writer.findCertificate({ shortId })).toBeUndefined();
  });

  test('says when nobody has published a certificate, whatever else lies there', async () => {
    const { pem_chain } =
      vector('certificates').hand_made['alice (issued by the vector authority, key carol)'];
    network.add(k1, certificate(pem_chain));
    network.add(k1, certificate('junk'));
    network.add(k1, { ...bobs, kind: 'plain', type: 0 } as Value);
    const { result } = writer.putEncrypted(key, text('x'), { shortId: k1 });
    await expect(result).rejects.toMatchObject({
      code: 'no-certificate',
      message: expect.stringContaining(k1.hex),
    });
    expect(network.at(key)).toEqual([]);
    expect(writer.stats().keys).toMatchObject({ badCertificates: 2, found: 0, running: 0 });
  });

  test('says when the key is not one that can be encrypted to', async () => {
    const { files, chain } = vector('certificates').reference_identity;
    const shortId = InfoHash.fromHex(chain[1].key_id);
    network.add(shortId, certificate(files['authority certificate']));
    const { result } = writer.putEncrypted(key, text('x'), { shortId });
    await expect(result).rejects.toMatchObject({ code: 'unusable-key' });
  });

  test('a certificate of a key of 1024 bits will do, as it does for the reference', async () => {
    network.add(
      InfoHash.of('by tiny'),
      await signValue(text('x'), vectorKey('tiny'), { id: 1n, seq: 0 }),
    );
    await new Promise<void>((done) => {
      writer.get(InfoHash.of('by tiny'), undefined, () => {}, done);
    });
    const to = parseKeyId(vector('keys').keys.tiny.long_id);
    expect(await writer.putEncrypted(key, text('x'), to).result).toEqual({ acknowledged: 1 });
  });

  test('permanent ones are kept until cancelled', async () => {
    network.add(k1, bobs);
    const kept = writer.putEncrypted(key, text('x'), bobIds, { permanent: true });
    await kept.result;
    expect(network.permanent.size).toBe(1);
    kept.cancel();
    expect(network.permanent.size).toBe(0);
  });
});
