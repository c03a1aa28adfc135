import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes, equalBytes, fromHex, utf8 } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Value } from '../../agent/dht/value.ts';
import { packSealed } from '../../agent/dht/value-codec.ts';
import { decodeAnnouncement, encodeAnnouncement } from '../../agent/identity/announcement.ts';
import { decryptBlob, encryptBlob } from '../../agent/identity/blob-encryption.ts';
import { parseChain, verifyDeviceChain } from '../../agent/identity/certificate.ts';
import { openValue, signValue } from '../../agent/identity/envelope.ts';
import { importPublicKey, shortKeyId } from '../../agent/identity/keys.ts';
import { messageStart } from '../../agent/identity/pkcs1.ts';
import { SecureDht } from '../../agent/identity/secure-dht.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import { decodeStoredValue } from '../../agent/identity/stored-value.ts';
import { certificateKeyIds } from '../../agent/identity/value-policy.ts';
import { FakeNetwork } from '../identity/fake-dht.ts';
import {
  FIXTURE_UNIX_MS,
  fixtureFile,
  fixtureIdentity,
  rsaSpki,
  seededRandom,
  vectorKey,
} from '../identity/fixtures.ts';

const alice = vectorKey('alice');
const bob = vectorKey('bob');
const verifier = new SignatureVerifier();
const random = seededRandom('fuzz');

/** Any bytes, or `seed` with some bytes changed, cut out or put in. */
function hostile(seed: Uint8Array): fc.Arbitrary<Uint8Array> {
  const edit = fc.record({
    at: fc.nat(seed.length),
    cut: fc.integer({ min: 0, max: 8 }),
    put: fc.uint8Array({ maxLength: 8 }),
  });
  const mutated = fc
    .array(edit, { minLength: 1, maxLength: 4 })
    .map((edits) =>
      edits.reduce(
        (bytes, { at, cut, put }) =>
          concatBytes(bytes.slice(0, at), put, bytes.slice(Math.min(at + cut, bytes.length))),
        seed,
      ),
    );
  return fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated);
}

function onlyDecodeErrors(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError);
  }
}

describe('hostile bytes', () => {
  test('in a sealed value are refused', async () => {
    const content = { type: 0, data: utf8('hello'), userType: 'text/plain' };
    const to = shortKeyId(bob.publicKeyDer);
    const plain = packSealed(await signValue(content, alice, { id: 1n, seq: 0, to }));
    await fc.assert(
      fc.asyncProperty(hostile(plain), async (bytes) => {
        const cypher = encryptBlob(bytes, bob.publicKeyDer, random);
        const opened = openValue({ kind: 'encrypted', id: 1n, cypher }, bob, verifier);
        const outcome = await opened.catch((error: unknown) => error);
        // What still opens has to say what was signed: an edit after the end of the map, or none.
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(DecodeError);
        else expect(outcome).toMatchObject({ value: content });
      }),
      { numRuns: 100 },
    );
  });

  test('as a sealed value are refused', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 700 }), async (cypher) => {
        const opened = openValue({ kind: 'encrypted', id: 1n, cypher }, bob, verifier);
        await expect(opened).rejects.toBeInstanceOf(DecodeError);
      }),
      { numRuns: 100 },
    );
  });

  test('as a certificate chain are refused', () => {
    const pem = fixtureFile('front', 'chain.pem');
    const der = new Uint8Array(parseChain(pem)[0]?.raw ?? []);
    fc.assert(
      fc.property(fc.oneof(hostile(pem), hostile(der)), (bytes) => {
        onlyDecodeErrors(() => verifyDeviceChain(parseChain(bytes), FIXTURE_UNIX_MS));
        // For storing nodes: an answer, never an error.
        certificateKeyIds(bytes);
      }),
      { numRuns: 300 },
    );
  });

  test('inside the certificates of a chain are refused or change nothing that matters', () => {
    const chain = parseChain(fixtureFile('front', 'chain.pem'));
    const pemOf = (der: Uint8Array) =>
      `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`;
    const ders = chain.map((certificate) => new Uint8Array(certificate.raw));
    const { accountId } = fixtureIdentity('front');
    fc.assert(
      fc.property(fc.nat(2), fc.nat(), fc.integer({ min: 1, max: 255 }), (which, at, flip) => {
        const pem = ders.map((der, i) => {
          const copy = der.slice();
          const index = at % copy.length;
          if (i === which) copy[index] = (copy[index] ?? 0) ^ flip;
          return pemOf(copy);
        });
        onlyDecodeErrors(() => {
          const device = verifyDeviceChain(parseChain(utf8(pem.join(''))), FIXTURE_UNIX_MS);
          expect(device.accountId).toBe(accountId);
        });
      }),
      { numRuns: 150 },
    );
  });

  test('as a public key, an announcement or a stored value are refused', () => {
    const announcement = encodeAnnouncement({
      deviceShortId: shortKeyId(bob.publicKeyDer),
      devicePublicKey: bob.publicKeyDer,
    });
    const stored = fixtureFile('front', 'announcement.json');
    fc.assert(
      fc.property(
        hostile(alice.publicKeyDer),
        hostile(announcement),
        hostile(stored),
        (key, announced, file) => {
          onlyDecodeErrors(() => importPublicKey(key));
          onlyDecodeErrors(() => decodeAnnouncement(announced));
          onlyDecodeErrors(() => decodeStoredValue(file));
        },
      ),
      { numRuns: 300 },
    );
  });

  test('as a cypher text that was good once are refused', async () => {
    // Short: one RSA block alone. Long: RSA block and AES.
    for (const length of [100, 400]) {
      const good = encryptBlob(new Uint8Array(length), bob.publicKeyDer, random);
      await fc.assert(
        fc.asyncProperty(hostile(good), async (bytes) => {
          fc.pre(!equalBytes(bytes, good));
          await expect(decryptBlob(bytes, bob)).rejects.toThrow('cannot be decrypted');
        }),
        // One forged block in 65,536 is well-formed by chance.
        { numRuns: 60, seed: 7 },
      );
    }
  });

  test('as a decrypted RSA block: a place inside the message, or none', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 512 }), fc.boolean(), (bytes, hasHead) => {
        const block = hasHead ? concatBytes(fromHex('0002'), bytes) : bytes;
        const start = messageStart(block);
        if (start === 0) return;
        expect([...block.subarray(0, 2)]).toEqual([0, 2]);
        expect(start).toBeGreaterThanOrEqual(11);
        expect(start).toBeLessThanOrEqual(block.length);
        expect(block.indexOf(0, 2)).toBe(start - 1);
      }),
      { numRuns: 1000 },
    );
  });

  test('as an owner or a signature are no signature, and as a recipient no key', async () => {
    const good = await signValue({ type: 0, data: utf8('hello') }, alice, { id: 1n, seq: 0 });
    const signature = good.signed?.signature ?? new Uint8Array();
    fc.assert(
      fc.property(hostile(alice.publicKeyDer), hostile(signature), (owner, forged) => {
        fc.pre(!equalBytes(owner, alice.publicKeyDer) && !equalBytes(forged, signature));
        for (const signed of [
          { owner, seq: 0, signature },
          { owner: alice.publicKeyDer, seq: 0, signature: forged },
          { owner, seq: 0, signature: forged },
        ])
          expect(verifier.verify({ ...good, signed })).toBe(false);
        onlyDecodeErrors(() => encryptBlob(new Uint8Array(300), owner, random));
      }),
      { numRuns: 300 },
    );
  });

  test('as RSA keys of any size, shape and exponent are refused or work', () => {
    const numbers = fc.record({
      modulus: fc.uint8Array({ minLength: 1, maxLength: 300 }),
      exponent: fc.uint8Array({ minLength: 1, maxLength: 6 }),
    });
    fc.assert(
      fc.property(numbers, ({ modulus, exponent }) => {
        const owner = rsaSpki(modulus, exponent);
        onlyDecodeErrors(() => encryptBlob(new Uint8Array(300), owner, random));
        expect(verifier.verifyBytes(utf8('x'), new Uint8Array(modulus.length), owner)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  test('as values under a key reach nobody, and are counted', async () => {
    const network = new FakeNetwork();
    const reader = new SecureDht({
      dht: network.client(),
      identity: { ...fixtureIdentity('front'), devicePrivateKey: bob },
      random,
      now: () => 0,
      unixMs: () => FIXTURE_UNIX_MS,
    });
    const bytes = fc.uint8Array({ maxLength: 700 });
    const value: fc.Arbitrary<Value> = fc.oneof(
      fc.record({ kind: fc.constant('encrypted' as const), id: fc.constant(1n), cypher: bytes }),
      fc.record({
        kind: fc.constant('plain' as const),
        id: fc.constant(1n),
        type: fc.nat(0xffff),
        data: bytes,
        signed: fc.record({
          owner: fc.oneof(bytes, fc.constant(alice.publicKeyDer)),
          seq: fc.nat(0xffff),
          signature: bytes,
          to: fc.uint8Array({ minLength: 20, maxLength: 20 }).map((id) => new InfoHash(id)),
        }),
      }),
    );
    const values = fc.sample(value, { numRuns: 300, seed: 4 });
    const key = InfoHash.of('junk');
    for (const junk of values) network.add(key, junk);
    const heard: unknown[] = [];
    await new Promise<void>((done) => {
      reader.get(key, undefined, (checked) => heard.push(checked), done);
    });
    const { dropped } = reader.stats().values;
    expect(heard).toEqual([]);
    expect(Object.values(dropped).reduce((sum, count) => sum + count)).toBe(values.length);
    expect(await reader.findCertificate({ shortId: key })).toBeUndefined();
  });

  test('that nest deep or announce much are refused without effort', () => {
    for (const bytes of [
      new Uint8Array(60_000).fill(0x91),
      concatBytes(fromHex('81a3646576'), new Uint8Array(60_000).fill(0x91)),
      fromHex('dfffffffff'),
      fromHex('81a3646576c6ffffffff'),
    ])
      expect(() => decodeAnnouncement(bytes)).toThrow(DecodeError);
  });
});
