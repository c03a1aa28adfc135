import { DecodeError } from '../base/errors.ts';

/*
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |V=2|P|X|  CC   |M|     PT      |       sequence number         |
 * |                           timestamp                           |
 * |                             SSRC                              |
 * |                   CSRC list, CC x 4 bytes                     |
 * | (X) defined by profile        | (X) length in 32-bit words    |
 * | (X) header extension          ...                             |
 * | payload                       ...   (P) padding | pad count   |
 * RFC 3550 §5.1, §5.3.1
 */

const VERSION = 2;
export const RTP_HEADER_BYTES = 12;

/** Of the dynamic range (RFC 3551 §6), in every offer and answer that we write. */
export const OPUS_PAYLOAD_TYPE = 111;

/** One RTP packet. CSRC list, header extension and padding are stripped: a voice receiver has no use for them. */
export interface RtpPacket {
  /** 0 … 127 */
  readonly payloadType: number;
  readonly marker: boolean;
  /** 16 bit */
  readonly sequenceNumber: number;
  /** 32 bit, in ticks of the payload's clock */
  readonly timestamp: number;
  readonly ssrc: number;
  /** A view into the packet. */
  readonly payload: Uint8Array;
}

/**
 * RTCP that shares the port with RTP (RFC 5761 §4): its packet types 192 … 223 are payload types 64 … 95 with the marker
 * bit, which RTP must not use there.
 */
export function isRtcp(packet: Uint8Array): boolean {
  const type = packet[1];
  return type !== undefined && type >= 192 && type <= 223;
}

/** @throws {DecodeError} when `packet` is not one whole RTP packet of version 2 */
export function decodeRtp(packet: Uint8Array): RtpPacket {
  if (packet.length < RTP_HEADER_BYTES) throw new DecodeError('RTP: truncated header');
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const first = view.getUint8(0);
  if (first >> 6 !== VERSION) throw new DecodeError('RTP: not version 2');

  let start = RTP_HEADER_BYTES + 4 * (first & 0x0f);
  if ((first & 0x10) !== 0) {
    if (start + 4 > packet.length) throw new DecodeError('RTP: truncated extension');
    start += 4 + 4 * view.getUint16(start + 2);
  }
  let end = packet.length;
  if ((first & 0x20) !== 0) {
    const padding = view.getUint8(packet.length - 1);
    if (padding === 0) throw new DecodeError('RTP: padding of no bytes');
    end -= padding;
  }
  if (start > end) throw new DecodeError('RTP: header and padding exceed the packet');

  const second = view.getUint8(1);
  return {
    payloadType: second & 0x7f,
    marker: (second & 0x80) !== 0,
    sequenceNumber: view.getUint16(2),
    timestamp: view.getUint32(4),
    ssrc: view.getUint32(8),
    payload: packet.subarray(start, end),
  };
}

/** Write the 12 bytes of a header without CSRC, extension and padding to the start of `out`. */
export function writeRtpHeader(out: Uint8Array, header: Omit<RtpPacket, 'payload'>): void {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  view.setUint8(0, VERSION << 6);
  view.setUint8(1, (header.marker ? 0x80 : 0) | header.payloadType);
  view.setUint16(2, header.sequenceNumber);
  view.setUint32(4, header.timestamp);
  view.setUint32(8, header.ssrc);
}

/** Shortest way from sequence number `from` to `to`: −32768 … 32767, so 65535 → 0 is 1. */
export function sequenceDistance(from: number, to: number): number {
  return ((to - from) << 16) >> 16;
}

/** Shortest way from timestamp `from` to `to`: −2³¹ … 2³¹−1. */
export function timestampDistance(from: number, to: number): number {
  return (to - from) | 0;
}
