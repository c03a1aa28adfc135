/**
 * RSAES-PKCS1-v1_5 decoding (RFC 8017 7.2.2), which Node 20 does not do for us any more (opendht.md 21, trap 4):
 *
 *     00 | 02 | at least 8 bytes, none of them zero | 00 | message
 *
 * How long this takes must not tell what is in the block, or whoever can make us decrypt learns the message bit by bit
 * (Bleichenbacher 1998). So every byte is read once, in order, and nothing branches on what was read. A JavaScript
 * engine promises no constant time, but there is nothing here for it to shorten.
 *
 * @param block the k bytes that the raw RSA operation gave
 * @returns where the message begins, from 11 to k; or 0 when the block is malformed
 */
export function messageStart(block: ArrayLike<number>): number {
  const k = block.length;
  let bad = Number(block[0]) | (Number(block[1]) ^ 2);
  let looking = 1;
  let start = 0;
  for (let i = 2; i < k; i++) {
    // 1 if the byte is zero, else 0: only 0 - 1 has its sign bit set.
    const isZero = (Number(block[i]) - 1) >>> 31;
    start += (looking & isZero) * (i + 1);
    looking &= isZero ^ 1;
  }
  bad |= looking;
  // 1 if start < 11
  bad |= (start - 11) >>> 31;
  const isGood = (bad - 1) >>> 31;
  return start * isGood;
}
