import { utf8 } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type {
  AgentEvent,
  CallSnapshot,
  CommandResult,
  MessageRecord,
  SystemEvent,
} from '../events.ts';
import { API_LEVEL, CLOCK_FLOOR_UNIX_MS, PAYLOAD_VERSION } from './limits.ts';
import type { OutgoingMessage } from './message.ts';
import type { Topics } from './topics.ts';

/**
 * AgentEvent → topic and payload, as README.md promises them. State is retained and in words or small JSON, so that a
 * house compares strings; an event is a JSON object with `event_type` and is never retained.
 */

/** `synced`: confirmed by a time server; `set`: plausible, nothing more is known; `unset`: a board just woken. */
export type ClockState = 'synced' | 'set' | 'unset';

/** What a wall clock tells about itself. */
export function clockStateOf(unixMs: Millis): ClockState {
  return unixMs < CLOCK_FLOOR_UNIX_MS ? 'unset' : 'set';
}

export interface Privacy {
  /** `privacy.publish_message_text`: the text of messages goes out in `event/message`. */
  readonly publishMessageText: boolean;
}

/** What `info` tells about the station. */
export interface StationInfo {
  readonly version: string;
  /** 40 hex digits; only the first 8 are published. */
  readonly stationId: string;
  readonly board?: string;
  readonly features?: readonly string[];
  /** Short hash of the configuration in force. */
  readonly configHash?: string;
}

/** An event before it has its envelope; fields are snake_case and go out as they are. */
export interface EventBody {
  readonly topic: string;
  readonly eventType: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Envelope {
  /** ULID; consumers drop the second of two, because QoS 1 may deliver twice. */
  readonly id: string;
  /** Counts events since the station started: a gap shows a loss. */
  readonly seq: number;
  readonly unixMs: Millis;
  readonly clock: ClockState;
}

/** RFC 3339 in UTC with milliseconds. */
export function timestamp(unixMs: Millis): string {
  return new Date(unixMs).toISOString();
}

/** The event to publish for `event`, or undefined when it has none (a state, or a step nobody outside needs). */
export function eventBody(
  topics: Topics,
  event: AgentEvent,
  privacy: Privacy,
): EventBody | undefined {
  switch (event.type) {
    case 'call.incoming':
    case 'call.ringing':
    case 'call.answered':
      return {
        topic: topics.callEvent,
        eventType: event.type.slice('call.'.length),
        fields: callFields(event.call),
      };
    case 'call.ended':
    case 'call.missed':
    case 'call.rejected':
    case 'call.failed':
      return {
        topic: topics.callEvent,
        eventType: event.type.slice('call.'.length),
        fields: {
          ...callFields(event.call),
          reason: event.reason,
          duration_s: event.durationS,
          ...(event.quality !== undefined && {
            quality: {
              loss_pct: event.quality.lossPct,
              jitter_ms: event.quality.jitterMs,
              delay_ms: event.quality.delayMs,
            },
          }),
        },
      };
    case 'message':
      return messageBody(topics, event.message, privacy);
    case 'security':
      return {
        topic: topics.securityEvent,
        eventType: event.kind,
        fields: { count: event.count },
      };
    case 'system':
      return { topic: topics.systemEvent, eventType: event.kind, fields: {} };
    case 'call.phase':
    case 'dht.state':
    case 'audio.state':
      return undefined;
    default:
      return event satisfies never;
  }
}

function callFields(call: CallSnapshot): Record<string, unknown> {
  return { call_id: call.callId, direction: call.direction, peer: call.peer };
}

function messageBody(
  topics: Topics,
  message: MessageRecord,
  privacy: Privacy,
): EventBody | undefined {
  if (message.state === 'queued') return undefined;
  return {
    topic: topics.messageEvent,
    eventType: message.state,
    fields: {
      peer: message.peer,
      message_id: message.messageId,
      bytes: utf8(message.text).length,
      ...(message.reason !== undefined && { reason: message.reason }),
      ...(privacy.publishMessageText && { text: message.text }),
    },
  };
}

/** One event on the wire. `late`: it happened a while ago, nobody should jump to the door. */
export function encodeEvent(body: EventBody, envelope: Envelope, late: boolean): OutgoingMessage {
  const payload = JSON.stringify({
    v: PAYLOAD_VERSION,
    event_type: body.eventType,
    id: envelope.id,
    seq: envelope.seq,
    ts: timestamp(envelope.unixMs),
    clock: envelope.clock,
    ...body.fields,
    ...(late && { late }),
  });
  return { topic: body.topic, payload, retain: false };
}

/** `call/state`; `call` is undefined when no call is up, `sinceUnixMs` when that began. */
export function encodeCallState(call: CallSnapshot | undefined, sinceUnixMs: Millis): string {
  if (call === undefined) {
    return JSON.stringify({ v: PAYLOAD_VERSION, state: 'idle', since: timestamp(sinceUnixMs) });
  }
  return JSON.stringify({
    v: PAYLOAD_VERSION,
    state: call.phase,
    since: timestamp(call.sinceUnixMs),
    ...callFields(call),
  });
}

/** `net/state`. */
export function encodeNetState(
  state: Pick<Extract<SystemEvent, { type: 'dht.state' }>, 'state' | 'peers4' | 'peers6'>,
): string {
  return JSON.stringify({ dht: state.state, peers4: state.peers4, peers6: state.peers6 });
}

/** `info`. */
export function encodeInfo(info: StationInfo, clock: ClockState): string {
  return JSON.stringify({
    v: PAYLOAD_VERSION,
    version: info.version,
    api: API_LEVEL,
    station: info.stationId.slice(0, 8),
    board: info.board,
    features: info.features ?? [],
    config: info.configHash,
    clock,
  });
}

/** `result/<verb>`. `id` is left out for a command that asked through a Response Topic alone. */
export function encodeResult(
  id: string | undefined,
  result: CommandResult,
  tookMs: Millis,
): string {
  return JSON.stringify({
    v: PAYLOAD_VERSION,
    id,
    ok: result.code === 'ok' || result.code === 'accepted',
    code: result.code,
    message: result.message,
    took_ms: Math.max(0, Math.round(tookMs)),
    data: result.data ?? {},
  });
}
