import { createHash } from 'node:crypto';
import { equalBytes, fromHex, toHex, utf8 } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';

export const INFOHASH_BYTES = 20;

/** A 160-bit key or node id (opendht.md 2). Immutable. */
export class InfoHash {
  readonly bytes: Uint8Array;
  #hex: string | undefined;

  /** @throws {DecodeError} unless `bytes` has 20 bytes. They are kept, not copied. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== INFOHASH_BYTES)
      throw new DecodeError(`an InfoHash has 20 bytes, not ${bytes.length}`);
    this.bytes = bytes;
  }

  /** SHA-1 of the bytes, or of the text's UTF-8. */
  static of(input: string | Uint8Array): InfoHash {
    return new InfoHash(
      createHash('sha1')
        .update(typeof input === 'string' ? utf8(input) : input)
        .digest(),
    );
  }

  /** @throws {DecodeError} unless `text` is exactly 40 hex digits */
  static fromHex(text: string): InfoHash {
    return new InfoHash(fromHex(text));
  }

  /** 40 lower-case hex digits; computed once. */
  get hex(): string {
    this.#hex ??= toHex(this.bytes);
    return this.#hex;
  }

  equals(other: InfoHash): boolean {
    return this === other || equalBytes(this.bytes, other.bytes);
  }

  /** The all-zero hash means "none" on the wire. */
  get isZero(): boolean {
    return this.bytes.every((byte) => byte === 0);
  }
}
