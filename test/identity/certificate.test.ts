import { createPrivateKey, X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { concatBytes, toHex, utf8 } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { unpackValue } from '../../agent/dht/value-codec.ts';
import { certificateKey, parseChain, verifyDeviceChain } from '../../agent/identity/certificate.ts';
import { type IdentityKeys, issueChain } from '../../agent/identity/issue.ts';
import { publicKeyDerOf, shortKeyId } from '../../agent/identity/keys.ts';
import { CLOCK_TOLERANCE_MS, MAX_CHAIN_BYTES } from '../../agent/identity/limits.ts';
import { certificateKeyIds } from '../../agent/identity/value-policy.ts';
import { FIXTURE_UNIX_MS, fixtureFile, fixtureKey, hex, seededRandom, vector } from './fixtures.ts';

const certificates = vector('certificates');
const frontChain = () => parseChain(fixtureFile('front', 'chain.pem'));

describe('parseChain', () => {
  for (const { form, bytes, key_id } of certificates.accepted_forms.forms) {
    test(`${key_id === null ? 'refuses' : 'reads'} like the reference: ${form}`, () => {
      expect(certificateKeyIds(hex(bytes))?.short.hex ?? null).toBe(key_id);
    });
  }

  test('reads the identity of the reference, negative serial included', () => {
    const { files, chain } = certificates.reference_identity;
    const parsed = parseChain(utf8(files['node certificate chain']));
    for (const [i, expected] of chain.entries()) {
      const certificate = parsed[i] as X509Certificate;
      expect(toHex(new Uint8Array(certificate.raw))).toBe(expected.der);
      expect(certificate.serialNumber.toLowerCase()).toBe(expected.serial_hex);
      expect(shortKeyId(certificateKey(certificate)).hex).toBe(expected.key_id);
    }
  });

  test('reads captured publications, whose key is the id', () => {
    for (const { key, values } of certificates.publication.puts) {
      for (const { hex: packed } of values) {
        const value = unpackValue(hex(packed));
        const ids = value.kind === 'plain' ? certificateKeyIds(value.data) : undefined;
        expect(ids?.short.hex).toBe(key);
        expect(ids?.long.length).toBe(32);
      }
    }
  });

  test('refuses too many and too large', () => {
    const chain = fixtureFile('front', 'chain.pem');
    const self = frontChain().at(-1)?.toString() ?? '';
    expect(parseChain(utf8(self.repeat(4))).length).toBe(4);
    expect(() => parseChain(utf8(self.repeat(5)))).toThrow(DecodeError);
    expect(() => parseChain(concatBytes(chain, new Uint8Array(MAX_CHAIN_BYTES)))).toThrow(
      DecodeError,
    );
  });
});

describe('verifyDeviceChain', () => {
  test('takes account and device from the keys', () => {
    const device = verifyDeviceChain(frontChain(), FIXTURE_UNIX_MS);
    const deviceDer = publicKeyDerOf(fixtureKey('front', 'device.key'));
    expect(device.accountId).toBe(
      shortKeyId(publicKeyDerOf(fixtureKey('front', 'account.key'))).hex,
    );
    expect(device.publicKeyDer).toEqual(deviceDer);
    expect(device.shortId.hex).toBe(shortKeyId(deviceDer).hex);
    expect(device.deviceId).toMatch(/^[0-9a-f]{64}$/);
    expect(parseChain(utf8(device.chainPem)).length).toBe(3);
  });

  test('accepts a chain of the reference with SHA-256 and two certificates', () => {
    const pem =
      certificates.hand_made['alice (issued by the vector authority, key carol)'].pem_chain;
    const device = verifyDeviceChain(parseChain(utf8(pem)), FIXTURE_UNIX_MS);
    expect(device.accountId).toBe(vector('keys').keys.carol.key_id);
    expect(device.deviceId).toBe(vector('keys').keys.alice.long_id);
  });

  const refused = (chain: X509Certificate[], why: string, unixMs = FIXTURE_UNIX_MS) =>
    expect(() => verifyDeviceChain(chain, unixMs)).toThrow(why);

  test('refuses a device alone, incomplete, or its own authority', () => {
    const [device, account, ca] = frontChain() as [
      X509Certificate,
      X509Certificate,
      X509Certificate,
    ];
    refused([], 'without its issuer');
    refused([device], 'without its issuer');
    refused([device, account], 'did not sign');
    refused([ca, ca], 'its own account');
    const bob = parseChain(utf8(certificates.hand_made['bob (self signed)'].pem_chain));
    refused(bob, 'without its issuer');
  });

  test('refuses a chain put together from two', () => {
    const stranger = parseChain(fixtureFile('stranger', 'chain.pem'));
    const [device] = frontChain() as [X509Certificate];
    refused([device, ...stranger.slice(1)], 'did not sign');
  });

  test('refuses the elliptic authority of a bare OpenDHT node', () => {
    const { files } = certificates.reference_identity;
    refused(parseChain(utf8(files['node certificate chain'])), 'not RSA of a sound size');
  });

  test('refuses a device as issuer of another device', () => {
    const [device] = frontChain() as [X509Certificate];
    refused([device, ...frontChain()], 'did not sign');
  });

  test('looks at dates with a day of tolerance, and only with a clock', () => {
    const from = Date.UTC(2026, 0, 1);
    const to = from + 10 * 365 * 24 * 3600_000;
    const chain = frontChain();
    expect(verifyDeviceChain(chain, from - CLOCK_TOLERANCE_MS)).toBeDefined();
    refused(chain, 'future', from - CLOCK_TOLERANCE_MS - 1000);
    expect(verifyDeviceChain(chain, to + CLOCK_TOLERANCE_MS)).toBeDefined();
    refused(chain, 'expired', to + CLOCK_TOLERANCE_MS + 1000);
    expect(verifyDeviceChain(chain, undefined)).toBeDefined();
  });

  test('refuses a chain with any signature altered', () => {
    const chain = frontChain();
    for (const i of chain.keys()) {
      const altered = chain.map((certificate, j) => {
        const der = Buffer.from(certificate.raw);
        if (i === j) der[der.length - 1] = (der[der.length - 1] ?? 0) ^ 1;
        return new X509Certificate(der);
      });
      refused(altered, 'did not sign');
    }
  });
});

describe('issueChain', () => {
  const key = (name: 'alice' | 'bob' | 'carol') =>
    createPrivateKey(vector('keys').keys[name].private_pkcs8_pem);
  const keys: IdentityKeys = { ca: key('carol'), account: key('alice'), device: key('bob') };
  let chain: X509Certificate[];

  beforeAll(async () => {
    chain = parseChain(utf8(await issueChain(keys, FIXTURE_UNIX_MS, seededRandom('issue'))));
  });

  test('makes a chain that our own check of a peer accepts', () => {
    const device = verifyDeviceChain(chain, FIXTURE_UNIX_MS);
    expect(device.accountId).toBe(vector('keys').keys.alice.key_id);
    expect(device.deviceId).toBe(vector('keys').keys.bob.long_id);
  });

  test('names subject and issuer as Jami does, UID from the key', () => {
    const { alice, bob, carol } = vector('keys').keys;
    expect(chain.map((c) => c.subject)).toEqual([
      `CN=Jami device\nUID=${bob.key_id}`,
      `CN=Jami\nUID=${alice.key_id}`,
      `CN=Jami CA\nUID=${carol.key_id}`,
    ]);
    expect(chain.map((c) => c.issuer)).toEqual(
      [chain[1], chain[2], chain[2]].map((c) => c?.subject),
    );
  });

  test('writes issuer names byte for byte as the subject of the issuer', () => {
    for (const [i, certificate] of chain.entries()) {
      const { subject } = namesOf(chain[Math.min(i + 1, 2)] as X509Certificate);
      expect(namesOf(certificate).issuer).toBe(subject);
    }
  });

  test('gives 8 positive bytes of serial, ten years, and authorities only where they belong', () => {
    for (const certificate of chain) {
      expect(certificate.serialNumber).toMatch(/^[4-7][0-9A-F]{15}$/);
      const days = Date.parse(certificate.validTo) - Date.parse(certificate.validFrom);
      expect(days).toBe(10 * 365 * 24 * 3600_000);
      expect(Date.parse(certificate.validFrom)).toBe(FIXTURE_UNIX_MS - CLOCK_TOLERANCE_MS);
    }
    expect(chain.map((c) => c.ca)).toEqual([false, true, true]);
  });
});

/** The DER of both names, in hex: TBSCertificate is version, serial, algorithm, issuer, validity, subject. */
function namesOf(certificate: X509Certificate): { issuer: string; subject: string } {
  const der = new Uint8Array(certificate.raw);
  const bodyOf = (at: number): { start: number; end: number } => {
    const length = der[at + 1] ?? 0;
    const extra = length < 0x80 ? 0 : length & 0x7f;
    let size = extra === 0 ? length : 0;
    for (let i = 0; i < extra; i++) size = size * 256 + (der[at + 2 + i] ?? 0);
    return { start: at + 2 + extra, end: at + 2 + extra + size };
  };
  let at = bodyOf(bodyOf(0).start).start;
  const fields: string[] = [];
  for (let i = 0; i < 6; i++) {
    const { end } = bodyOf(at);
    fields.push(toHex(der.slice(at, end)));
    at = end;
  }
  return { issuer: fields[3] ?? '', subject: fields[5] ?? '' };
}
