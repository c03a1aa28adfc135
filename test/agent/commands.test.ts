import { describe, expect, test } from 'vitest';
import { AgentError } from '../../agent/base/errors.ts';
import { type CommandDeps, carryOut, resolvePeer } from '../../agent/commands.ts';
import { Contacts } from '../../agent/contact/contacts.ts';
import type { MessageRecord } from '../../agent/events.ts';

const ALICE = 'a'.repeat(40);
const STRANGER = 'c'.repeat(40);

function setUp(failure?: Error) {
  const contacts = new Contacts('f'.repeat(40));
  contacts.add({ name: 'alice', id: ALICE }, 'added');
  const asked: unknown[] = [];
  const ask = <T>(what: unknown, answer: T): T => {
    if (failure !== undefined) throw failure;
    asked.push(what);
    return answer;
  };
  const deps: CommandDeps = {
    contacts,
    calls: {
      place: async (target) => ask(target, 'call-1'),
      answer: (callId) => ask(callId, callId ?? 'call-2'),
      hangup: (callId) => ask(callId, callId === undefined ? 0 : 1),
    },
    messages: {
      send: (to, text) => ask({ to, text }, { messageId: 'm1' } as MessageRecord),
    },
  };
  return { contacts, deps, asked };
}

describe('whom a command means', () => {
  const { contacts } = setUp();

  test('is a contact by name or id, or anybody by id', () => {
    expect(resolvePeer(contacts, 'alice')).toEqual({ peer: 'alice', accountId: ALICE });
    expect(resolvePeer(contacts, ALICE.toUpperCase())).toEqual({ peer: 'alice', accountId: ALICE });
    expect(resolvePeer(contacts, STRANGER.toUpperCase())).toEqual({
      peer: 'unknown',
      accountId: STRANGER,
    });
  });

  test('is nobody for any other word', () => {
    expect(() => resolvePeer(contacts, 'bob')).toThrow('there is no contact "bob"');
    expect(() => resolvePeer(contacts, `${STRANGER}0`)).toThrow(AgentError);
  });
});

describe('a command', () => {
  test('to call is accepted with the id of the call', async () => {
    const { deps, asked } = setUp();
    expect(await carryOut(deps, { type: 'call', to: 'alice' })).toMatchObject({
      code: 'accepted',
      data: { call_id: 'call-1' },
    });
    expect(asked).toEqual([{ peer: 'alice', accountId: ALICE }]);
  });

  test('to answer gives the call that was taken', async () => {
    const { deps } = setUp();
    expect(await carryOut(deps, { type: 'answer' })).toMatchObject({
      code: 'ok',
      data: { call_id: 'call-2' },
    });
  });

  test('to hang up says how many calls there were', async () => {
    const { deps } = setUp();
    expect(await carryOut(deps, { type: 'hangup' })).toMatchObject({
      code: 'ok',
      message: 'there was no call',
      data: { count: 0 },
    });
    expect(await carryOut(deps, { type: 'hangup', callId: 'x' })).toMatchObject({
      data: { count: 1 },
    });
  });

  test('to write goes to the person, and tells the id of the message', async () => {
    const { deps, asked } = setUp();
    expect(await carryOut(deps, { type: 'message', to: 'alice', text: 'hi' })).toMatchObject({
      code: 'accepted',
      data: { message_id: 'm1' },
    });
    expect(asked).toEqual([{ to: { peer: 'alice', accountId: ALICE }, text: 'hi' }]);
  });

  test('about nobody is not_found, with a hint', async () => {
    const { deps } = setUp();
    expect(await carryOut(deps, { type: 'call', to: 'bob' })).toEqual({
      code: 'not_found',
      message: 'there is no contact "bob": doorward contact list shows who there is',
    });
  });

  test.each([
    ['busy', 'busy'],
    ['own-id', 'bad_request'],
    ['not-found', 'not_found'],
    ['media-unavailable', 'unavailable'],
    ['stopping', 'unavailable'],
    ['message-empty', 'bad_request'],
    ['message-too-long', 'bad_request'],
    ['too-many-messages', 'rate_limited'],
  ])('that fails with %s has the result %s', async (code, result) => {
    const { deps } = setUp(new AgentError(code, 'no'));
    const command = { type: 'call', to: 'alice' } as const;
    expect(await carryOut(deps, command)).toEqual({ code: result, message: 'no' });
  });

  test('that fails by our own fault throws', async () => {
    const { deps } = setUp(new TypeError('undefined is not a function'));
    await expect(carryOut(deps, { type: 'answer' })).rejects.toThrow(TypeError);
    const odd = setUp(new AgentError('never-heard-of', 'x'));
    await expect(carryOut(odd.deps, { type: 'answer' })).rejects.toThrow('x');
  });
});
