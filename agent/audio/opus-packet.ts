import { MAX_OPUS_PACKET_BYTES } from './limits.ts';

/** Frame size in tenths of a millisecond by the low bits of the configuration number, RFC 6716 table 2. */
const SILK = [100, 200, 400, 600] as const;
const HYBRID = [100, 200] as const;
const CELT = [25, 50, 100, 200] as const;

/**
 * How long the sound in an Opus packet is, read from its TOC byte and frame count (RFC 6716 §3.1, §3.2).
 * @returns tenths of a millisecond; 0 when `packet` is empty, too large or has a frame count of 0
 */
export function opusDuration(packet: Uint8Array): number {
  const toc = packet[0];
  if (toc === undefined || packet.length > MAX_OPUS_PACKET_BYTES) return 0;
  return frameDuration(toc >> 3) * frameCount(toc & 3, packet[1] ?? 0);
}

function frameDuration(config: number): number {
  if (config < 12) return SILK[config & 3] ?? 0;
  if (config < 16) return HYBRID[config & 1] ?? 0;
  return CELT[config & 3] ?? 0;
}

function frameCount(code: number, second: number): number {
  if (code === 0) return 1;
  if (code === 3) return second & 0x3f;
  return 2;
}
