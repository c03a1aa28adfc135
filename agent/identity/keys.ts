import { createHash, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { equalBytes, fromHex } from '../base/bytes.ts';
import type { Clock, Millis } from '../base/clock.ts';
import { AgentError, DecodeError } from '../base/errors.ts';
import { InfoHash } from '../dht/infohash.ts';
import { MAX_RSA_BITS, MAX_RSA_EXPONENT, RSA_BITS } from './limits.ts';

/** Short key id: SHA-1 of the DER SubjectPublicKeyInfo (opendht.md 2). An account's id is its key's. */
export function shortKeyId(publicKeyDer: Uint8Array): InfoHash {
  return InfoHash.of(publicKeyDer);
}

/** Long key id, 32 bytes: SHA-256 of the same. A device's id is its key's, in hex. */
export function longKeyId(publicKeyDer: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(publicKeyDer).digest());
}

/** Ids of a public key, one or both; the long one has 32 bytes. */
export type KeyIds =
  | { readonly shortId: InfoHash; readonly longId?: Uint8Array }
  | { readonly shortId?: InfoHash; readonly longId: Uint8Array };

/**
 * A key id as people write it.
 * @param text 40 hex digits: the short id; 64: the long one
 * @throws {AgentError} `bad-key-id` for anything else
 */
export function parseKeyId(text: string): KeyIds {
  if (/^[0-9a-f]{40}$/i.test(text)) return { shortId: InfoHash.fromHex(text) };
  if (/^[0-9a-f]{64}$/i.test(text)) return { longId: fromHex(text) };
  throw new AgentError(
    'bad-key-id',
    `${JSON.stringify(text)} is no key id`,
    'give the short id (40 hex digits) or the long one (64)',
  );
}

export function fitsKeyIds(publicKeyDer: Uint8Array, { shortId, longId }: KeyIds): boolean {
  return (
    (shortId === undefined || shortId.equals(shortKeyId(publicKeyDer))) &&
    (longId === undefined || equalBytes(longId, longKeyId(publicKeyDer)))
  );
}

/** DER SubjectPublicKeyInfo of a public key, or of the public half of a private one. */
export function publicKeyDerOf(key: KeyObject): Uint8Array {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
}

/**
 * A stranger's RSA key. Signing and encryption need RSA, no other kind (opendht.md 13.1).
 * @param publicKeyDer DER SubjectPublicKeyInfo
 * @throws {DecodeError} when it is none, no RSA key, or one that is expensive to use
 */
export function importPublicKey(publicKeyDer: Uint8Array): KeyObject {
  const key = parseSpki(publicKeyDer);
  if (key.asymmetricKeyType !== 'rsa') throw new DecodeError('not an RSA key');
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  if (modulusLength > MAX_RSA_BITS || publicExponent > MAX_RSA_EXPONENT)
    throw new DecodeError('an RSA key larger than anybody needs');
  return key;
}

function parseSpki(der: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(der), type: 'spki', format: 'der' });
  } catch {
    throw new DecodeError('not a public key');
  }
}

export interface KeyProgress {
  /** Keys that are ready. */
  readonly made: number;
  readonly of: number;
  readonly elapsedMs: Millis;
}

/**
 * Fresh RSA private keys, made at the same time in the thread pool: the time to find primes varies so much that on two
 * cores three together take 0.6 of three in a row.
 */
export async function generateRsaKeys(
  count: number,
  clock: Clock,
  onProgress: (progress: KeyProgress) => void,
): Promise<KeyObject[]> {
  const began = clock.now();
  let made = 0;
  const report = () => onProgress({ made, of: count, elapsedMs: clock.now() - began });
  report();
  return Promise.all(
    Array.from({ length: count }, async () => {
      const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: RSA_BITS });
      made++;
      report();
      return privateKey;
    }),
  );
}
