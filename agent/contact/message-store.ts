import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { JsonFile } from '../base/json-file.ts';
import { isRecord } from '../base/record.ts';
import type { MessageRecord, MessageState } from '../events.ts';
import { MESSAGE_LIMITS } from './message-limits.ts';

/** Driver: the last messages, in `messages.json` of the state folder: `{"version": 1, "messages": [MessageRecord…]}`. */

const VERSION = 1;
const STATES: Record<MessageState, true> = {
  received: true,
  queued: true,
  sent: true,
  delivered: true,
  failed: true,
};

export interface MessageFile {
  readonly version: number;
  readonly messages: readonly MessageRecord[];
}

export function openMessageStore(folder: string, clock: Clock): JsonFile<MessageFile> {
  return new JsonFile({
    path: join(folder, 'messages.json'),
    maxBytes: MESSAGE_LIMITS.fileBytes,
    parse,
    unixMs: () => clock.unixMs(),
  });
}

export function messageFile(messages: readonly MessageRecord[]): MessageFile {
  return { version: VERSION, messages };
}

function parse(json: unknown): MessageFile {
  if (!isRecord(json) || !Array.isArray(json['messages'])) throw new Error('no list of messages');
  if (json['version'] !== VERSION) throw new Error(`version ${String(json['version'])}`);
  const messages: unknown[] = json['messages'];
  if (!messages.every(isMessage)) throw new Error('an entry that is no message');
  return messageFile(messages);
}

function isMessage(value: unknown): value is MessageRecord {
  if (!isRecord(value)) return false;
  const { messageId, peer, accountId, state, text, unixMs } = value;
  return (
    [messageId, peer, accountId, text].every((item) => typeof item === 'string') &&
    typeof unixMs === 'number' &&
    typeof state === 'string' &&
    state in STATES
  );
}
