import { DecodeError } from '../base/errors.ts';
import type { InfoHash } from '../dht/infohash.ts';
import type { PlainValue } from '../dht/value.ts';
import { certificateKey, parseChain } from './certificate.ts';
import { longKeyId, shortKeyId } from './keys.ts';
import type { SignatureVerifier } from './signature.ts';

/** What the DHT's storage must ask of cryptography, which `dht/` itself knows nothing of. */
export interface ValuePolicy {
  /** Secure wrapper and signed edits (opendht.md 11). */
  verifySignature(value: PlainValue): boolean;
  /** Ids of the key that a certificate value (type 8) must be stored under; undefined: it is none, refuse it. */
  certificateKeyIds(
    data: Uint8Array,
  ): { readonly short: InfoHash; readonly long: Uint8Array } | undefined;
}

export function createValuePolicy(verifier: SignatureVerifier): ValuePolicy {
  return {
    verifySignature: (value) => verifier.verify(value),
    certificateKeyIds,
  };
}

/** As the reference reads certificates when it stores them: no dates, no signatures (opendht.md 13.6). */
export function certificateKeyIds(data: Uint8Array): ReturnType<ValuePolicy['certificateKeyIds']> {
  try {
    const [leaf] = parseChain(data);
    if (leaf === undefined) return undefined;
    const key = certificateKey(leaf);
    return { short: shortKeyId(key), long: longKeyId(key) };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
