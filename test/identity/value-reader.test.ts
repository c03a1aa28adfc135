import { generateKeyPairSync, sign } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { EncryptedValue, PlainValue, Value } from '../../agent/dht/value.ts';
import { packBody, packSealed, unpackValue } from '../../agent/dht/value-codec.ts';
import { encryptBlob } from '../../agent/identity/blob-encryption.ts';
import { sealValue, signValue } from '../../agent/identity/envelope.ts';
import { publicKeyDerOf, shortKeyId } from '../../agent/identity/keys.ts';
import { MAX_READ_VALUES, MAX_READS, MAX_WAITING_PER_LANE } from '../../agent/identity/limits.ts';
import { SecureDht } from '../../agent/identity/secure-dht.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import type { CheckedValue } from '../../agent/identity/value-reader.ts';
import { FakeNetwork } from './fake-dht.ts';
import {
  FIXTURE_UNIX_MS,
  fixtureIdentity,
  hex,
  seededRandom,
  vector,
  vectorKey,
} from './fixtures.ts';

const alice = vectorKey('alice');
const bob = vectorKey('bob');
const random = seededRandom('value-reader');
const key = InfoHash.of('read here');
const content = { type: 0, data: utf8('hello'), userType: 'text/plain' };
const aliceId = shortKeyId(alice.publicKeyDer);
const bobId = shortKeyId(bob.publicKeyDer);

let network: FakeNetwork;
/** A reader with bob's key, for whom the vectors are. */
let reader: SecureDht;

beforeEach(() => {
  network = new FakeNetwork();
  reader = new SecureDht({
    dht: network.client(),
    identity: { ...fixtureIdentity('front'), devicePrivateKey: bob },
    random,
    now: () => 0,
    unixMs: () => FIXTURE_UNIX_MS,
  });
});

const read = (at = key): Promise<CheckedValue[]> =>
  new Promise((resolve) => {
    const values: CheckedValue[] = [];
    reader.get(
      at,
      undefined,
      (value) => values.push(value),
      () => resolve(values),
    );
  });

const signed = (seq: number, text = 'hello', id = 1n) =>
  signValue({ ...content, data: utf8(text) }, alice, { id, seq });
const encrypted = (id: bigint, text = 'hello') =>
  sealValue({ ...content, data: utf8(text) }, alice, bob.publicKeyDer, { id, random });
const sealedAround = (inside: PlainValue, id: bigint): EncryptedValue => ({
  kind: 'encrypted',
  id,
  cypher: encryptBlob(packSealed(inside), bob.publicKeyDer, random),
});
const plain: PlainValue = { kind: 'plain', id: 9n, ...content };

async function settle(): Promise<void> {
  for (let quiet = 0; quiet < 3; quiet++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (reader.stats().opener.waiting > 0) quiet = 0;
  }
}

describe('get', () => {
  test('tells what is unsigned, signed and encrypted, and by whom', async () => {
    network.add(key, plain);
    network.add(key, await signed(3));
    network.add(key, await encrypted(2n));
    const got = await read();
    expect(got).toEqual([
      { kind: 'plain', valueId: 9n, ...content },
      expect.objectContaining({ kind: 'signed', valueId: 1n, ...content, seq: 3 }),
      expect.objectContaining({ kind: 'encrypted', valueId: 2n, ...content, seq: 0 }),
    ]);
    for (const value of got)
      if (value.kind !== 'plain') expect(value.author.shortId.hex).toBe(aliceId.hex);
    const recipients = got.map((value) => ('to' in value ? value.to?.hex : undefined));
    expect(recipients).toEqual([undefined, undefined, bobId.hex]);
  });

  test('ends after the last decryption, and without values if there are none', async () => {
    expect(await read()).toEqual([]);
    for (let i = 1n; i < 5n; i++) network.add(key, await encrypted(i));
    expect((await read()).map(({ valueId }) => valueId)).toEqual([1n, 2n, 3n, 4n]);
    expect(reader.stats().values.reads).toBe(0);
  });

  test('delivers nothing that fails a check, and counts it with the reason', async () => {
    const good = await signed(1);
    const part = good.signed;
    if (part === undefined) throw new Error('not signed');
    const bySomebodyElse = { ...part, owner: bob.publicKeyDer };
    const toAlice = await signValue(content, alice, { id: 1n, seq: 0, to: aliceId });
    const toBob = await signValue(content, alice, { id: 1n, seq: 0, to: bobId });
    const opened = await encrypted(10n);
    const bad: Value[] = [
      { ...good, data: utf8('hallo') },
      { ...good, type: 3 },
      { ...good, signed: { ...part, seq: 2 } },
      { ...good, signed: bySomebodyElse },
      { ...opened, cypher: opened.cypher.map((byte, i) => (i === 300 ? byte ^ 1 : byte)) },
      { ...opened, cypher: opened.cypher.slice(0, 200) },
      sealedAround({ ...plain, data: new Uint8Array(300) }, 11n),
      sealedAround(toAlice, 12n),
      sealedAround(good, 13n),
      sealedAround({ ...toBob, data: utf8('hallo') }, 14n),
      {
        kind: 'encrypted',
        id: 15n,
        cypher: encryptBlob(new Uint8Array(400), bob.publicKeyDer, random),
      },
    ];
    for (const value of bad) network.add(key, value);
    expect(await read()).toEqual([]);
    expect(reader.stats().values).toMatchObject({
      delivered: { plain: 0, signed: 0, encrypted: 0 },
      dropped: {
        'bad-signature': 5,
        undecryptable: 2,
        unsigned: 1,
        misaddressed: 2,
        malformed: 1,
      },
    });
  });

  test('refuses values signed by keys that are not RSA', async () => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const ed25519 = generateKeyPairSync('ed25519');
    for (const [digest, pair] of [
      ['sha512', p384],
      [null, ed25519],
    ] as const) {
      const owner = publicKeyDerOf(pair.publicKey);
      const body = packBody({ ...content, signed: { owner, seq: 0 } });
      const signature = new Uint8Array(sign(digest, body, pair.privateKey));
      network.add(key, { ...plain, signed: { owner, seq: 0, signature } });
    }
    const ofTheReference = vector('value_types').values.find(({ name }: { name: string }) =>
      /EC/.test(name),
    );
    network.add(key, unpackValue(hex(ofTheReference.hex)));
    expect(await read()).toEqual([]);
    expect(reader.stats().values.dropped['bad-signature']).toBe(3);
  });

  test('judges the vectors as the reference did', async () => {
    for (const { value } of vector('values_signed').captured)
      network.add(key, unpackValue(hex(value)));
    const { captured, made_by_hand_read_by_reference: byHand } = vector('values_encrypted');
    for (const { value } of captured) network.add(key, unpackValue(hex(value)));
    for (const { id, cipher } of byHand.cases)
      network.add(key, { kind: 'encrypted', id: BigInt(id), cypher: hex(cipher) });
    const got = await read();
    const kinds = got.map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === 'encrypted').length).toBe(captured.length + 1);
    const delivered = byHand.cases.filter((c: { id: number }) =>
      got.some(({ valueId }) => valueId === BigInt(c.id)),
    );
    expect(delivered.map((c: { name: string }) => c.name)).toEqual(['good']);
  });

  test('gives no older version after a newer one', async () => {
    for (const seq of [2, 1, 3, 2]) network.add(key, await signed(seq, `version ${seq}`));
    expect((await read()).map(({ data }) => fromUtf8(data))).toEqual(['version 2', 'version 3']);
    expect(reader.stats().values.dropped.outdated).toBe(2);
  });

  test('remembers the keys of authors, so that they can be written to', async () => {
    network.add(key, await signed(0));
    await read();
    const put = reader.putEncrypted(key, content, { shortId: aliceId });
    expect(await put.result).toEqual({ acknowledged: 1 });
    expect(network.gets).toBe(1);
    expect(reader.stats().keys).toMatchObject({ known: 1, lookups: 0 });
  });

  test('is quiet after cancel', async () => {
    network.add(key, await encrypted(1n));
    const heard: unknown[] = [];
    const operation = reader.get(
      key,
      undefined,
      (value) => heard.push(value),
      () => heard.push('done'),
    );
    await Promise.resolve();
    operation.cancel();
    await settle();
    expect(heard).toEqual([]);
    expect(reader.stats().values.reads).toBe(0);
  });

  test('ends though more is encrypted than may wait', async () => {
    const junk = (i: number): Value => {
      const cypher = new Uint8Array(600).fill(1);
      new DataView(cypher.buffer).setUint32(4, i);
      return { kind: 'encrypted', id: BigInt(i + 1), cypher };
    };
    for (let i = 0; i < MAX_WAITING_PER_LANE + 10; i++) network.add(key, junk(i));
    expect(await read()).toEqual([]);
    // One was in work already.
    expect(reader.stats().values.dropped).toMatchObject({
      overload: 9,
      undecryptable: MAX_WAITING_PER_LANE + 1,
    });
    await read();
    // What was found to be junk is known by its bytes, with the reason.
    expect(reader.stats().opener.repeated).toBe(MAX_WAITING_PER_LANE + 1);
    expect(reader.stats().values.dropped.undecryptable).toBeGreaterThan(2 * MAX_WAITING_PER_LANE);
  });
});

describe('listen', () => {
  let heard: CheckedValue[];
  let expired: bigint[];

  const listen = () => {
    heard = [];
    expired = [];
    return reader.listen(
      key,
      undefined,
      (value) => heard.push(value),
      (id) => expired.push(id),
    );
  };

  test('hears what comes, edits included', async () => {
    listen();
    network.add(key, plain);
    for (const seq of [0, 1]) network.add(key, await signed(seq, `version ${seq}`));
    network.add(key, await encrypted(2n));
    await settle();
    expect(heard.map(({ kind, data }) => `${kind} ${fromUtf8(data)}`)).toEqual([
      'plain hello',
      'signed version 0',
      'signed version 1',
      'encrypted hello',
    ]);
  });

  test('tells when a value expired that it has told of, and hears of it again when it is back', async () => {
    listen();
    const values = [plain, await signed(0), await encrypted(2n)];
    const forged = { ...(await signed(0)), id: 3n, data: utf8('forged') };
    for (let round = 1; round <= 2; round++) {
      for (const value of [...values, forged]) network.add(key, value);
      await settle();
      for (const value of [...values, forged]) network.expire(key, value);
      expect(heard.length).toBe(3 * round);
    }
    expect(expired).toEqual([9n, 1n, 2n, 9n, 1n, 2n]);
  });

  test('what expires while it waits for the key is not heard', async () => {
    listen();
    const value = await encrypted(2n);
    network.add(key, value);
    network.expire(key, value);
    await settle();
    expect([heard, expired]).toEqual([[], []]);
    expect(reader.stats().values.dropped.expired).toBe(1);
  });

  test('what it remembers of values is bounded, and the oldest are forgotten', () => {
    class Trusting extends SignatureVerifier {
      override verify(): boolean {
        return true;
      }
    }
    const dht = network.client();
    const identity = { ...fixtureIdentity('front'), devicePrivateKey: bob };
    const verifier = new Trusting();
    const now = () => 0;
    reader = new SecureDht({ dht, identity, random, now, unixMs: now, verifier });
    listen();
    const part = { owner: alice.publicKeyDer, seq: 0, signature: new Uint8Array(0) };
    const value = (id: number, seq = 0): Value => {
      return { ...plain, id: BigInt(id), signed: { ...part, seq } };
    };
    const hear = (what: Value) => {
      for (const listener of network.listeners) listener.onValue(what, false);
    };
    const expire = (what: Value) => {
      for (const listener of network.listeners) listener.onValue(what, true);
    };
    for (let id = 1; id <= MAX_READ_VALUES + 1; id++) hear(value(id));
    // Sequence numbers, and what is there.
    expect(reader.stats().values.evicted).toBe(2);
    expire(value(1));
    expire(value(2));
    expect(expired).toEqual([2n]);
  });

  test('is bounded together with gets', () => {
    const operations = Array.from({ length: MAX_READS }, listen);
    expect(() => listen()).toThrow(expect.objectContaining({ code: 'too-many-reads' }));
    operations[0]?.cancel();
    listen();
    reader.close();
    expect(reader.stats().values.reads).toBe(0);
    expect(network.listeners.size).toBe(0);
  });
});
