import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AgentError } from '../../agent/base/errors.ts';
import { Contacts } from '../../agent/contact/contacts.ts';
import type { StatusResult } from '../../agent/control/protocol.ts';
import { ControlDesk } from '../../agent/control-handlers.ts';
import type { CallPhase, CallSnapshot, MessageRecord } from '../../agent/events.ts';
import { FakeClient } from '../control/fake-client.ts';

const ALICE = 'a'.repeat(40);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** The calls of a station, as far as commands see them. */
class FakeCalls {
  readonly running = new Map<string, CallSnapshot>();
  readonly hungUp: (string | undefined)[] = [];
  #count = 0;

  async place({ peer, accountId }: { peer: string; accountId: string }): Promise<string> {
    await Promise.resolve();
    const callId = `call-${++this.#count}`;
    this.running.set(callId, snapshot(callId, 'dialing', peer, accountId));
    return callId;
  }

  answer(callId?: string): string {
    if (callId === undefined) throw new AgentError('not-found', 'nobody rings');
    return callId;
  }

  hangup(callId?: string): number {
    this.hungUp.push(callId);
    if (callId !== undefined && !this.running.has(callId)) {
      throw new AgentError('not-found', `there is no call ${callId}`);
    }
    return 1;
  }

  snapshots(): CallSnapshot[] {
    return [...this.running.values()];
  }
}

function snapshot(
  callId: string,
  phase: CallPhase,
  peer = 'alice',
  accountId = ALICE,
): CallSnapshot {
  return { callId, direction: 'outgoing', phase, peer, accountId, sinceUnixMs: 0 };
}

function setUp() {
  const desk = new ControlDesk();
  const calls = new FakeCalls();
  const contacts = new Contacts('f'.repeat(40));
  contacts.add({ name: 'alice', id: ALICE }, 'config');
  const saved: string[][] = [];
  let saveFailure: Error | undefined;
  const messages: MessageRecord[] = [];
  const ready = () =>
    desk.ready({
      accountId: 'f'.repeat(40),
      clock: { now: () => performance.now(), unixMs: () => Date.now() },
      contacts,
      contactStore: {
        save: async (all) => {
          if (saveFailure !== undefined) throw saveFailure;
          saved.push(all.list().map(({ name }) => name));
        },
      },
      calls,
      messages: {
        list: () => messages,
        send: () => {
          throw new AgentError('message-empty', 'the message has no text');
        },
      },
      status: () => ({ pid: 1 }) as StatusResult,
    });
  const end = (callId: string) => {
    const call = calls.running.get(callId) ?? snapshot(callId, 'idle');
    calls.running.delete(callId);
    desk.onEvent({ type: 'call.ended', call, reason: 'hangup', durationS: 1 });
  };
  const answered = (callId: string) =>
    desk.onEvent({ type: 'call.answered', call: snapshot(callId, 'active') });
  return {
    ...{ desk, calls, contacts, saved, messages, ready, end, answered },
    client: new FakeClient(),
    failSaves: (error: Error) => {
      saveFailure = error;
    },
  };
}

describe('before the station is ready', () => {
  test('only the version is known', async () => {
    const { desk, client } = setUp();
    expect(await desk.handlers.version({}, client)).toMatchObject({ node: process.version });
    await expect(desk.handlers.status({}, client)).rejects.toMatchObject({ code: 'starting' });
    const call = { to: 'alice', audio: 'stream', for_ms: undefined } as const;
    await expect(desk.handlers.call(call, client)).rejects.toMatchObject({ code: 'starting' });
  });
});

describe('contacts', () => {
  test('are added and removed, and each change is kept', async () => {
    const { desk, client, ready, saved } = setUp();
    ready();
    const bob = { name: 'bob', id: 'B'.repeat(40), can: ['ring' as const] };
    expect(await desk.handlers['contact.add'](bob, client)).toEqual({
      ...bob,
      id: 'b'.repeat(40),
      source: 'station',
    });
    await desk.handlers['contact.remove']({ name: 'bob' }, client);
    expect(saved).toEqual([['alice', 'bob'], ['alice']]);
  });

  test('one that cannot be kept is not there', async () => {
    const { desk, client, ready, contacts, failSaves } = setUp();
    ready();
    failSaves(new AgentError('store-write', 'disk full'));
    const bob = { name: 'bob', id: 'b'.repeat(40), can: [] };
    await expect(desk.handlers['contact.add'](bob, client)).rejects.toThrow('disk full');
    expect(contacts.byName('bob')).toBeUndefined();
  });

  test('one that is removed has no right from then on, kept or not', async () => {
    const { desk, client, ready, contacts, failSaves } = setUp();
    contacts.add({ name: 'bob', id: 'b'.repeat(40) }, 'added');
    ready();
    failSaves(new AgentError('store-write', 'disk full'));
    await expect(desk.handlers['contact.remove']({ name: 'bob' }, client)).rejects.toThrow();
    expect(contacts.byName('bob')).toBeUndefined();
  });
});

test('a contact that is removed in a call is cut off, and nobody else', async () => {
  const { desk, client, ready, contacts, calls } = setUp();
  contacts.add({ name: 'bob', id: 'b'.repeat(40) }, 'added');
  ready();
  calls.running.set('with-alice', snapshot('with-alice', 'active'));
  calls.running.set('with-bob', snapshot('with-bob', 'active', 'bob', 'b'.repeat(40)));
  await desk.handlers['contact.remove']({ name: 'bob' }, client);
  expect(calls.hungUp).toEqual(['with-bob']);
});

describe('a call that a client places', () => {
  const plain = { to: 'alice', audio: 'station', for_ms: undefined } as const;

  test('is the station’s own: it goes on when the client leaves', async () => {
    const { desk, client, ready, calls } = setUp();
    ready();
    const result = await desk.handlers.call(plain, client);
    expect(result).toMatchObject({ code: 'accepted', data: { call_id: 'call-1' } });
    client.close();
    expect(calls.hungUp).toEqual([]);
    expect(desk.streamOf('call-1')).toBeUndefined();
  });

  test('ends when its time is over, counted from the answer', async () => {
    const { desk, client, ready, calls, answered, end } = setUp();
    ready();
    await desk.handlers.call({ ...plain, for_ms: 500 }, client);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(calls.hungUp).toEqual([]);
    answered('call-1');
    await vi.advanceTimersByTimeAsync(499);
    expect(calls.hungUp).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(calls.hungUp).toEqual(['call-1']);
    end('call-1');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('that ends early leaves no timer', async () => {
    const { desk, client, ready, answered, end } = setUp();
    ready();
    await desk.handlers.call({ ...plain, for_ms: 500 }, client);
    answered('call-1');
    end('call-1');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('that nobody takes is a result', async () => {
    const { desk, client, ready } = setUp();
    ready();
    expect(await desk.handlers.call({ ...plain, to: 'bob' }, client)).toMatchObject({
      code: 'not_found',
    });
  });
});

describe('a call whose sound is its client', () => {
  const streamed = { to: 'alice', audio: 'stream', for_ms: undefined } as const;

  test('says what the client sends, and sends what is heard', async () => {
    const { desk, client, ready, end } = setUp();
    ready();
    await desk.handlers.call(streamed, client);
    const stream = desk.streamOf('call-1');
    expect(stream).toBeDefined();
    expect(client.audioListener).toBeDefined();
    end('call-1');
    expect(desk.streamOf('call-1')).toBeUndefined();
    expect(client.audioListener).toBeUndefined();
  });

  test('ends when the client leaves', async () => {
    const { desk, client, ready, calls } = setUp();
    ready();
    await desk.handlers.call(streamed, client);
    client.close();
    expect(calls.hungUp).toEqual(['call-1']);
  });

  test('ends when the client left before it was told', async () => {
    const { desk, client, ready, calls } = setUp();
    ready();
    const result = desk.handlers.call(streamed, client);
    client.close();
    await result;
    expect(calls.hungUp).toEqual(['call-1']);
  });

  test('is over for a client that leaves later', async () => {
    const { desk, client, ready, calls, end } = setUp();
    ready();
    await desk.handlers.call(streamed, client);
    end('call-1');
    await desk.handlers.call(streamed, client);
    client.close();
    expect(calls.hungUp).toEqual(['call-2']);
  });
});

describe('what else can be asked', () => {
  test('the last messages, as they go over the wire', async () => {
    const { desk, client, ready, messages } = setUp();
    ready();
    for (const text of ['one', 'two', 'three']) {
      messages.push({
        ...{ messageId: text, peer: 'alice', accountId: ALICE },
        ...{ state: 'received', text, unixMs: 5 },
      });
    }
    const { messages: last } = await desk.handlers.messages({ limit: 2 }, client);
    expect(last.map(({ message_id }) => message_id)).toEqual(['two', 'three']);
  });

  test('answer, hang-up and text, whose failures are results', async () => {
    const { desk, client, ready } = setUp();
    ready();
    expect(await desk.handlers.answer({ call_id: undefined }, client)).toMatchObject({
      code: 'not_found',
    });
    expect(await desk.handlers.hangup({ call_id: 'none' }, client)).toMatchObject({
      code: 'not_found',
    });
    expect(await desk.handlers.send({ to: 'alice', text: 'x' }, client)).toMatchObject({
      code: 'bad_request',
    });
    expect(await desk.handlers.id({}, client)).toEqual({ id: 'f'.repeat(40) });
  });
});
