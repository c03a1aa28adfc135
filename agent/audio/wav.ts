import { DecodeError } from '../base/errors.ts';
import { MAX_WAV_DATA_BYTES, MAX_WAV_INPUT_S } from './limits.ts';

/*
 * RIFF WAVE, PCM of 16 bit, little-endian (Microsoft "Multimedia Programming Interface and Data Specifications 1.0"):
 *
 * "RIFF" size:4 "WAVE"  then chunks: id:4 size:4 body, padded to even length
 *   "fmt "  tag:2 (1 = PCM, 0xFFFE = extensible) channels:2 rate:4 bytesPerSecond:4 blockAlign:2 bits:2
 *           [extensible: cbSize:2 validBits:2 channelMask:4 subFormat:16, whose first two bytes are the tag]
 *   "data"  samples, channels interleaved
 */

const TAG_PCM = 1;
const TAG_EXTENSIBLE = 0xfffe;
const BYTES_PER_SAMPLE = 2;
const MIN_RATE_HZ = 4000;
const MAX_RATE_HZ = 192_000;

export const WAV_HEADER_BYTES = 44;

/** Sound of a WAV file, mixed to one channel. */
export interface Wav {
  readonly sampleRateHz: number;
  readonly samples: Int16Array;
}

/**
 * Sizes that claim more than there is, as a writer that was cut off leaves them, are taken for what is there.
 * @throws {DecodeError} with what is wrong, worded to follow "this file …"
 */
export function parseWav(bytes: Uint8Array): Wav {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || tagAt(bytes, 0) !== 'RIFF' || tagAt(bytes, 8) !== 'WAVE') {
    throw new DecodeError('is not a WAV file');
  }
  let format: Format | undefined;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const id = tagAt(bytes, at);
    const body = at + 8;
    const size = Math.min(view.getUint32(at + 4, true), bytes.length - body);
    if (id === 'fmt ') format = parseFormat(view, body, size);
    if (id === 'data') {
      if (format === undefined) throw new DecodeError('has no format before its sound');
      return { sampleRateHz: format.sampleRateHz, samples: mixDown(view, body, size, format) };
    }
    at = body + size + (size & 1);
  }
  throw new DecodeError('ends before its sound begins');
}

interface Format {
  readonly sampleRateHz: number;
  readonly channels: number;
}

function parseFormat(view: DataView, at: number, size: number): Format {
  if (size < 16) throw new DecodeError('has a format chunk that is too short');
  let tag = view.getUint16(at, true);
  if (tag === TAG_EXTENSIBLE && size >= 26) tag = view.getUint16(at + 24, true);
  const channels = view.getUint16(at + 2, true);
  const sampleRateHz = view.getUint32(at + 4, true);
  const bits = view.getUint16(at + 14, true);
  if (tag !== TAG_PCM || bits !== 8 * BYTES_PER_SAMPLE) {
    throw new DecodeError(`holds ${bits} bit sound of format ${tag}, not 16 bit PCM`);
  }
  if (channels < 1 || channels > 2) {
    throw new DecodeError(`has ${channels} channels, not one or two`);
  }
  if (sampleRateHz < MIN_RATE_HZ || sampleRateHz > MAX_RATE_HZ) {
    throw new DecodeError(`has a sample rate of ${sampleRateHz} Hz`);
  }
  return { sampleRateHz, channels };
}

function mixDown(view: DataView, at: number, size: number, format: Format): Int16Array {
  const { channels, sampleRateHz } = format;
  const count = Math.floor(size / (BYTES_PER_SAMPLE * channels));
  if (count > MAX_WAV_INPUT_S * sampleRateHz) {
    throw new DecodeError(`is longer than ${MAX_WAV_INPUT_S / 60} minutes`);
  }
  const samples = new Int16Array(count);
  for (let i = 0; i < count; i++) {
    const left = view.getInt16(at + BYTES_PER_SAMPLE * channels * i, true);
    samples[i] =
      channels === 1
        ? left
        : (left + view.getInt16(at + BYTES_PER_SAMPLE * (channels * i + 1), true)) >> 1;
  }
  return samples;
}

/** Header of a file with one channel and `dataBytes` of sound, at most MAX_WAV_DATA_BYTES. */
export function wavHeader(sampleRateHz: number, dataBytes: number): Uint8Array {
  if (dataBytes > MAX_WAV_DATA_BYTES) throw new RangeError('a WAV file ends at 4 GB');
  const bytes = new Uint8Array(WAV_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  writeTag(bytes, 0, 'RIFF');
  view.setUint32(4, WAV_HEADER_BYTES - 8 + dataBytes, true);
  writeTag(bytes, 8, 'WAVE');
  writeTag(bytes, 12, 'fmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, TAG_PCM, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, sampleRateHz, true);
  view.setUint32(28, sampleRateHz * BYTES_PER_SAMPLE, true);
  view.setUint16(32, BYTES_PER_SAMPLE, true);
  view.setUint16(34, 8 * BYTES_PER_SAMPLE, true);
  writeTag(bytes, 36, 'data');
  view.setUint32(40, dataBytes, true);
  return bytes;
}

function tagAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}

function writeTag(bytes: Uint8Array, at: number, tag: string): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = tag.charCodeAt(i);
}
