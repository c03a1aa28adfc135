/**
 * SipHash-2-4 with 128 bits of output: a fast keyed hash for short input (Aumasson & Bernstein,
 * https://www.aumasson.jp/siphash/siphash.pdf; the 128 bit form is that of the reference code). 64 bit words are pairs of
 * 32 bit halves.
 */

const state = new Int32Array(8); // v0 low, v0 high, v1 low, …

function round(): void {
  let v0l = state[0] as number;
  let v0h = state[1] as number;
  let v1l = state[2] as number;
  let v1h = state[3] as number;
  let v2l = state[4] as number;
  let v2h = state[5] as number;
  let v3l = state[6] as number;
  let v3h = state[7] as number;
  let low: number;
  // v0 += v1; v1 = rotl(v1, 13) ^ v0; v0 = rotl(v0, 32)
  low = (v0l >>> 0) + (v1l >>> 0);
  v0h = (v0h + v1h + (low > 0xffff_ffff ? 1 : 0)) | 0;
  v0l = low | 0;
  let t = (v1l << 13) | (v1h >>> 19);
  v1h = ((v1h << 13) | (v1l >>> 19)) ^ v0h;
  v1l = t ^ v0l;
  t = v0l;
  v0l = v0h;
  v0h = t;
  // v2 += v3; v3 = rotl(v3, 16) ^ v2
  low = (v2l >>> 0) + (v3l >>> 0);
  v2h = (v2h + v3h + (low > 0xffff_ffff ? 1 : 0)) | 0;
  v2l = low | 0;
  t = (v3l << 16) | (v3h >>> 16);
  v3h = ((v3h << 16) | (v3l >>> 16)) ^ v2h;
  v3l = t ^ v2l;
  // v0 += v3; v3 = rotl(v3, 21) ^ v0
  low = (v0l >>> 0) + (v3l >>> 0);
  v0h = (v0h + v3h + (low > 0xffff_ffff ? 1 : 0)) | 0;
  v0l = low | 0;
  t = (v3l << 21) | (v3h >>> 11);
  v3h = ((v3h << 21) | (v3l >>> 11)) ^ v0h;
  v3l = t ^ v0l;
  // v2 += v1; v1 = rotl(v1, 17) ^ v2; v2 = rotl(v2, 32)
  low = (v2l >>> 0) + (v1l >>> 0);
  v2h = (v2h + v1h + (low > 0xffff_ffff ? 1 : 0)) | 0;
  v2l = low | 0;
  t = (v1l << 17) | (v1h >>> 15);
  v1h = ((v1h << 17) | (v1l >>> 15)) ^ v2h;
  v1l = t ^ v2l;
  t = v2l;
  v2l = v2h;
  v2h = t;
  state[0] = v0l;
  state[1] = v0h;
  state[2] = v1l;
  state[3] = v1h;
  state[4] = v2l;
  state[5] = v2h;
  state[6] = v3l;
  state[7] = v3h;
}

function mix(low: number, high: number): void {
  state[6] = (state[6] as number) ^ low;
  state[7] = (state[7] as number) ^ high;
  round();
  round();
  state[0] = (state[0] as number) ^ low;
  state[1] = (state[1] as number) ^ high;
}

/** `length` (0 to 4) bytes from `at` as a little-endian number. */
function word(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = 0; i < length; i++) value |= (bytes[at + i] as number) << (8 * i);
  return value;
}

/**
 * @param key 16 secret bytes
 * @returns 16 bytes
 */
export function sipHash128(key: Uint8Array, input: Uint8Array): Uint8Array {
  const k0l = word(key, 0, 4);
  const k0h = word(key, 4, 4);
  const k1l = word(key, 8, 4);
  const k1h = word(key, 12, 4);
  state[0] = 0x70736575 ^ k0l;
  state[1] = 0x736f6d65 ^ k0h;
  state[2] = 0x6e646f6d ^ k1l ^ 0xee;
  state[3] = 0x646f7261 ^ k1h;
  state[4] = 0x6e657261 ^ k0l;
  state[5] = 0x6c796765 ^ k0h;
  state[6] = 0x79746573 ^ k1l;
  state[7] = 0x74656462 ^ k1h;
  const { length } = input;
  const whole = length & ~7;
  for (let at = 0; at < whole; at += 8) mix(word(input, at, 4), word(input, at + 4, 4));
  const left = length - whole;
  const lastHigh = word(input, whole + 4, Math.max(0, left - 4));
  mix(word(input, whole, Math.min(left, 4)), lastHigh | (length << 24));

  const out = new Uint8Array(16);
  state[4] = (state[4] as number) ^ 0xee;
  finish(out, 0);
  state[2] = (state[2] as number) ^ 0xdd;
  finish(out, 8);
  return out;
}

function finish(out: Uint8Array, at: number): void {
  for (let i = 0; i < 4; i++) round();
  for (let half = 0; half < 2; half++) {
    const value =
      (state[half] as number) ^
      (state[half + 2] as number) ^
      (state[half + 4] as number) ^
      (state[half + 6] as number);
    for (let i = 0; i < 4; i++) out[at + 4 * half + i] = value >>> (8 * i);
  }
}
