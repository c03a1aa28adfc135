import { describe, expect, test } from 'vitest';
import { toHex } from '../../agent/base/bytes.ts';
import { PROTOCOL } from '../../agent/dht/limits.ts';
import { sipHash128 } from '../../agent/dht/siphash.ts';
import { TokenMint } from '../../agent/dht/token.ts';
import { seededRandom } from '../sim/seeded.ts';
import { addressOf } from './lab.ts';

test.each([
  [0, 'a3817f04ba25a8e66df67214c7550293'],
  [1, 'da87c1d86b99af44347659119b22fc45'],
  [6, '14eeca338b208613485ea0308fd7a15e'],
  [15, '5493e99933b0a8117e08ec0f97cfc3d9'],
])('SipHash-2-4-128 of %i bytes is that of its authors', (length, digest) => {
  // vectors.h of github.com/veorq/SipHash: key 00…0f, input 00…
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i);
  expect(toHex(sipHash128(bytes, bytes.subarray(0, length)))).toBe(digest);
});

describe('a token', () => {
  const here = addressOf(1);
  const mint = () => new TokenMint(seededRandom(1), 0);

  test('is good for its address and port only', () => {
    const tokens = mint();
    const token = tokens.mint(here, 0);
    expect(tokens.isValid(token, here, 0)).toBe(true);
    expect(tokens.isValid(token, addressOf(2), 0)).toBe(false);
    expect(tokens.isValid(token, { ...here, port: 4223 }, 0)).toBe(false);
    expect(tokens.isValid(token.subarray(1), here, 0)).toBe(false);
    expect(tokens.isValid(undefined, here, 0)).toBe(false);
  });

  test('lives 15 minutes at least and 90 at most', () => {
    const { tokenSecretMinMs, tokenSecretMaxMs } = PROTOCOL;
    for (let seed = 1; seed < 20; seed++) {
      const tokens = new TokenMint(seededRandom(seed), 0);
      const token = tokens.mint(here, 0);
      let diedAt = 0;
      for (let now = 0; now <= 2 * tokenSecretMaxMs + 1000; now += 1000) {
        if (tokens.isValid(token, here, now)) continue;
        diedAt = now;
        break;
      }
      expect(diedAt).toBeGreaterThan(tokenSecretMinMs);
      expect(diedAt).toBeLessThanOrEqual(2 * tokenSecretMaxMs);
    }
  });
});
