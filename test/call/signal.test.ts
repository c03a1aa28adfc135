import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { ulidToBytes } from '../../agent/base/ulid.ts';
import type { Candidate } from '../../agent/call/description.ts';
import { MAX_SIGNAL_BYTES } from '../../agent/call/limits.ts';
import { decodeSignal, encodeSignal, type Signal } from '../../agent/call/signal.ts';
import * as arbitrary from './arbitraries.ts';

const header = {
  callId: '01J9ZZZZZZ0123456789ABCDEF',
  sequence: 1,
  sentAtUnixMs: 1_700_000_000_000,
  from: '11'.repeat(32),
  to: '22'.repeat(32),
};
const host: Candidate = { kind: 'host', ip: Uint8Array.of(192, 0, 2, 10), port: 42040 };
const offer: Signal = {
  ...header,
  kind: 'offer',
  attempt: 1,
  media: 3,
  resume: false,
  description: {
    setup: 'active',
    ufrag: '5i3g',
    password: 'J1ip/rC7x36ZuEqTuPo9Qn',
    fingerprint: new Uint8Array(32).fill(0xab),
    ssrc: 0xdeadbeef,
    candidates: [host],
  },
};

/** An encoded offer with some of its bytes changed. */
function altered(at: number, ...bytes: number[]): Uint8Array {
  const encoded = encodeSignal(offer);
  encoded.set(bytes, at);
  return encoded;
}
// Where the fields of `offer` lie.
const BODY = 92;
const CANDIDATES = BODY + 3 + 1 + 5 + 23 + 32 + 4;

describe('signal', () => {
  test('what is encoded is decoded', () => {
    fc.assert(
      fc.property(arbitrary.signal, (signal) => {
        expect(decodeSignal(encodeSignal(signal))).toEqual(signal);
      }),
    );
  });

  test('every signal fits its limit', () => {
    fc.assert(
      fc.property(arbitrary.signal, (signal) => {
        expect(encodeSignal(signal).length).toBeLessThanOrEqual(MAX_SIGNAL_BYTES);
      }),
    );
  });

  test('the layout is the one that is drawn', () => {
    expect(toHex(encodeSignal(offer))).toBe(
      [
        '01 01',
        toHex(ulidToBytes(header.callId)),
        '0001',
        '0000018bcfe56800',
        '11'.repeat(32),
        '22'.repeat(32),
        '01 03 00',
        '01',
        '04 35693367',
        '16 4a3169702f724337783336',
        '5a754571547550 6f39516e',
        'ab'.repeat(32),
        'deadbeef',
        '01',
        '00 c000020a a438',
      ]
        .join('')
        .replaceAll(' ', ''),
    );
  });

  test('an offer with one candidate stays below 180 bytes', () => {
    expect(encodeSignal(offer).length).toBe(168);
  });

  test.each([
    ['empty', new Uint8Array()],
    ['another version', altered(0, 2)],
    ['an unknown kind', altered(1, 7)],
    ['kind 0', altered(1, 0)],
    ['a time beyond all calendars', altered(20, 0xff, 0xff)],
    ['attempt 0', altered(BODY, 0)],
    ['an offer without audio', altered(BODY + 1, 2)],
    ['an unknown flag', altered(BODY + 2, 2)],
    ['an unknown setup role', altered(BODY + 3, 3)],
    ['a short ufrag', altered(BODY + 4, 3)],
    ['a line break in the ufrag', altered(BODY + 5, 13, 10)],
    ['a long password', altered(BODY + 9, 65)],
    ['more candidates than fit', altered(CANDIDATES, 17)],
    ['a candidate of unknown kind', altered(CANDIDATES + 1, 4)],
    ['a candidate of unknown family', altered(CANDIDATES + 1, 0x20)],
    ['the candidate 0.0.0.0', altered(CANDIDATES + 2, 0, 0, 0, 0)],
    ['a multicast candidate', altered(CANDIDATES + 2, 224)],
    ['a candidate with port 0', altered(CANDIDATES + 6, 0, 0)],
    ['a byte too many', Uint8Array.of(...encodeSignal(offer), 0)],
    ['too large', new Uint8Array(MAX_SIGNAL_BYTES + 1).fill(1)],
  ])('refuses %s', (_, bytes) => {
    expect(() => decodeSignal(bytes)).toThrow(DecodeError);
  });

  test('refuses every shorter prefix', () => {
    const bytes = encodeSignal(offer);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeSignal(bytes.subarray(0, length))).toThrow(DecodeError);
    }
  });
});
