import {
  constants,
  createHash,
  createPrivateKey,
  type KeyObject,
  privateDecrypt,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../agent/base/clock.ts';
import type { Random } from '../../agent/base/random.ts';
import { parseChain, verifyDeviceChain } from '../../agent/identity/certificate.ts';
import type { Identity } from '../../agent/identity/identity.ts';
import { openPrivateKey, type PrivateKey } from '../../agent/identity/private-key.ts';
import { decodeStoredValue } from '../../agent/identity/stored-value.ts';

const vectors = join(import.meta.dirname, '../vectors');

/** A file of test/vectors/opendht. */
// biome-ignore lint/suspicious/noExplicitAny: the vectors describe themselves in their README
export function vector(name: string): any {
  return JSON.parse(readFileSync(join(vectors, 'opendht', `${name}.json`), 'utf8'));
}

export const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

/** A day on which the certificates of all fixtures are valid. */
export const FIXTURE_UNIX_MS = Date.UTC(2026, 5, 1);

export const stoppedClock: Clock = { now: () => 0, unixMs: () => FIXTURE_UNIX_MS };

/** A repeatable source of bits: SHA-256 of a counter. */
export function seededRandom(seed: string): Random {
  let count = 0;
  let pool = Buffer.alloc(0);
  const bytes = (length: number): Uint8Array => {
    while (pool.length < length) {
      const block = createHash('sha256').update(`${seed} ${count++}`).digest();
      pool = Buffer.concat([pool, block]);
    }
    const out = new Uint8Array(pool.subarray(0, length));
    pool = pool.subarray(length);
    return out;
  };
  const uint32 = () => new DataView(bytes(4).buffer).getUint32(0);
  return { bytes, uint32, fraction: () => uint32() / 2 ** 32 };
}

/** The same arithmetic as the drivers, on the spot. */
export function privateKey(key: KeyObject): PrivateKey {
  return openPrivateKey(key, {
    clock: stoppedClock,
    openRaw: () => ({
      decrypt: async (block) => {
        try {
          return privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, block);
        } catch {
          return undefined;
        }
      },
      close: () => {},
    }),
  });
}

export function vectorKey(name: 'alice' | 'bob' | 'carol' | 'tiny'): PrivateKey {
  return privateKey(createPrivateKey(vector('keys').keys[name].private_pkcs8_pem));
}

export type FixtureName = 'front' | 'phone' | 'stranger';

export function fixtureFile(name: FixtureName, file: string): Uint8Array {
  return new Uint8Array(readFileSync(join(vectors, 'identity', name, file)));
}

export function fixtureKey(name: FixtureName, file: 'device.key' | 'account.key'): KeyObject {
  return createPrivateKey(Buffer.from(fixtureFile(name, file)));
}

const identities = new Map<FixtureName, Identity>();

export function fixtureIdentity(name: FixtureName): Identity {
  const known = identities.get(name);
  if (known !== undefined) return known;
  const device = verifyDeviceChain(parseChain(fixtureFile(name, 'chain.pem')), FIXTURE_UNIX_MS);
  const identity: Identity = {
    accountId: device.accountId,
    device,
    devicePrivateKey: privateKey(fixtureKey(name, 'device.key')),
    announcement: decodeStoredValue(fixtureFile(name, 'announcement.json')),
  };
  identities.set(name, identity);
  return identity;
}

/** DER SubjectPublicKeyInfo of an RSA key from its numbers. */
export function rsaSpki(modulus: Uint8Array, exponent: Uint8Array): Uint8Array {
  const field = (tag: number, ...parts: Uint8Array[]) => {
    const body = Buffer.concat(parts);
    const { length } = body;
    const size =
      length < 0x80
        ? [length]
        : length < 0x100
          ? [0x81, length]
          : [0x82, length >> 8, length & 255];
    return Buffer.concat([Buffer.from([tag, ...size]), body]);
  };
  const positive = (bytes: Uint8Array) => field(2, Uint8Array.of(0), bytes);
  const algorithm = Buffer.from('300d06092a864886f70d0101010500', 'hex');
  const key = field(0x30, positive(modulus), positive(exponent));
  return new Uint8Array(field(0x30, algorithm, field(3, Uint8Array.of(0), key)));
}
