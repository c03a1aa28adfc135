import type { Random } from '../base/random.ts';

/** 64 random bits that are not 0, which means "no id" (opendht.md 2). */
export function randomValueId(random: Random): bigint {
  const id = (BigInt(random.uint32()) << 32n) | BigInt(random.uint32());
  return id === 0n ? 1n : id;
}
