import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { importPublicKey, longKeyId, shortKeyId } from '../../agent/identity/keys.ts';
import { hex, rsaSpki, vector, vectorKey } from './fixtures.ts';

describe('key ids', () => {
  for (const name of ['alice', 'bob', 'carol', 'tiny'] as const) {
    test(`of ${name} are those of the reference`, () => {
      const expected = vector('keys').keys[name];
      const der = vectorKey(name).publicKeyDer;
      expect(toHex(der)).toBe(expected.public_spki_der);
      expect(shortKeyId(der).hex).toBe(expected.key_id);
      expect(toHex(longKeyId(der))).toBe(expected.long_id);
    });
  }
});

describe('importPublicKey', () => {
  test('reads an RSA key', () => {
    const der = hex(vector('keys').keys.alice.public_spki_der);
    expect(importPublicKey(der).asymmetricKeyDetails?.modulusLength).toBe(2048);
  });

  test('refuses what is no key, no RSA key, or expensive to use', () => {
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey;
    const slow = hex(vector('keys').keys.alice.public_spki_der);
    // The exponent 65537 stands at the end; one of 4 more bytes costs the verifier more than a signature costs the signer.
    const longExponent = rsaSpki(slow.slice(33, 33 + 256), Uint8Array.of(1, 0, 0, 0, 0, 0, 1));
    for (const der of [
      new Uint8Array(0),
      slow.slice(0, -1),
      new Uint8Array(ec.export({ type: 'spki', format: 'der' })),
      longExponent,
      rsaSpki(new Uint8Array(2048).fill(0xff), Uint8Array.of(1, 0, 1)),
    ]) {
      expect(() => importPublicKey(der)).toThrow(DecodeError);
    }
    expect(
      importPublicKey(rsaSpki(slow.slice(33, 33 + 256), Uint8Array.of(1, 0, 1))),
    ).toBeDefined();
  });
});
