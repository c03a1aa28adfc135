/**
 * The vocabulary between parts: everything that can happen and everything that can be asked for.
 * Types only. `daemon.ts` shows who reacts.
 */

/** Rights of a contact. `open:<door>` and the rest of the table join with their features. */
export const RIGHTS = ['ring', 'auto_answer'] as const;
export type Right = (typeof RIGHTS)[number];

/** Published as they are on `call/state` (docs of the MQTT contract: agent/mqtt/README.md). */
export type CallPhase = 'idle' | 'dialing' | 'ringing' | 'incoming' | 'active' | 'ending';

export type CallDirection = 'incoming' | 'outgoing';

/** Why a call ended, was refused or failed; stable words, part of the MQTT and CLI promise. */
export type EndReason =
  | 'hangup' // we ended it
  | 'remote_hangup' // they ended it
  | 'rejected' // they, or we, refused while it rang
  | 'busy'
  | 'no_answer' // nobody answered within the ring timeout
  | 'cancelled' // the caller gave up while it rang
  | 'unreachable' // no device of the contact was found, or none reacted
  | 'no_path' // signalling worked, media found no way
  | 'lost' // media stopped in the call
  | 'denied' // the other side does not let us call
  | 'shutdown' // the station stops
  | 'error';

export interface CallQuality {
  readonly lossPct: number;
  readonly jitterMs: number;
  readonly delayMs: number;
}

/** What is known of a call at one moment. */
export interface CallSnapshot {
  readonly callId: string;
  readonly direction: CallDirection;
  readonly phase: CallPhase;
  /** Contact name, or `unknown`. */
  readonly peer: string;
  /** Account id of the peer, 40 hex digits. Never leaves over MQTT. */
  readonly accountId: string;
  /** Wall clock ms of the last change of phase. */
  readonly sinceUnixMs: number;
}

export type CallEvent =
  | { readonly type: 'call.phase'; readonly call: CallSnapshot }
  /** Someone with the right to ring calls us. Always before `call.answered`. */
  | { readonly type: 'call.incoming'; readonly call: CallSnapshot; readonly autoAnswer: boolean }
  /** Their side rings. */
  | { readonly type: 'call.ringing'; readonly call: CallSnapshot }
  /** Answered and media runs. */
  | { readonly type: 'call.answered'; readonly call: CallSnapshot }
  /** Exactly one of the next per call, always last. */
  | {
      readonly type: 'call.ended' | 'call.missed' | 'call.rejected' | 'call.failed';
      readonly call: CallSnapshot;
      readonly reason: EndReason;
      /** Seconds from answered to ended; 0 if never answered. */
      readonly durationS: number;
      readonly quality?: CallQuality;
    };

export type MessageState = 'received' | 'queued' | 'sent' | 'delivered' | 'failed';

export interface MessageRecord {
  readonly messageId: string;
  readonly peer: string;
  readonly accountId: string;
  readonly state: MessageState;
  readonly text: string;
  /** Wall clock ms: received, or first sent. */
  readonly unixMs: number;
  readonly reason?: string;
}

/** `message.received`, and the way of one that we send: queued → sent → delivered | failed. */
export interface MessageEvent {
  readonly type: 'message';
  readonly message: MessageRecord;
}

export type SecurityEvent = {
  readonly type: 'security';
  readonly kind: 'unknown_caller';
  /** How many were refused since the last event of this kind: events are rate-limited, the count is not. */
  readonly count: number;
};

export type SystemEvent =
  | { readonly type: 'system'; readonly kind: 'started' | 'stopping' }
  | {
      readonly type: 'dht.state';
      readonly state: 'disconnected' | 'connecting' | 'connected';
      readonly peers4: number;
      readonly peers6: number;
    }
  | {
      readonly type: 'audio.state';
      readonly state: 'ok' | 'no_playback' | 'no_capture' | 'both_missing';
    };

/** Everything that can happen. */
export type AgentEvent = CallEvent | MessageEvent | SecurityEvent | SystemEvent;

/** Everything that can be asked for from outside the process. */
export type AgentCommand =
  /** `to`: a contact's name or a 40-digit id. Accepted at once; progress comes as events. */
  | { readonly type: 'call'; readonly to: string }
  /** Without `callId`: the one call that rings here. */
  | { readonly type: 'answer'; readonly callId?: string }
  /** Without `callId`: every call. */
  | { readonly type: 'hangup'; readonly callId?: string }
  | { readonly type: 'message'; readonly to: string; readonly text: string };

/** Result codes, the same words over MQTT and the control socket. */
export type ResultCode =
  | 'ok'
  | 'accepted'
  | 'bad_request'
  | 'unknown_verb'
  | 'denied'
  | 'busy'
  | 'not_found'
  | 'unreachable'
  | 'no_answer'
  | 'stale'
  | 'replayed'
  | 'retained'
  | 'rate_limited'
  | 'locked_out'
  | 'unavailable'
  | 'internal';

export interface CommandResult {
  readonly code: ResultCode;
  /** One sentence for a person. */
  readonly message: string;
  /** E.g. `{call_id}` or `{message_id}`; snake_case, goes out as it is. */
  readonly data?: Readonly<Record<string, string | number | boolean>>;
}
