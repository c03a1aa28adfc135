import { describe, expect, test } from 'vitest';
import type { Random } from '../../agent/base/random.ts';
import { MESSAGE_LIMITS } from '../../agent/contact/message-limits.ts';
import { type MessageAuthor, Messages, type MessagesOutput } from '../../agent/contact/messages.ts';

const UNIX_MS = 1_780_000_000_000;
const alice: MessageAuthor = { peer: 'alice', accountId: 'a'.repeat(40), deviceId: '1'.repeat(64) };
const bob: MessageAuthor = { peer: 'bob', accountId: 'b'.repeat(40), deviceId: '2'.repeat(64) };

function counting(): Random {
  let n = 0;
  return {
    bytes: (length) => new Uint8Array(length),
    uint32: () => (++n * 0x9e3779b1) >>> 0,
    fraction: () => 0.5,
  };
}

const drain = (messages: Messages) => {
  const outputs: MessagesOutput[] = [];
  for (let out = messages.poll(); out !== undefined; out = messages.poll()) outputs.push(out);
  return outputs;
};

const states = (outputs: MessagesOutput[]) =>
  outputs.flatMap((out) => (out.type === 'event' ? [out.event.message.state] : []));

function sentTo(messages: Messages, to: MessageAuthor, now = 0): bigint {
  messages.send(to, 'hello', now, UNIX_MS);
  const put = drain(messages).find((out) => out.type === 'put');
  if (put?.type !== 'put') throw new Error('nothing was put');
  return put.message.id;
}

describe('a message of ours', () => {
  test('goes queued, sent, delivered, and is no longer kept alive then', () => {
    const messages = new Messages({ random: counting() });
    messages.send(alice, 'hello', 0, UNIX_MS);
    const first = drain(messages);
    expect(states(first)).toEqual(['queued']);
    const put = first.find((out) => out.type === 'put');
    expect(put).toMatchObject({
      accountId: alice.accountId,
      message: { kind: 'text', text: 'hello' },
    });
    const id = put?.type === 'put' ? put.message.id : 0n;
    messages.stored(id);
    messages.stored(id);
    expect(states(drain(messages))).toEqual(['sent']);
    messages.receive(alice, { kind: 'ack', id }, 5, UNIX_MS);
    const last = drain(messages);
    expect(states(last)).toEqual(['delivered']);
    expect(last).toContainEqual({ type: 'forget', id });
    expect(messages.list().map((m) => m.state)).toEqual(['delivered']);
    expect(messages.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  test('is not confirmed by somebody else', () => {
    const messages = new Messages({ random: counting() });
    const id = sentTo(messages, alice);
    messages.receive(bob, { kind: 'ack', id }, 5, UNIX_MS);
    expect(drain(messages)).toEqual([]);
    expect(messages.stats()['unknownAck']).toBe(1);
  });

  test('fails when its lifetime ends, with the reason', () => {
    const messages = new Messages({ random: counting() });
    const id = sentTo(messages, alice, 100);
    expect(messages.nextTimeout()).toBe(100 + MESSAGE_LIMITS.lifetimeMs);
    messages.timeout(99 + MESSAGE_LIMITS.lifetimeMs);
    expect(drain(messages)).toEqual([]);
    messages.timeout(100 + MESSAGE_LIMITS.lifetimeMs);
    const outputs = drain(messages);
    expect(states(outputs)).toEqual(['failed']);
    expect(outputs).toContainEqual({ type: 'forget', id });
    expect(messages.list()[0]?.reason).toBe('expired');
  });

  test('is refused when it is empty, too long, or too many wait', () => {
    const messages = new Messages({ random: counting() });
    expect(() => messages.send(alice, '', 0, UNIX_MS)).toThrow('no text');
    expect(() =>
      messages.send(alice, 'ä'.repeat(MESSAGE_LIMITS.textBytes / 2 + 1), 0, UNIX_MS),
    ).toThrow('at most 4096');
    for (let i = 0; i < MESSAGE_LIMITS.outgoing; i++) messages.send(alice, `${i}`, 0, UNIX_MS);
    expect(() => messages.send(alice, 'more', 0, UNIX_MS)).toThrow('wait to be confirmed');
    expect(messages.stats()['outgoing']).toBe(MESSAGE_LIMITS.outgoing);
  });

  test('that was under way when the station ended counts as failed after a restart', () => {
    const first = new Messages({ random: counting() });
    sentTo(first, alice);
    const second = new Messages({ random: counting(), history: first.list() });
    expect(second.list()).toMatchObject([{ state: 'failed', reason: 'restarted', text: 'hello' }]);
  });
});

describe('a message of theirs', () => {
  const text = (id: bigint, body = 'hi') =>
    ({ kind: 'text', id, text: body, dateUnixS: 0 }) as const;

  test('is shown once and confirmed each time it comes', () => {
    const messages = new Messages({ random: counting() });
    messages.receive(alice, text(7n), 0, UNIX_MS);
    messages.receive(alice, text(7n), 1, UNIX_MS);
    const outputs = drain(messages);
    expect(states(outputs)).toEqual(['received']);
    expect(outputs.filter((out) => out.type === 'acknowledge')).toHaveLength(2);
    expect(messages.stats()['repeated']).toBe(1);
  });

  test('with an id that somebody else used too is another message', () => {
    const messages = new Messages({ random: counting() });
    messages.receive(alice, text(7n), 0, UNIX_MS);
    messages.receive(bob, text(7n), 0, UNIX_MS);
    expect(states(drain(messages))).toEqual(['received', 'received']);
  });

  test('over the rate is dropped, counted and not confirmed; another contact is not slowed', () => {
    const messages = new Messages({ random: counting() });
    for (let i = 1; i <= MESSAGE_LIMITS.ratePerWindow + 5; i++)
      messages.receive(alice, text(BigInt(i)), 0, UNIX_MS);
    messages.receive(bob, text(1n), 0, UNIX_MS);
    const outputs = drain(messages);
    expect(states(outputs)).toHaveLength(MESSAGE_LIMITS.ratePerWindow + 1);
    expect(outputs.filter((out) => out.type === 'acknowledge')).toHaveLength(
      MESSAGE_LIMITS.ratePerWindow + 1,
    );
    expect(messages.stats()['rateLimited']).toBe(5);
    messages.receive(alice, text(1000n), MESSAGE_LIMITS.rateWindowMs, UNIX_MS);
    expect(states(drain(messages))).toEqual(['received']);
  });

  test('that is too long is dropped and counted', () => {
    const messages = new Messages({ random: counting() });
    messages.receive(alice, text(1n, 'x'.repeat(MESSAGE_LIMITS.textBytes + 1)), 0, UNIX_MS);
    expect(drain(messages)).toEqual([]);
    expect(messages.stats()['tooLong']).toBe(1);
  });

  test('history and remembered ids stay within their limits', () => {
    const messages = new Messages({ random: counting() });
    for (let i = 1; i <= MESSAGE_LIMITS.seenIds + 50; i++) {
      messages.receive(alice, text(BigInt(i)), i * MESSAGE_LIMITS.rateWindowMs, UNIX_MS);
    }
    drain(messages);
    expect(messages.list()).toHaveLength(MESSAGE_LIMITS.history);
    expect(messages.stats()).toMatchObject({
      history: MESSAGE_LIMITS.history,
      seen: MESSAGE_LIMITS.seenIds,
    });
    expect(messages.list().at(-1)?.messageId).toBe(
      (MESSAGE_LIMITS.seenIds + 50).toString(16).padStart(16, '0'),
    );
  });
});
