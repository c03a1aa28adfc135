import { getRandomValues } from 'node:crypto';

/** Source of unpredictable bits. Engines get one; tests give them a seeded one (`test/sim/seeded.ts`). */
export interface Random {
  /** `length` fresh random bytes. */
  bytes(length: number): Uint8Array;
  /** Uniform integer in 0 … 2³²−1. */
  uint32(): number;
  /** Uniform number in 0 ≤ x < 1, for jitter and delays. */
  fraction(): number;
}

export const systemRandom: Random = {
  bytes: (length) => getRandomValues(new Uint8Array(length)),
  uint32: () => (getRandomValues(new Uint32Array(1)) as Uint32Array)[0] as number,
  fraction: () => systemRandom.uint32() / 2 ** 32,
};
