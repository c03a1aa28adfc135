import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeRtp,
  isRtcp,
  RTP_HEADER_BYTES,
  sequenceDistance,
  timestampDistance,
  writeRtpHeader,
} from '../../agent/audio/rtp.ts';
import { fromHex } from '../../agent/base/bytes.ts';

const vectors: { rtcp: string[]; rtp: string[] } = JSON.parse(
  readFileSync(new URL('../vectors/audio/rtp-libdatachannel.json', import.meta.url), 'utf8'),
);

const header = fc.record({
  payloadType: fc.nat(127),
  marker: fc.boolean(),
  sequenceNumber: fc.nat(0xffff),
  timestamp: fc.nat(0xffffffff),
  ssrc: fc.nat(0xffffffff),
});

describe('RTP header', () => {
  test('what is written is read again', () => {
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 40 }), (fields, payload) => {
        const packet = new Uint8Array(RTP_HEADER_BYTES + payload.length);
        writeRtpHeader(packet, fields);
        packet.set(payload, RTP_HEADER_BYTES);
        expect(decodeRtp(packet)).toEqual({ ...fields, payload });
      }),
    );
  });

  test('reads what libdatachannel wrote, and writes the same', () => {
    const packets = vectors.rtp.map(fromHex);
    packets.forEach((packet, i) => {
      const rtp = decodeRtp(packet);
      expect(rtp).toEqual({
        payloadType: 111,
        marker: true,
        sequenceNumber: 0x8d6f + i,
        timestamp: (0xffff_fc40 + 960 * i) >>> 0,
        ssrc: 0x01020304,
        payload: Uint8Array.of(0xf8, 0xff, 0xfe, i),
      });
      const written = packet.slice().fill(0, 0, RTP_HEADER_BYTES);
      writeRtpHeader(written, rtp);
      expect(written).toEqual(packet);
      expect(isRtcp(packet)).toBe(false);
    });
    expect(vectors.rtcp.map((hex) => isRtcp(fromHex(hex)))).toEqual([true]);
  });

  test('CSRC list, header extension and padding are stripped', () => {
    const packet = fromHex(
      [
        'b2ef1234', // version 2, padding, extension, two CSRC; marker, type 111
        '0000000a',
        'cafebabe',
        '0000000100000002', // CSRC
        'bede0001', // RFC 8285 one-byte extension, one word
        '51aa0000',
        'f80102', // payload
        '000003', // padding: three bytes, the last of them says so
      ].join(''),
    );
    expect(decodeRtp(packet)).toEqual({
      payloadType: 111,
      marker: true,
      sequenceNumber: 0x1234,
      timestamp: 10,
      ssrc: 0xcafebabe,
      payload: Uint8Array.of(0xf8, 1, 2),
    });
  });

  test.each([
    ['11 bytes', '806f00010000000000000a'],
    ['version 1', '406f00010000000000000000'],
    ['a CSRC list that is not there', '8f6f00010000000000000000'],
    ['an extension without its length', '906f00010000000000000000be'],
    ['an extension longer than the packet', '906f00010000000000000000bede0002aaaaaaaa'],
    ['more padding than packet', 'a06f000100000000000000000d'],
    ['padding that counts to 0', 'a06f0001000000000000000000'],
  ])('refuses %s', (_what, hex) => {
    expect(() => decodeRtp(fromHex(hex))).toThrow('RTP');
  });

  test('tells RTCP by its second byte', () => {
    const second = (byte: number) => Uint8Array.of(0x80, byte, 0, 0);
    expect([191, 192, 200, 201, 223, 224].map((byte) => isRtcp(second(byte)))).toEqual([
      false,
      true,
      true,
      true,
      true,
      false,
    ]);
    expect(isRtcp(second(111 | 0x80))).toBe(false);
    expect(isRtcp(new Uint8Array(1))).toBe(false);
  });
});

describe('numbers that wrap', () => {
  test.each([
    [0xffff, 0, 1],
    [0, 0xffff, -1],
    [0xfffe, 1, 3],
    [0x12_ffff, 2, 3],
    [5, 5, 0],
  ])('sequence number %i to %i is %i', (from, to, distance) => {
    expect(sequenceDistance(from, to)).toBe(distance);
  });

  test('timestamps wrap at 32 bits', () => {
    expect(timestampDistance(0xffff_fc40, 0)).toBe(960);
    expect(timestampDistance(0, 0xffff_fc40)).toBe(-960);
    expect(timestampDistance(0x1_ffff_fc40, 960)).toBe(1920);
  });
});
