import { constants, type KeyObject, sign } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { type AgentError, DecodeError } from '../base/errors.ts';
import { publicKeyDerOf } from './keys.ts';
import { messageStart } from './pkcs1.ts';
import { openRawRsa, type RawRsa } from './raw-rsa.ts';

/** An RSA private key that works off the event loop: one operation takes 5 ms on a server core, 50 to 100 on a board. */
export interface PrivateKey {
  /** DER SubjectPublicKeyInfo. */
  readonly publicKeyDer: Uint8Array;
  /** k: bytes of one RSA block, and of a signature. */
  readonly blockBytes: number;
  /** RSASSA-PKCS1-v1_5 with SHA-512 (opendht.md 13.2). */
  sign(data: Uint8Array): Promise<Uint8Array>;
  /**
   * RSAES-PKCS1-v1_5 (opendht.md 13.3). Calls are worked off one after the other: whoever takes work from strangers bounds
   * what waits (open-queue.ts).
   * @param block k bytes
   * @throws {DecodeError} always the same, whatever is wrong with the block
   */
  decrypt(block: Uint8Array): Promise<Uint8Array>;
  /** Forget the key, once what is under way is done. */
  close(): void;
}

export interface PrivateKeyOptions {
  readonly clock: Clock;
  /** Told once when a worker thread decrypts because libcrypto cannot be used. */
  readonly onStandIn?: (why: AgentError) => void;
  /** For tests and measurements. */
  readonly openRaw?: typeof openRawRsa;
}

export function openPrivateKey(key: KeyObject, options: PrivateKeyOptions): PrivateKey {
  return new RsaPrivateKey(key, options);
}

class RsaPrivateKey implements PrivateKey {
  readonly publicKeyDer: Uint8Array;
  readonly blockBytes: number;
  readonly #key: KeyObject;
  readonly #options: PrivateKeyOptions;
  // Opened by the first decryption: a station that nobody calls does not carry it.
  #raw: RawRsa | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(key: KeyObject, options: PrivateKeyOptions) {
    this.publicKeyDer = publicKeyDerOf(key);
    this.blockBytes = Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
    this.#key = key;
    this.#options = options;
  }

  sign(data: Uint8Array): Promise<Uint8Array> {
    const key = { key: this.#key, padding: constants.RSA_PKCS1_PADDING };
    return new Promise((resolve, reject) => {
      sign('sha512', data, key, (error, signature) => {
        if (error !== null) reject(error);
        else resolve(new Uint8Array(signature));
      });
    });
  }

  decrypt(block: Uint8Array): Promise<Uint8Array> {
    const result = this.#last.then(() => this.#decrypt(block));
    this.#last = result.catch(() => {});
    return result;
  }

  async #decrypt(block: Uint8Array): Promise<Uint8Array> {
    if (block.length !== this.blockBytes) throw new DecodeError('cannot be decrypted');
    this.#raw ??= (this.#options.openRaw ?? openRawRsa)(
      this.#key,
      this.#options.clock,
      this.#options.onStandIn ?? (() => {}),
    );
    const padded = await this.#raw.decrypt(block);
    const start = padded === undefined ? 0 : messageStart(padded);
    if (padded === undefined || start === 0) throw new DecodeError('cannot be decrypted');
    return padded.slice(start);
  }

  close(): void {
    void this.#last.then(() => {
      this.#raw?.close();
      this.#raw = undefined;
    });
  }
}
