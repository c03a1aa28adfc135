import { describe, expect, test } from 'vitest';
import { utf8 } from '../../agent/base/bytes.ts';
import { decodeCommand } from '../../agent/mqtt/command.ts';
import { COMMAND_BYTES } from '../../agent/mqtt/limits.ts';
import type { IncomingMessage } from '../../agent/mqtt/message.ts';
import { ACCOUNT_ID, topics, UNIX_MS } from './samples.ts';

type Extras = Partial<Omit<IncomingMessage, 'topic' | 'payload'>>;

function decode(verb: string, payload: string | Uint8Array, extras: Extras = {}) {
  const bytes = typeof payload === 'string' ? utf8(payload) : payload;
  const delivery = { topic: `doorward/front/cmd/${verb}`, payload: bytes, retain: false };
  return decodeCommand(topics, { ...delivery, ...extras }, UNIX_MS, 'set');
}

describe('a command', () => {
  test.each([
    ['call', '{"to":"alice"}', { type: 'call', to: 'alice' }],
    ['call', 'alice', { type: 'call', to: 'alice' }],
    ['call', ' alice\n', { type: 'call', to: 'alice' }],
    ['call', ACCOUNT_ID, { type: 'call', to: ACCOUNT_ID }],
    ['call', '{"to":"Tür 2","unknown":[1,{}]}', { type: 'call', to: 'Tür 2' }],
    ['answer', '', { type: 'answer' }],
    ['answer', '{}', { type: 'answer' }],
    ['answer', 'PRESS', { type: 'answer' }],
    ['answer', 'answer', { type: 'answer' }],
    ['answer', '{"call_id":"01J"}', { type: 'answer', callId: '01J' }],
    ['hangup', 'HANGUP', { type: 'hangup' }],
    ['hangup', '{"call_id":"01J"}', { type: 'hangup', callId: '01J' }],
    [
      'message',
      '{"to":"alice","text":"{hi}\\n"}',
      { type: 'message', to: 'alice', text: '{hi}\n' },
    ],
  ])('cmd/%s %j is understood', (verb, payload, command) => {
    expect(decode(verb, payload)).toMatchObject({ kind: 'command', verb, command });
  });

  test.each([
    ['call', ''],
    ['call', '{}'],
    ['call', '{"to":""}'],
    ['call', '{"to":7}'],
    ['call', '{"to":["alice"]}'],
    ['call', '["alice"]'],
    ['call', '"alice"'],
    ['call', '{"to":"alice"'],
    ['call', `{"to":"${'x'.repeat(65)}"}`],
    ['call', '{"to":"a\\u0000b"}'],
    ['call', '{"to":"\\ud800"}'],
    ['call', '{"__proto__":{"to":"alice"}}'],
    ['call', '{"to":"alice","id":7}'],
    ['call', '{"to":"alice","id":""}'],
    ['call', `{"to":"alice","id":"${'x'.repeat(65)}"}`],
    ['call', '{"to":"alice","ts":1788257702}'],
    ['call', '{"to":"alice","ts":"2026-09-01T10:15:02"}'],
    ['call', '{"to":"alice","ts":"tomorrow"}'],
    ['answer', 'maybe'],
    ['hangup', '{"call_id":5}'],
    ['message', 'alice'],
    ['message', '{"to":"alice"}'],
    ['message', '{"to":"alice","text":""}'],
    ['message', '{"to":"alice","text":"\\udfff"}'],
    ['message', '{"text":"hi"}'],
    ['call', Uint8Array.of(0xff, 0xfe)],
    ['call', new Uint8Array(COMMAND_BYTES + 1).fill(0x61)],
  ])('cmd/%s %j is a bad request', (verb, payload) => {
    expect(decode(verb, payload)).toMatchObject({
      kind: 'refusal',
      result: { code: 'bad_request' },
    });
  });

  test('that nobody knows is an unknown verb, with its id', () => {
    expect(decode('door/main', '{"id":"1","action":"OPEN"}')).toMatchObject({
      kind: 'refusal',
      verb: 'door/main',
      result: { code: 'unknown_verb' },
      reply: { id: '1', topic: 'doorward/front/result/door/main' },
    });
  });

  test('on a topic that is not ours, or endless, is nothing', () => {
    const elsewhere = { topic: 'doorward/back/cmd/call', payload: utf8('alice'), retain: false };
    expect(decodeCommand(topics, elsewhere, UNIX_MS, 'set')).toBeUndefined();
    expect(decode('x'.repeat(65), '')).toBeUndefined();
  });

  test('does not echo its payload in a refusal', () => {
    const refused = decode('call', '{"to": hunter2 }');
    expect(JSON.stringify(refused)).not.toContain('hunter2');
  });
});

describe('a retained command', () => {
  test('is refused, with its id', () => {
    expect(decode('hangup', '{"id":"1"}', { retain: true })).toMatchObject({
      kind: 'refusal',
      result: { code: 'retained' },
      reply: { id: '1' },
    });
  });
});

describe('ts', () => {
  const at = (offsetMs: number) => new Date(UNIX_MS + offsetMs).toISOString();

  test.each([
    [0, 'command'],
    [15_000, 'command'],
    [-15_000, 'command'],
    [15_001, 'stale'],
    [-15_001, 'stale'],
    [-3_600_000, 'stale'],
  ])('%i ms away: %s', (offsetMs, expected) => {
    const decoded = decode('call', `{"to":"alice","ts":"${at(offsetMs)}"}`);
    expect(decoded?.kind === 'refusal' ? decoded.result.code : decoded?.kind).toBe(expected);
  });

  test.each([
    '2026-09-01T10:15:02Z',
    '2026-09-01T10:15:02.113456+00:00', // utcnow().isoformat() of Home Assistant
    '2026-09-01T12:15:02+02:00',
    '2026-09-01 10:15:02Z',
  ])('is read as %s', (ts) => {
    expect(decode('hangup', `{"ts":"${ts}"}`)?.kind).toBe('command');
  });

  test('cannot be judged while the own clock is not set', () => {
    const dated = {
      topic: 'doorward/front/cmd/hangup',
      payload: utf8(`{"ts":"${at(0)}"}`),
      retain: false,
    };
    expect(decodeCommand(topics, dated, 5_000, 'unset')).toMatchObject({
      kind: 'refusal',
      result: { code: 'unavailable' },
    });
    const undated = { ...dated, payload: utf8('{}') };
    expect(decodeCommand(topics, undated, 5_000, 'unset')?.kind).toBe('command');
  });
});

describe('the reply', () => {
  test('is wanted by whoever sends an id or a Response Topic', () => {
    expect(decode('hangup', '{}')?.reply).toBeUndefined();
    expect(decode('hangup', '{"id":"1"}')?.reply).toMatchObject({
      id: '1',
      topic: 'doorward/front/result/hangup',
    });
    const correlationData = Uint8Array.of(1, 2, 3);
    expect(decode('hangup', '', { responseTopic: 'me/reply', correlationData })?.reply).toEqual({
      id: undefined,
      topic: 'me/reply',
      correlationData,
    });
  });

  test('does not go where it could command a station', () => {
    const responseTopic = 'doorward/back/cmd/hangup';
    expect(decode('hangup', '{"id":"1"}', { responseTopic })?.reply?.topic).toBe(
      'doorward/front/result/hangup',
    );
    expect(decode('hangup', '{}', { responseTopic })?.reply).toBeUndefined();
  });

  test('echoes no more correlation data than is sane', () => {
    const extras = { responseTopic: 'me/reply', correlationData: new Uint8Array(257) };
    expect(decode('hangup', '', extras)?.reply?.correlationData).toBeUndefined();
  });
});
