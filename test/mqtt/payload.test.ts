import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  clockStateOf,
  encodeCallState,
  encodeEvent,
  encodeInfo,
  encodeNetState,
  encodeResult,
  eventBody,
} from '../../agent/mqtt/payload.ts';
import { ACCOUNT_ID, call, everyEvent, message, topics, UNIX_MS } from './samples.ts';

const quiet = { publishMessageText: false };
const open = { publishMessageText: true };
const envelope = { id: '01J9Z', seq: 4182, unixMs: UNIX_MS, clock: 'synced' } as const;

describe('event/call', () => {
  test.each([
    ['call.incoming', 'incoming'],
    ['call.ringing', 'ringing'],
    ['call.answered', 'answered'],
  ] as const)('%s carries who and which call', (type, eventType) => {
    const event =
      type === 'call.incoming' ? { type, call: call(), autoAnswer: true } : { type, call: call() };
    expect(eventBody(topics, event, quiet)).toEqual({
      topic: 'doorward/front/event/call',
      eventType,
      fields: { call_id: '01J9ZCALL0000000000000000A', direction: 'incoming', peer: 'alice' },
    });
  });

  test.each(['ended', 'missed', 'rejected', 'failed'] as const)(
    '%s carries reason and duration, and quality when it is known',
    (word) => {
      const over = { type: `call.${word}`, call: call(), reason: 'lost', durationS: 61 } as const;
      const plain = eventBody(topics, over, quiet);
      expect(plain?.eventType).toBe(word);
      expect(plain?.fields).toEqual({
        call_id: '01J9ZCALL0000000000000000A',
        direction: 'incoming',
        peer: 'alice',
        reason: 'lost',
        duration_s: 61,
      });
      const quality = { lossPct: 1.5, jitterMs: 4, delayMs: 90 };
      expect(eventBody(topics, { ...over, quality }, quiet)?.fields['quality']).toEqual({
        loss_pct: 1.5,
        jitter_ms: 4,
        delay_ms: 90,
      });
    },
  );
});

describe('event/message', () => {
  test('counts bytes, not characters, and keeps the text to itself', () => {
    expect(eventBody(topics, { type: 'message', message: message() }, quiet)).toEqual({
      topic: 'doorward/front/event/message',
      eventType: 'received',
      fields: { peer: 'alice', message_id: '01J9ZMESSAGE00000000000000', bytes: 7 },
    });
  });

  test('carries the text only where the house asked for it', () => {
    const body = eventBody(topics, { type: 'message', message: message() }, open);
    expect(body?.fields['text']).toBe('grüße');
  });

  test('is not sent for a message that only waits', () => {
    const queued = { type: 'message', message: message({ state: 'queued' }) } as const;
    expect(eventBody(topics, queued, quiet)).toBeUndefined();
  });

  test('tells why a message failed', () => {
    const failed = message({ state: 'failed', reason: 'unreachable' });
    const body = eventBody(topics, { type: 'message', message: failed }, quiet);
    expect(body?.fields['reason']).toBe('unreachable');
  });
});

describe('events', () => {
  test('have the envelope in front of their fields', () => {
    const body = { topic: 'doorward/front/event/bell', eventType: 'ring', fields: { button: 'm' } };
    expect(encodeEvent(body, envelope, false)).toEqual({
      topic: 'doorward/front/event/bell',
      retain: false,
      payload:
        '{"v":1,"event_type":"ring","id":"01J9Z","seq":4182,' +
        '"ts":"2026-09-01T10:15:02.113Z","clock":"synced","button":"m"}',
    });
  });

  test('say when they are late, and only then', () => {
    const body = { topic: 't', eventType: 'ring', fields: {} };
    expect(JSON.parse(encodeEvent(body, envelope, true).payload)).toHaveProperty('late', true);
    expect(JSON.parse(encodeEvent(body, envelope, false).payload)).not.toHaveProperty('late');
  });

  test('are never retained and never carry an account id', () => {
    for (const event of everyEvent) {
      const body = eventBody(topics, event, open);
      if (body === undefined) continue;
      const sent = encodeEvent(body, envelope, false);
      expect(sent.retain).toBe(false);
      expect(sent.topic).toMatch(/^doorward\/front\/event\//);
      expect(sent.payload).not.toContain(ACCOUNT_ID.slice(0, 12));
    }
  });

  test('are one JSON object with event_type whatever a peer is called or writes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (peer, text) => {
        const body = eventBody(topics, { type: 'message', message: message({ peer, text }) }, open);
        if (body === undefined) throw new Error('no event');
        const sent = encodeEvent(body, envelope, false);
        expect(sent.topic).toBe('doorward/front/event/message');
        expect(JSON.parse(sent.payload)).toMatchObject({
          v: 1,
          event_type: 'received',
          peer,
          text,
        });
      }),
    );
  });

  test('say unknown_caller how many were refused', () => {
    const event = { type: 'security', kind: 'unknown_caller', count: 3 } as const;
    expect(eventBody(topics, event, quiet)).toEqual({
      topic: 'doorward/front/event/security',
      eventType: 'unknown_caller',
      fields: { count: 3 },
    });
  });
});

describe('states', () => {
  test('call/state is idle with the time since when', () => {
    expect(encodeCallState(undefined, UNIX_MS)).toBe(
      '{"v":1,"state":"idle","since":"2026-09-01T10:15:02.113Z"}',
    );
  });

  test('call/state of a call tells which, which way and with whom', () => {
    expect(JSON.parse(encodeCallState(call({ phase: 'active' }), 0))).toEqual({
      v: 1,
      state: 'active',
      since: '2026-09-01T10:15:02.113Z',
      call_id: '01J9ZCALL0000000000000000A',
      direction: 'incoming',
      peer: 'alice',
    });
  });

  test('net/state', () => {
    expect(encodeNetState({ state: 'connected', peers4: 5, peers6: 2 })).toBe(
      '{"dht":"connected","peers4":5,"peers6":2}',
    );
  });

  test('info shows no more than eight digits of the id', () => {
    const text = encodeInfo({ version: '0.1.0', stationId: ACCOUNT_ID, board: 'Pi 4' }, 'set');
    expect(JSON.parse(text)).toEqual({
      v: 1,
      version: '0.1.0',
      api: 1,
      station: '01234567',
      board: 'Pi 4',
      features: [],
      clock: 'set',
    });
  });

  test('a clock before 2026 is that of a board just woken', () => {
    expect(clockStateOf(0)).toBe('unset');
    expect(clockStateOf(Date.UTC(2026, 0, 1) - 1)).toBe('unset');
    expect(clockStateOf(UNIX_MS)).toBe('set');
  });
});

describe('results', () => {
  test('are spelled as the contract says', () => {
    const result = { code: 'denied', message: 'mqtt may not open door main' } as const;
    expect(encodeResult('b1f2', result, 3.4)).toBe(
      '{"v":1,"id":"b1f2","ok":false,"code":"denied",' +
        '"message":"mqtt may not open door main","took_ms":3,"data":{}}',
    );
  });

  test.each([
    ['ok', true],
    ['accepted', true],
    ['busy', false],
  ] as const)('%s is ok: %s', (code, ok) => {
    expect(JSON.parse(encodeResult('1', { code, message: '' }, 0))).toMatchObject({ ok });
  });

  test('hand on what the station found out', () => {
    const result = { code: 'accepted', message: 'calling', data: { call_id: 'x' } } as const;
    expect(JSON.parse(encodeResult('1', result, 0))).toMatchObject({ data: { call_id: 'x' } });
  });
});
