import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FRAME_SAMPLES } from '../../agent/audio/device.ts';
import { opusDuration } from '../../agent/audio/opus-packet.ts';
import { decodeRtp, RTP_HEADER_BYTES, writeRtpHeader } from '../../agent/audio/rtp.ts';
import { Voice } from '../../agent/audio/voice.ts';
import { parseWav, wavHeader } from '../../agent/audio/wav.ts';
import { concatBytes } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { FakeCodec } from '../audio/fake-codec.ts';
import { seededRandom } from '../sim/seeded.ts';

/** `seed` with some bytes changed, cut off or added. */
function mutated(seed: Uint8Array): fc.Arbitrary<Uint8Array> {
  return fc
    .record({
      changes: fc.array(fc.tuple(fc.nat(seed.length - 1), fc.nat(255)), { maxLength: 6 }),
      length: fc.nat(seed.length),
      isCut: fc.boolean(),
      tail: fc.uint8Array({ maxLength: 8 }),
    })
    .map(({ changes, length, isCut, tail }) => {
      const bytes = seed.slice();
      for (const [at, value] of changes) bytes[at] = value;
      return concatBytes(isCut ? bytes.subarray(0, length) : bytes, tail);
    });
}

/** Only DecodeError may come out. */
function survives(decode: (bytes: Uint8Array) => unknown) {
  return (bytes: Uint8Array) => {
    try {
      decode(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(DecodeError);
    }
  };
}

const rtp = new Uint8Array(RTP_HEADER_BYTES + 40).fill(0xf8);
writeRtpHeader(rtp, { payloadType: 111, marker: false, sequenceNumber: 1, timestamp: 1, ssrc: 1 });
const wav = concatBytes(wavHeader(48_000, 64), new Uint8Array(64));

describe('audio decoders under hostile bytes', () => {
  test.each([
    ['RTP', decodeRtp, rtp],
    ['WAV', parseWav, wav],
    ['Opus duration', opusDuration, Uint8Array.of(0xfb, 0x41, 1, 2, 3)],
  ])('%s lets nothing but DecodeError out', (_name, decode, seed) => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), survives(decode)), { numRuns: 500 });
    fc.assert(fc.property(mutated(seed), survives(decode)), { numRuns: 1500 });
  });

  test('the payload of RTP lies inside the packet', () => {
    fc.assert(
      fc.property(mutated(rtp), (bytes) => {
        survives((packet) => {
          const { payload } = decodeRtp(packet);
          expect(payload.byteOffset).toBeGreaterThanOrEqual(packet.byteOffset + RTP_HEADER_BYTES);
          expect(payload.byteOffset + payload.length).toBeLessThanOrEqual(
            packet.byteOffset + packet.length,
          );
        })(bytes);
      }),
    );
  });

  test('a receiver takes any packets at any time and goes on giving frames', () => {
    const packet = fc.oneof(mutated(rtp), fc.uint8Array({ maxLength: 1500 }));
    const step = fc.record({ packet, gapMs: fc.nat(300), frames: fc.nat(3) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const voice = new Voice({ codec: new FakeCodec(), ssrc: 1, random: seededRandom(1) });
        const out = new Int16Array(FRAME_SAMPLES);
        let now = 0;
        let given = 0;
        for (const { packet, gapMs, frames } of steps) {
          voice.receive(packet, now);
          now += gapMs;
          for (let i = 0; i < frames; i++) voice.hear(out, now + 20 * i);
          given++;
        }
        const { received, malformed, ignored, duplicate } = voice.stats();
        expect(received + malformed + ignored + duplicate).toBeLessThanOrEqual(2 * given);
      }),
      { numRuns: 150 },
    );
  });
});
