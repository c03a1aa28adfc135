import { DecodeError } from './errors.ts';
import type { Random } from './random.ts';

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/**
 * A ULID: 48 bits of wall-clock ms, 80 random bits, 26 characters that sort by time.
 * @see https://github.com/ulid/spec
 */
export function ulid(unixMs: number, random: Random): string {
  let time = Math.max(0, Math.floor(unixMs));
  let text = '';
  for (let i = 0; i < 10; i++) {
    text = CROCKFORD.charAt(time % 32) + text;
    time = Math.floor(time / 32);
  }
  for (const byte of random.bytes(16)) text += CROCKFORD.charAt(byte & 31);
  return text;
}

/** The 16 bytes of a ULID, most significant first. @throws {DecodeError} unless `text` is one */
export function ulidToBytes(text: string): Uint8Array {
  if (!/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(text)) throw new DecodeError('not a ULID');
  let number = 0n;
  for (const character of text) number = number * 32n + BigInt(CROCKFORD.indexOf(character));
  const bytes = new Uint8Array(16);
  for (let i = 15; i >= 0; i--, number >>= 8n) bytes[i] = Number(number & 255n);
  return bytes;
}

/** Any 16 bytes as 26 characters. @throws {DecodeError} on another length */
export function ulidFromBytes(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new DecodeError('a ULID has 16 bytes');
  let number = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  let text = '';
  for (let i = 0; i < 26; i++, number >>= 5n) text = CROCKFORD.charAt(Number(number & 31n)) + text;
  return text;
}
