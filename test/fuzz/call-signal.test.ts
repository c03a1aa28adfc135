import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../agent/base/errors.ts';
import type { CallPolicy } from '../../agent/call/admission.ts';
import { Calls } from '../../agent/call/calls.ts';
import { decodeControl } from '../../agent/call/control.ts';
import { MAX_SIGNAL_BYTES } from '../../agent/call/limits.ts';
import { buildSdp, parseSdp } from '../../agent/call/sdp.ts';
import { decodeSignal, encodeSignal } from '../../agent/call/signal.ts';
import * as arbitrary from '../call/arbitraries.ts';
import { seededRandom } from '../sim/seeded.ts';

/** Bytes of something valid, with a few of them overwritten, cut off or added. */
const mutated = fc
  .tuple(
    arbitrary.signal.map(encodeSignal),
    fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
    fc.integer({ min: -20, max: 20 }),
  )
  .map(([bytes, changes, grow]) => {
    const out = new Uint8Array(Math.max(0, bytes.length + grow));
    out.set(bytes.subarray(0, out.length));
    for (const [at, value] of changes) if (out.length > 0) out[at % out.length] = value;
    return out;
  });

const anything = fc.uint8Array({ maxLength: MAX_SIGNAL_BYTES + 64 });

function onlyDecodeError(run: () => void): void {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError);
  }
}

describe('fuzz: signals', () => {
  test('only DecodeError leaves the decoder, and what is taken is written back the same', () => {
    fc.assert(
      fc.property(fc.oneof(mutated, anything), (bytes) => {
        onlyDecodeError(() => expect(encodeSignal(decodeSignal(bytes))).toEqual(bytes));
      }),
      { numRuns: 1500 },
    );
  });

  test('what is taken never breaks the lines of the SDP', () => {
    fc.assert(
      fc.property(mutated, (bytes) => {
        onlyDecodeError(() => {
          const signal = decodeSignal(bytes);
          if (signal.kind !== 'offer' && signal.kind !== 'answer') return;
          const lines = buildSdp(signal.description).split('\r\n');
          expect(lines).toHaveLength(29 + signal.description.candidates.length);
        });
      }),
      { numRuns: 500 },
    );
  });

  test('only DecodeError leaves the reader of control frames', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => onlyDecodeError(() => decodeControl(bytes))));
  });

  test('only DecodeError leaves the reader of SDP', () => {
    const line = fc.oneof(
      fc.string(),
      fc
        .constantFrom('setup', 'ice-ufrag', 'ice-pwd', 'fingerprint', 'ssrc', 'candidate')
        .chain((name) => fc.string().map((text) => `a=${name}:${text}`)),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => onlyDecodeError(() => parseSdp(lines.join('\n')))),
    );
  });

  test('an engine that is fed them throws nothing, rings for nothing, and counts', () => {
    const own = { accountId: '1'.repeat(40), deviceId: '1'.repeat(64) };
    const from = { accountId: '2'.repeat(40), deviceId: '2'.repeat(64) };
    const policy: CallPolicy = { decide: () => 'ring', nameOf: () => 'unknown' };
    fc.assert(
      fc.property(fc.array(fc.oneof(mutated, anything), { maxLength: 20 }), (inbox) => {
        const calls = new Calls(own, policy, seededRandom(1));
        for (const bytes of inbox) calls.receiveSignal(bytes, from, { now: 0, unixMs: 0 });
        const { dropped } = calls.stats();
        expect(dropped.malformed + dropped.misaddressed).toBe(inbox.length);
        expect(calls.poll()).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });
});
