import type { Random } from '../../agent/base/random.ts';

/** The same numbers for the same seed: xoshiro128** (Blackman & Vigna, https://prng.di.unimi.it). */
export function seededRandom(seed: number): Random {
  let [a, b, c, d] = [1, 2, 3, 4].map((i) => splitMix(seed + i)) as [
    number,
    number,
    number,
    number,
  ];
  const uint32 = () => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9);
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotate(d, 11);
    return result >>> 0;
  };
  return {
    uint32,
    fraction: () => uint32() / 2 ** 32,
    bytes: (length) => Uint8Array.from({ length }, () => uint32() & 0xff),
  };
}

const rotate = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits));

function splitMix(seed: number): number {
  let x = Math.imul(seed, 0x9e3779b9);
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
