import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { ulid, ulidFromBytes, ulidToBytes } from '../../agent/base/ulid.ts';

describe('ULID', () => {
  test('the example of the specification has the bytes of its time', () => {
    // 01ARZ3NDEKTSV4RRFFQ69G5FAV, README of github.com/ulid/spec; the bytes as PostgreSQL's and Go's decoders give them.
    expect(toHex(ulidToBytes('01ARZ3NDEKTSV4RRFFQ69G5FAV'))).toBe(
      '01563e3ab5d3d6764c61efb99302bd5b',
    );
  });

  test('begins with the time', () => {
    const bytes = ulidToBytes(ulid(0x0123_4567_89ab, systemRandom));
    expect(toHex(bytes.subarray(0, 6))).toBe('0123456789ab');
  });

  test('any 16 bytes are one, and come back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        expect(ulidToBytes(ulidFromBytes(bytes))).toEqual(bytes);
      }),
    );
  });

  test('refuses what is none', () => {
    for (const text of ['', '8'.repeat(26), 'I'.repeat(26), '0'.repeat(25)])
      expect(() => ulidToBytes(text)).toThrow(DecodeError);
    expect(() => ulidFromBytes(new Uint8Array(15))).toThrow(DecodeError);
  });
});
