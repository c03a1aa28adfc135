import { constants, type KeyObject, verify } from 'node:crypto';
import { BoundedMap } from '../base/bounded.ts';
import { toHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import type { PlainValue } from '../dht/value.ts';
import { packBody } from '../dht/value-codec.ts';
import { importPublicKey, longKeyId } from './keys.ts';
import { MAX_CACHED_SIGNERS } from './limits.ts';

/** Checks the signatures of values; keeps the keys that it parsed, within a bound. */
export class SignatureVerifier {
  readonly #keys: BoundedMap<string, KeyObject>;

  constructor(limit = MAX_CACHED_SIGNERS) {
    this.#keys = new BoundedMap(limit);
  }

  /**
   * Is the value signed, and by its owner? The signature covers the body packed in our order: a sender who packed it
   * otherwise is refused by everybody (opendht.md 21, trap 12).
   */
  verify(value: PlainValue): boolean {
    const { signed } = value;
    return (
      signed !== undefined && this.verifyBytes(packBody(value), signed.signature, signed.owner)
    );
  }

  /** RSA PKCS#1 v1.5 with SHA-512 only (opendht.md 13.2). `owner`: DER SubjectPublicKeyInfo. */
  verifyBytes(data: Uint8Array, signature: Uint8Array, owner: Uint8Array): boolean {
    const key = this.#key(owner);
    if (key === undefined) return false;
    return verify('sha512', data, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
  }

  stats(): { readonly keys: number; readonly evicted: number } {
    return { keys: this.#keys.size, evicted: this.#keys.evicted };
  }

  #key(owner: Uint8Array): KeyObject | undefined {
    const id = toHex(longKeyId(owner));
    const known = this.#keys.get(id);
    if (known !== undefined) return known;
    try {
      const key = importPublicKey(owner);
      this.#keys.set(id, key);
      return key;
    } catch (error) {
      if (error instanceof DecodeError) return undefined;
      throw error;
    }
  }
}
