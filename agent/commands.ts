import { AgentError } from './base/errors.ts';
import type { CallDriver } from './call/call-driver.ts';
import type { Contacts } from './contact/contacts.ts';
import type { AgentCommand, CommandResult, ResultCode } from './events.ts';
import type { MessageDesk } from './message-desk.ts';

/** Someone who can be called or written to. */
export interface Peer {
  /** Contact name, or `unknown` for an id that is nobody's. */
  readonly peer: string;
  readonly accountId: string;
}

const ACCOUNT_ID = /^[0-9a-fA-F]{40}$/;

/** @throws {AgentError} `no-such-contact` for a word that is neither a contact's name nor an id */
export function resolvePeer(contacts: Contacts, to: string): Peer {
  const contact = contacts.byName(to) ?? contacts.byAccount(to);
  if (contact !== undefined) return { peer: contact.name, accountId: contact.accountId };
  if (ACCOUNT_ID.test(to)) return { peer: 'unknown', accountId: to.toLowerCase() };
  throw new AgentError(
    'no-such-contact',
    `there is no contact "${to}"`,
    'doorward contact list shows who there is',
  );
}

/** What an AgentError of a part means to whoever gave the command. Others are our own fault. */
const RESULT_OF: Readonly<Record<string, ResultCode>> = {
  busy: 'busy',
  'own-id': 'bad_request',
  'no-such-contact': 'not_found',
  'not-found': 'not_found',
  'media-unavailable': 'unavailable',
  stopping: 'unavailable',
  'message-empty': 'bad_request',
  'message-too-long': 'bad_request',
  'too-many-messages': 'rate_limited',
};

export interface CommandDeps {
  readonly contacts: Contacts;
  readonly calls: Pick<CallDriver, 'place' | 'answer' | 'hangup'>;
  readonly messages: Pick<MessageDesk, 'send'>;
}

/**
 * Carry out a command from outside the process, whoever gave it. An operation that cannot be done is a result.
 * @throws what is our own fault
 */
export async function carryOut(deps: CommandDeps, command: AgentCommand): Promise<CommandResult> {
  try {
    return await attempt(deps, command);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    const code = RESULT_OF[error.code];
    if (code === undefined) throw error;
    const hint = error.hint === undefined ? '' : `: ${error.hint}`;
    return { code, message: `${error.message}${hint}` };
  }
}

async function attempt(
  { contacts, calls, messages }: CommandDeps,
  command: AgentCommand,
): Promise<CommandResult> {
  switch (command.type) {
    case 'call': {
      const target = resolvePeer(contacts, command.to);
      const callId = await calls.place(target);
      return {
        code: 'accepted',
        message: `calling ${target.peer}`,
        data: { call_id: callId },
      };
    }
    case 'answer': {
      const callId = calls.answer(command.callId);
      return { code: 'ok', message: 'answered', data: { call_id: callId } };
    }
    case 'hangup': {
      const count = calls.hangup(command.callId);
      return {
        code: 'ok',
        message: count === 0 ? 'there was no call' : 'hung up',
        data: { count },
      };
    }
    case 'message': {
      const to = resolvePeer(contacts, command.to);
      const { messageId } = messages.send(to, command.text);
      return {
        code: 'accepted',
        message: `on its way to ${to.peer}`,
        data: { message_id: messageId },
      };
    }
    default:
      return command satisfies never;
  }
}
