import { Reader } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { HANGUP_REASONS, type HangupReason } from './signal.ts';

/**
 * Frames on the control channel, the data channel beside the audio. It is bound to the signed offer
 * and answer by the DTLS fingerprint, so what comes through it comes from the device that was
 * called. One byte of kind, then:
 *
 *     1 heartbeat  –         once a second
 *     2 bye        reason 1  the call is over
 *     3 bye heard  –         the answer to it
 */
export type ControlFrame =
  | { readonly kind: 'heartbeat' }
  | { readonly kind: 'bye'; readonly reason: HangupReason }
  | { readonly kind: 'bye-heard' };

export function encodeControl(frame: ControlFrame): Uint8Array {
  switch (frame.kind) {
    case 'heartbeat':
      return Uint8Array.of(1);
    case 'bye':
      return Uint8Array.of(2, HANGUP_REASONS.indexOf(frame.reason));
    case 'bye-heard':
      return Uint8Array.of(3);
    default:
      return frame satisfies never;
  }
}

/** @throws {DecodeError} on anything else; bytes after the frame are left to later versions */
export function decodeControl(bytes: Uint8Array): ControlFrame {
  const reader = new Reader(bytes);
  switch (reader.uint8()) {
    case 1:
      return { kind: 'heartbeat' };
    case 2: {
      const reason = HANGUP_REASONS[reader.uint8()];
      if (reason === undefined) throw new DecodeError('unknown reason');
      return { kind: 'bye', reason };
    }
    case 3:
      return { kind: 'bye-heard' };
    default:
      throw new DecodeError('unknown control frame');
  }
}
