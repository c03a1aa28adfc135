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
