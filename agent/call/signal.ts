import { fromHex, Reader, toHex, Writer } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { ulidFromBytes, ulidToBytes } from '../base/ulid.ts';
import {
  type Candidate,
  readCandidates,
  readDescription,
  type SessionDescription,
  writeCandidates,
  writeDescription,
} from './description.ts';
import { MAX_SIGNAL_BYTES } from './limits.ts';

/**
 * What two devices tell each other to make, refuse and end a call. A signal travels inside a value
 * that is signed by the sending device and encrypted to the receiving one, so both parties and the
 * time stand in the signed part. Ours alone, no standard; big endian:
 *
 *     version      1   1
 *     kind         1
 *     call id     16   a ULID
 *     sequence     2   counts the sender's signals of this call, from 1
 *     sent at      8   wall clock, Unix ms
 *     from        32   device id
 *     to          32   device id
 *     body             by kind:
 *       1 offer       attempt 1, wanted media 1, flags 1 (bit 0 resume), description
 *       2 answer      attempt 1, description
 *       3 ringing     –
 *       4 refuse      reason 1
 *       5 candidates  attempt 1, candidates
 *       6 hangup      reason 1
 */
export type Signal = SignalHeader & SignalBody;

export interface SignalHeader {
  /** A ULID, the same word on both sides and on MQTT. */
  readonly callId: string;
  /** 16 bit. */
  readonly sequence: number;
  readonly sentAtUnixMs: number;
  /** Device id, 64 lower-case hex digits. */
  readonly from: string;
  readonly to: string;
}

export type SignalBody =
  | {
      readonly kind: 'offer';
      /**
       * Which connection of this call: 1, then 2 when the first found no way. An answer repeats it.
       */
      readonly attempt: number;
      /** Bits of MEDIA. */
      readonly media: number;
      /** The call runs already and lost its media. Reserved: nothing sends it yet. */
      readonly resume: boolean;
      readonly description: SessionDescription;
    }
  | {
      readonly kind: 'answer';
      readonly attempt: number;
      readonly description: SessionDescription;
    }
  /** It rings here. */
  | { readonly kind: 'ringing' }
  | { readonly kind: 'refuse'; readonly reason: RefuseReason }
  /** Found after the offer or answer had left. */
  | {
      readonly kind: 'candidates';
      readonly attempt: number;
      readonly candidates: readonly Candidate[];
    }
  | { readonly kind: 'hangup'; readonly reason: HangupReason };

export type SignalKind = SignalBody['kind'];

/**
 * Bits of `media`. A receiver takes part in what it knows and leaves the rest; both of these are
 * always wanted.
 */
export const MEDIA = { audio: 1, control: 2 } as const;
export const MEDIA_WANTED = MEDIA.audio | MEDIA.control;

const KINDS = [undefined, 'offer', 'answer', 'ringing', 'refuse', 'candidates', 'hangup'] as const;
const RESUME_FLAG = 1;

/** Why a device does not take a call. Wire codes are positions. */
export const REFUSE_REASONS = ['rejected', 'busy', 'denied', 'no_answer'] as const;
export type RefuseReason = (typeof REFUSE_REASONS)[number];

/** Why a call that was offered, rings or runs is over. Wire codes are positions. */
export const HANGUP_REASONS = [
  'hangup',
  'cancelled',
  'answered_elsewhere',
  'no_path',
  'lost',
  'shutdown',
  'error',
] as const;
export type HangupReason = (typeof HANGUP_REASONS)[number];

const VERSION = 1;

export function encodeSignal(signal: Signal): Uint8Array {
  const writer = new Writer()
    .uint8(VERSION)
    .uint8(KINDS.indexOf(signal.kind))
    .bytes(ulidToBytes(signal.callId))
    .uint16(signal.sequence)
    .uint64(BigInt(signal.sentAtUnixMs))
    .bytes(fromHex(signal.from))
    .bytes(fromHex(signal.to));
  switch (signal.kind) {
    case 'offer':
      writer
        .uint8(signal.attempt)
        .uint8(signal.media)
        .uint8(signal.resume ? RESUME_FLAG : 0);
      writeDescription(writer, signal.description);
      break;
    case 'answer':
      writer.uint8(signal.attempt);
      writeDescription(writer, signal.description);
      break;
    case 'ringing':
      break;
    case 'refuse':
      writer.uint8(REFUSE_REASONS.indexOf(signal.reason));
      break;
    case 'candidates':
      writer.uint8(signal.attempt);
      writeCandidates(writer, signal.candidates);
      break;
    case 'hangup':
      writer.uint8(HANGUP_REASONS.indexOf(signal.reason));
      break;
    default:
      signal satisfies never;
  }
  return writer.finish();
}

/** @throws {DecodeError} on anything that `encodeSignal` does not write */
export function decodeSignal(bytes: Uint8Array): Signal {
  if (bytes.length > MAX_SIGNAL_BYTES) throw new DecodeError('signal too large');
  const reader = new Reader(bytes);
  if (reader.uint8() !== VERSION) throw new DecodeError('unknown signal version');
  const kind = KINDS[reader.uint8()];
  if (kind === undefined) throw new DecodeError('unknown signal kind');
  const header = {
    callId: ulidFromBytes(reader.bytes(16)),
    sequence: reader.uint16(),
    sentAtUnixMs: unixMs(reader.uint64()),
    from: toHex(reader.bytes(32)),
    to: toHex(reader.bytes(32)),
  };
  const signal = { ...header, ...readBody(kind, reader) };
  if (reader.remaining !== 0) throw new DecodeError('bytes after the signal');
  return signal;
}

function readBody(kind: SignalKind, reader: Reader): SignalBody {
  switch (kind) {
    case 'offer': {
      const attempt = readAttempt(reader);
      const media = reader.uint8();
      if ((media & MEDIA_WANTED) !== MEDIA_WANTED) throw new DecodeError('offer without audio');
      const flags = reader.uint8();
      if ((flags & ~RESUME_FLAG) !== 0) throw new DecodeError('unknown offer flag');
      return { kind, attempt, media, resume: flags !== 0, description: readDescription(reader) };
    }
    case 'answer':
      return { kind, attempt: readAttempt(reader), description: readDescription(reader) };
    case 'ringing':
      return { kind };
    case 'refuse':
      return { kind, reason: readReason(REFUSE_REASONS, reader) };
    case 'candidates':
      return { kind, attempt: readAttempt(reader), candidates: readCandidates(reader) };
    case 'hangup':
      return { kind, reason: readReason(HANGUP_REASONS, reader) };
    default:
      return kind satisfies never;
  }
}

function readAttempt(reader: Reader): number {
  const attempt = reader.uint8();
  if (attempt === 0) throw new DecodeError('attempts count from 1');
  return attempt;
}

function readReason<Reason>(reasons: readonly Reason[], reader: Reader): Reason {
  const reason = reasons[reader.uint8()];
  if (reason === undefined) throw new DecodeError('unknown reason');
  return reason;
}

function unixMs(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new DecodeError('time out of range');
  return Number(value);
}
