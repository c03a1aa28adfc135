import type { AgentEvent, CallSnapshot, MessageRecord } from '../../agent/events.ts';
import { createTopics } from '../../agent/mqtt/topics.ts';

/** One of everything, for the tests of this folder. */

export const ACCOUNT_ID = '0123456789abcdef0123456789abcdef01234567';

/** 2026-09-01T10:15:02.113Z */
export const UNIX_MS = Date.UTC(2026, 8, 1, 10, 15, 2, 113);

export const topics = createTopics('doorward', 'front');

export const info = {
  version: '0.1.0',
  stationId: 'fedcba9876543210fedcba9876543210fedcba98',
};

export function call(overrides: Partial<CallSnapshot> = {}): CallSnapshot {
  return {
    callId: '01J9ZCALL0000000000000000A',
    direction: 'incoming',
    phase: 'incoming',
    peer: 'alice',
    accountId: ACCOUNT_ID,
    sinceUnixMs: UNIX_MS,
    ...overrides,
  };
}

export function message(overrides: Partial<MessageRecord> = {}): MessageRecord {
  return {
    messageId: '01J9ZMESSAGE00000000000000',
    peer: 'alice',
    accountId: ACCOUNT_ID,
    state: 'received',
    text: 'grüße',
    unixMs: UNIX_MS,
    ...overrides,
  };
}

export const incoming: AgentEvent = { type: 'call.incoming', call: call(), autoAnswer: false };

/** Every event of the vocabulary at least once. */
export const everyEvent: readonly AgentEvent[] = [
  { type: 'call.phase', call: call() },
  incoming,
  { type: 'call.ringing', call: call({ direction: 'outgoing', phase: 'ringing' }) },
  { type: 'call.answered', call: call({ phase: 'active' }) },
  {
    type: 'call.ended',
    call: call({ phase: 'idle' }),
    reason: 'remote_hangup',
    durationS: 12,
    quality: { lossPct: 0.5, jitterMs: 3, delayMs: 80 },
  },
  { type: 'call.missed', call: call({ phase: 'idle' }), reason: 'no_answer', durationS: 0 },
  { type: 'call.rejected', call: call({ phase: 'idle' }), reason: 'busy', durationS: 0 },
  { type: 'call.failed', call: call({ phase: 'idle' }), reason: 'no_path', durationS: 0 },
  { type: 'message', message: message() },
  { type: 'message', message: message({ state: 'queued' }) },
  { type: 'message', message: message({ state: 'sent' }) },
  { type: 'message', message: message({ state: 'delivered' }) },
  { type: 'message', message: message({ state: 'failed', reason: 'unreachable' }) },
  { type: 'security', kind: 'unknown_caller', count: 3 },
  { type: 'system', kind: 'started' },
  { type: 'system', kind: 'stopping' },
  { type: 'dht.state', state: 'connected', peers4: 7, peers6: 0 },
  { type: 'audio.state', state: 'no_capture' },
];
