import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes, toHex, utf8 } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import type { EncryptedValue, PlainValue } from '../../agent/dht/value.ts';
import { packBody, packSealed, packValue, unpackValue } from '../../agent/dht/value-codec.ts';
import { decryptBlob, encryptBlob } from '../../agent/identity/blob-encryption.ts';
import {
  openValue,
  type SealFailure,
  sealValue,
  signValue,
} from '../../agent/identity/envelope.ts';
import { shortKeyId } from '../../agent/identity/keys.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import { hex, seededRandom, vector, vectorKey } from './fixtures.ts';

const alice = vectorKey('alice');
const bob = vectorKey('bob');
const verifier = new SignatureVerifier();
const random = seededRandom('envelope');

function plainFrom(packed: string): PlainValue {
  const value = unpackValue(hex(packed));
  if (value.kind !== 'plain') throw new Error('the vector holds an encrypted value');
  return value;
}

describe('signed values', () => {
  for (const captured of vector('values_signed').captured) {
    test(`of the reference verify: ${captured.name}`, () => {
      const value = plainFrom(captured.value);
      expect(toHex(packBody(value))).toBe(captured.signed_bytes);
      expect(verifier.verify(value)).toBe(true);
      expect(verifier.verify({ ...value, type: 3 })).toBe(false);
    });

    test(`come out with the bytes of the reference: ${captured.name}`, async () => {
      const { id, type, data, userType, signed } = plainFrom(captured.value);
      const content = { type, data, ...(userType !== undefined && { userType }) };
      const ours = await signValue(content, alice, { id, seq: signed?.seq ?? -1 });
      expect(toHex(packValue(ours))).toBe(captured.value);
    });
  }

  for (const step of vector('values_signed').edit_rules.steps) {
    if (!/bad signature/.test(step.step)) continue;
    test(`with a bad signature are refused: ${step.step}`, () => {
      expect(verifier.verify(plainFrom(step.value))).toBe(false);
    });
  }

  for (const check of vector('encryption_primitives').signature_check) {
    test(`by ${check.algorithm} are ${check.accepted ? 'accepted' : 'refused'}`, () => {
      const owner = hex(check.public_spki_der ?? vector('keys').keys[check.key].public_spki_der);
      const verdict = verifier.verifyBytes(hex(check.message), hex(check.signature), owner);
      expect(verdict).toBe(check.accepted);
    });
  }

  test('the keys of signers are kept within a bound', async () => {
    const own = new SignatureVerifier(1);
    for (const key of [alice, bob, alice]) {
      const value = await signValue({ type: 0, data: utf8('x') }, key, { id: 1n, seq: 0 });
      expect(own.verify(value)).toBe(true);
      expect(own.stats().keys).toBe(1);
    }
    expect(own.stats().evicted).toBe(2);
  });
});

describe('encrypted blobs', () => {
  for (const [i, c] of vector('encryption_primitives').encrypt.entries()) {
    test(`of the reference decrypt: ${i}, ${c.key}, ${c.plain.length / 2} bytes, ${c.mode}`, async () => {
      expect(toHex(await decryptBlob(hex(c.cipher), vectorKey(c.key)))).toBe(c.plain);
    });

    test(`have the layout of the reference: ${i}, ${c.plain.length / 2} bytes`, async () => {
      const key = vectorKey(c.key);
      const blob = encryptBlob(hex(c.plain), key.publicKeyDer, random);
      expect(blob.length).toBe(c.cipher.length / 2);
      expect(toHex(await decryptBlob(blob, key))).toBe(c.plain);
    });
  }

  for (const c of vector('encryption_primitives').decrypt_accepts) {
    const isLegacy = /legacy/.test(c.name);
    test(`${isLegacy ? 'refuses' : 'accepts'} ${c.name}`, async () => {
      const opened = decryptBlob(hex(c.cipher), vectorKey(c.key));
      if (isLegacy) await expect(opened).rejects.toThrow(DecodeError);
      else expect(await opened).toEqual(utf8(c.opendht_2_4_12_decrypts_to));
    });
  }

  test('every failure looks the same', async () => {
    const good = encryptBlob(new Uint8Array(300), alice.publicKeyDer, random);
    const flipped = (at: number) => good.map((byte, i) => (i === at ? byte ^ 1 : byte));
    const oddKey = concatBytes(
      encryptBlob(new Uint8Array(20), alice.publicKeyDer, random),
      good.slice(256),
    );
    const messages = new Set<string>();
    for (const blob of [
      flipped(1),
      flipped(255),
      flipped(256),
      flipped(300),
      flipped(good.length - 1),
      oddKey,
      good.slice(0, -1),
      good.slice(0, 256 + 28),
      good.slice(0, 255),
      new Uint8Array(256).fill(255),
      new Uint8Array(600).fill(255),
      new Uint8Array(256),
      new Uint8Array(0),
    ]) {
      const error: unknown = await decryptBlob(blob, alice).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(DecodeError);
      messages.add((error as DecodeError).message);
    }
    expect([...messages]).toEqual(['cannot be decrypted']);
  });
});

describe('sealed values', () => {
  const { captured, as_seen_by_bob, made_by_hand_read_by_reference } = vector('values_encrypted');

  for (const [i, c] of captured.entries()) {
    test(`of the reference open: ${c.name}`, async () => {
      const sealed = unpackValue(hex(c.value)) as EncryptedValue;
      const { value, author } = await openValue(sealed, bob, verifier);
      const seen = as_seen_by_bob[i];
      expect(value.id).toBe(sealed.id);
      expect(toHex(value.data)).toBe(seen.data);
      expect(value.userType ?? '').toBe(seen.utype);
      expect(value.signed?.to?.hex).toBe(seen.to);
      expect(author.shortId.hex).toBe(seen.owner);
      expect(toHex(author.longId)).toBe(vector('keys').keys.alice.long_id);
      expect(toHex(packSealed(value))).toBe(c.plain);
    });

    test(`have the structure of the reference: ${c.name}`, async () => {
      const { value } = await openValue(unpackValue(hex(c.value)) as EncryptedValue, bob, verifier);
      const content = {
        type: value.type,
        data: value.data,
        ...(value.userType !== undefined && { userType: value.userType }),
      };
      const ours = await sealValue(content, alice, bob.publicKeyDer, {
        id: value.id,
        random,
      });
      // What is inside is the same to the byte: RSA signatures of this kind have nothing random in them.
      expect(toHex(await decryptBlob(ours.cypher, bob))).toBe(c.plain);
      expect(packValue(ours).length).toBe(c.value.length / 2);
    });
  }

  for (const c of made_by_hand_read_by_reference.cases) {
    test(`made by hand are judged as the reference judges them: ${c.name}`, async () => {
      const sealed = { kind: 'encrypted' as const, id: BigInt(c.id), cypher: hex(c.cipher) };
      const opened = openValue(sealed, bob, verifier);
      if (c.delivered_by_reference) expect((await opened).value.id).toBe(BigInt(c.id));
      else await expect(opened).rejects.toThrow(DecodeError);
    });
  }

  test('open to what was sealed', async () => {
    const content = fc.record(
      {
        type: fc.integer({ min: 0, max: 65535 }),
        data: fc.uint8Array({ maxLength: 2000 }),
        userType: fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
      },
      { requiredKeys: ['type', 'data'] },
    );
    await fc.assert(
      fc.asyncProperty(content, fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }), async (x, id) => {
        const sealed = await sealValue(x, alice, bob.publicKeyDer, { id, random });
        const { value, author } = await openValue(
          unpackValue(packValue(sealed)) as EncryptedValue,
          bob,
          verifier,
        );
        expect({ type: value.type, data: value.data, userType: value.userType }).toEqual({
          userType: undefined,
          ...x,
        });
        expect(author.shortId.hex).toBe(shortKeyId(alice.publicKeyDer).hex);
        expect(value.id).toBe(id);
      }),
      { numRuns: 20 },
    );
  });

  test('any flipped bit is refused', async () => {
    const sealed = await sealValue({ type: 0, data: utf8('open') }, alice, bob.publicKeyDer, {
      id: 7n,
      random,
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: sealed.cypher.length - 1 }),
        fc.integer({ min: 0, max: 7 }),
        async (at, bit) => {
          const cypher = sealed.cypher.slice();
          cypher[at] = (cypher[at] ?? 0) ^ (1 << bit);
          await expect(openValue({ ...sealed, cypher }, bob, verifier)).rejects.toThrow(
            'undecryptable',
          );
        },
      ),
      { numRuns: 40 },
    );
  });

  test('each thing that is wrong inside has its own reason', async () => {
    const content = { type: 0, data: utf8('x') };
    const forBob = await signValue(content, alice, {
      id: 1n,
      seq: 0,
      to: shortKeyId(bob.publicKeyDer),
    });
    const forAlice = await signValue(content, alice, {
      id: 1n,
      seq: 0,
      to: shortKeyId(alice.publicKeyDer),
    });
    const forNobody = await signValue(content, alice, { id: 1n, seq: 0 });
    const cases: [SealFailure, Uint8Array][] = [
      ['malformed', new Uint8Array(400).fill(0xc1)],
      ['malformed', packValue({ kind: 'encrypted', id: 1n, cypher: new Uint8Array(300) })],
      ['unsigned', packSealed({ kind: 'plain', id: 1n, ...content })],
      ['misaddressed', packSealed(forAlice)],
      ['misaddressed', packSealed(forNobody)],
      ['bad-signature', packSealed({ ...forBob, data: utf8('y') })],
    ];
    for (const [reason, plain] of cases) {
      const cypher = encryptBlob(plain, bob.publicKeyDer, random);
      await expect(
        openValue({ kind: 'encrypted', id: 1n, cypher }, bob, verifier),
      ).rejects.toMatchObject({ name: 'DecodeError', reason });
    }
  });
});
