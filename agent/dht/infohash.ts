import { createHash } from 'node:crypto';
import { equalBytes, fromHex, toHex, utf8 } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';

export const INFOHASH_BYTES = 20;

/** A 160-bit key or node id (opendht.md 2). Immutable. */
export class InfoHash {
  readonly bytes: Uint8Array;
  #hex: string | undefined;
  #key: string | undefined;

  /** @throws {DecodeError} unless `bytes` has 20 bytes. They are kept, not copied. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== INFOHASH_BYTES)
      throw new DecodeError(`an InfoHash has 20 bytes, not ${bytes.length}`);
    this.bytes = bytes;
  }

  /** SHA-1 of the bytes, or of the text's UTF-8. */
  static of(input: string | Uint8Array): InfoHash {
    const digest = createHash('sha1')
      .update(typeof input === 'string' ? utf8(input) : input)
      .digest();
    // `slice` of a Buffer does not copy: whoever made another id of this one would change it.
    return new InfoHash(new Uint8Array(digest));
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

  /** The 20 bytes as characters: the key of maps, cheaper to make than `hex`. Computed once. */
  get key(): string {
    this.#key ??= String.fromCharCode.apply(null, this.bytes as unknown as number[]);
    return this.#key;
  }

  equals(other: InfoHash): boolean {
    return this === other || equalBytes(this.bytes, other.bytes);
  }

  /** The all-zero hash means "none" on the wire. */
  get isZero(): boolean {
    for (const byte of this.bytes) if (byte !== 0) return false;
    return true;
  }
}

/** The first 32 bits of a hash that begins at `at`, unsigned. */
export function prefix32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

/** XOR order (opendht.md 2): below 0 when `a` is closer to `target` than `b`, 0 when they are the same. */
export function compareDistance(target: InfoHash, a: InfoHash, b: InfoHash): number {
  return compareDistanceAt(target.bytes, 0, a, b);
}

/** The same for a target that begins at `at`. */
export function compareDistanceAt(
  target: Uint8Array,
  at: number,
  a: InfoHash,
  b: InfoHash,
): number {
  const x = a.bytes;
  const y = b.bytes;
  for (let i = 0; i < INFOHASH_BYTES; i++) {
    const p = x[i] as number;
    const q = y[i] as number;
    if (p !== q) {
      const t = target[at + i] as number;
      return (p ^ t) - (q ^ t);
    }
  }
  return 0;
}

/** How many leading bits two hashes share: 0 to 160. */
export function commonBits(a: InfoHash, b: InfoHash): number {
  return commonBitsAt(a.bytes, b.bytes, 0);
}

/** The same for a hash and one that begins at `at`. */
export function commonBitsAt(hash: Uint8Array, bytes: Uint8Array, at: number): number {
  for (let i = 0; i < INFOHASH_BYTES; i++) {
    const difference = (hash[i] as number) ^ (bytes[at + i] as number);
    if (difference !== 0) return 8 * i + Math.clz32(difference) - 24;
  }
  return 8 * INFOHASH_BYTES;
}
