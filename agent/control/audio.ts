import { FRAME_SAMPLES } from '../audio/device.ts';
import { encodeNotification, type RpcParams } from './json-rpc.ts';
import { CONTROL_LIMITS } from './limits.ts';

/**
 * Notification `audio`, both ways: `{pcm}` is base64 of one or more whole frames, 48 kHz, mono, S16LE. Base64 in a line
 * costs a third more bytes than a binary frame and saves a second protocol on the socket; both ends are on one machine,
 * all of which are little-endian.
 */

/** The line for `pcm`: whole frames, at most CONTROL_LIMITS.audioFrames. */
export function encodeAudio(pcm: Int16Array): string {
  const bytes = Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  return encodeNotification('audio', { pcm: bytes.toString('base64') });
}

/** @returns undefined unless the parameters are whole frames, one to CONTROL_LIMITS.audioFrames of them */
export function decodeAudio(params: RpcParams): Int16Array | undefined {
  const { pcm } = params;
  if (typeof pcm !== 'string') return undefined;
  // Buffer skips what is no base64, so a wrong text comes out short or odd.
  const bytes = Buffer.from(pcm, 'base64');
  const frames = bytes.length / (2 * FRAME_SAMPLES);
  if (!Number.isInteger(frames) || frames < 1 || frames > CONTROL_LIMITS.audioFrames) {
    return undefined;
  }
  // Copied for its alignment: Buffer takes memory from a pool at any offset.
  return new Int16Array(Uint8Array.from(bytes).buffer);
}
