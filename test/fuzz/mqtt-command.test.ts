import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../agent/base/bytes.ts';
import { decodeCommand } from '../../agent/mqtt/command.ts';
import type { IncomingMessage } from '../../agent/mqtt/message.ts';
import { createTopics } from '../../agent/mqtt/topics.ts';

const topics = createTopics('doorward', 'front');
const NOW = Date.UTC(2026, 8, 1, 10, 15, 2);

const mostly = (usual: string, odd: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: odd });

const wellFormed = fc.record(
  {
    id: mostly('b1f2', fc.oneof(fc.string({ maxLength: 70 }), fc.jsonValue())),
    ts: mostly('2026-09-01T10:15:00Z', fc.oneof(fc.string(), fc.jsonValue())),
    to: mostly('alice', fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue())),
    text: mostly('hello', fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue())),
    call_id: mostly('01J9Z', fc.jsonValue()),
  },
  { requiredKeys: [] },
);

/** Nearly right, with a few bytes changed. */
const mutated = fc
  .tuple(
    wellFormed,
    fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
  )
  .map(([fields, changes]) => {
    const bytes = utf8(JSON.stringify(fields));
    for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
    return bytes;
  });

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.string({ unit: 'binary', maxLength: 64 }).map(utf8),
  wellFormed.map((fields) => utf8(JSON.stringify(fields))),
  mutated,
);

const delivery: fc.Arbitrary<IncomingMessage> = fc.record(
  {
    topic: fc.oneof(
      fc
        .constantFrom('call', 'answer', 'hangup', 'message', 'door/main', '')
        .map((verb) => `doorward/front/cmd/${verb}`),
      fc.string({ unit: 'binary' }),
    ),
    payload,
    retain: fc.boolean(),
    responseTopic: fc.oneof(fc.constant('me/reply'), fc.string({ unit: 'binary' })),
    correlationData: fc.uint8Array({ maxLength: 300 }),
  },
  { requiredKeys: ['topic', 'payload', 'retain'] },
);

describe('decodeCommand under hostile publishes', () => {
  test('never throws, and gives a command only with sound values', () => {
    let commands = 0;
    fc.assert(
      fc.property(delivery, (message) => {
        const decoded = decodeCommand(topics, message, NOW, 'set');
        if (decoded === undefined) return;
        if (decoded.reply !== undefined) {
          expect(decoded.reply.topic).not.toMatch(/[+#]|^doorward\/front\/(?!result\/)/);
        }
        if (decoded.kind === 'refusal') {
          expect(decoded.result.message.length).toBeLessThan(100);
          return;
        }
        commands++;
        expect(message.retain).toBe(false);
        for (const value of Object.values(decoded.command)) {
          expect(typeof value).toBe('string');
          expect(value).not.toMatch(/\p{Cs}/u);
        }
        if ('to' in decoded.command) expect(decoded.command.to).not.toMatch(/\p{Cc}/u);
        if ('to' in decoded.command) expect(decoded.command.to.length).toBeLessThanOrEqual(64);
      }),
      { numRuns: 2_000 },
    );
    // The generator does reach the far side.
    expect(commands).toBeGreaterThan(50);
  });

  test('deep nesting costs no stack', () => {
    const deep = utf8(`{"to":${'['.repeat(8_000)}`);
    const message = { topic: 'doorward/front/cmd/call', payload: deep, retain: false };
    expect(decodeCommand(topics, message, NOW, 'set')).toMatchObject({
      result: { code: 'bad_request' },
    });
    const closed = utf8(`{"to":${'['.repeat(8_000)}${']'.repeat(8_000)}}`);
    expect(decodeCommand(topics, { ...message, payload: closed }, NOW, 'set')).toMatchObject({
      result: { code: 'bad_request' },
    });
  });
});
