import type { Candidate, SessionDescription } from './description.ts';
import type { HangupReason } from './signal.ts';

/**
 * What a call wants of its media. `attempt` numbers the connections of one call; a command with a
 * higher one begins a new connection and closes the one before.
 */
export type MediaCommand =
  | { readonly kind: 'offer'; readonly attempt: number }
  | { readonly kind: 'answer'; readonly attempt: number; readonly offer: SessionDescription }
  | { readonly kind: 'accept'; readonly attempt: number; readonly answer: SessionDescription }
  | {
      readonly kind: 'candidates';
      readonly attempt: number;
      readonly candidates: readonly Candidate[];
    }
  | { readonly kind: 'bye'; readonly reason: HangupReason }
  | { readonly kind: 'close' };

/** What media tells its call. */
export type MediaEvent =
  /** Our side's description: comes once after `offer` or `answer`. */
  | { readonly kind: 'described'; readonly description: SessionDescription }
  /** Candidates of ours that were found later. */
  | { readonly kind: 'candidates'; readonly candidates: readonly Candidate[] }
  /** Encrypted with the fingerprint of the description, and ready for RTP both ways. */
  | { readonly kind: 'connected' }
  /** Something came from the far side since this was last said. About once a second. */
  | { readonly kind: 'heard' }
  /** The far side ended the call; it was told that we heard. */
  | { readonly kind: 'bye'; readonly reason: HangupReason }
  /** The far side heard our `bye`. */
  | { readonly kind: 'bye-heard' }
  /** It will never connect, or was connected and is gone. Nothing follows. */
  | { readonly kind: 'failed'; readonly message: string };

export interface MediaStats {
  readonly rtpSent: number;
  readonly rtpReceived: number;
  /** Not RTP, not a control frame, or larger than such a thing may be. */
  readonly malformed: number;
  /** RTP given to `sendRtp` while there was no open track. */
  readonly unsent: number;
  /** `host`, `srflx`, `prflx`, `relay` of the chosen pair, ours and theirs; undefined before. */
  readonly path: { readonly local: string; readonly remote: string } | undefined;
}

/** One connection to one device: one Opus track, one control channel. */
export interface MediaConnection {
  /** What our RTP packets must carry. */
  readonly localSsrc: number;
  /** Make an offer → `described`. Once, first. */
  offer(): void;
  /** Answer `offer` → `described`, then `connected`. Once, first. */
  answer(offer: SessionDescription): void;
  /** Take the answer to our offer → `connected`. Once. */
  accept(answer: SessionDescription): void;
  /** Candidates of the far side; those that come before its description wait for it. */
  addCandidates(candidates: readonly Candidate[]): void;
  /**
   * Send one RTP packet (12-byte header, payload type OPUS_PAYLOAD_TYPE, our SSRC). The bytes are
   * copied.
   * @returns false, and counts, when there is no open track
   */
  sendRtp(packet: Uint8Array): boolean;
  /**
   * Where RTP from the far side goes: one handler. RTCP does not come here. The packet belongs to
   * the handler.
   */
  onRtp(handler: ((packet: Uint8Array) => void) | undefined): void;
  /** Say that the call is over → `bye-heard`, or nothing. */
  bye(reason: HangupReason): void;
  stats(): MediaStats;
  /** Idempotent. No event and no RTP comes afterwards; a frame that is under way still leaves. */
  close(): void;
}

/** Where connections come from: node-datachannel (webrtc.ts), or memory (fake-media.ts). */
export interface MediaTransport {
  /**
   * Make ready for the first `open`; later calls cost nothing.
   * @throws {AgentError} `media-unavailable` on a machine that has none
   */
  prepare(): Promise<void>;
  /** Never throws: what goes wrong comes as `failed`. */
  open(onEvent: (event: MediaEvent) => void): MediaConnection;
  /** Close every connection and give everything back, so that the process can end. */
  shutdown(): Promise<void>;
}
