import { fromUtf8 } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { DecodeError } from '../base/errors.ts';
import type { AgentCommand, CommandResult } from '../events.ts';
import {
  COMMAND_AGE_MS,
  COMMAND_BYTES,
  COMMAND_ID_LENGTH,
  COMMAND_TO_LENGTH,
  CORRELATION_BYTES,
  VERB_LENGTH,
} from './limits.ts';
import type { IncomingMessage, OutgoingMessage } from './message.ts';
import { type ClockState, encodeResult } from './payload.ts';
import { isResponseTopic, type Topics, verbOf } from './topics.ts';

/** A publish under `cmd/` → AgentCommand, or the reason why it is none. What needs memory is in command-gate.ts. */

/** Where the result of a command goes. */
export interface ReplyAddress {
  readonly id: string | undefined;
  readonly topic: string;
  readonly correlationData: Uint8Array | undefined;
}

export type DecodedCommand =
  | {
      readonly kind: 'command';
      readonly verb: string;
      readonly command: AgentCommand;
      readonly id: string | undefined;
      /** Undefined: nobody asked for a result. */
      readonly reply: ReplyAddress | undefined;
    }
  | {
      readonly kind: 'refusal';
      readonly verb: string;
      readonly result: CommandResult;
      readonly reply: ReplyAddress | undefined;
    };

/** A JSON object, or a bare word as a button or a shell sends it. */
type Content =
  | { readonly kind: 'object'; readonly fields: ReadonlyMap<string, unknown> }
  | { readonly kind: 'word'; readonly word: string };

/** RFC 3339 with an offset; Home Assistant writes microseconds and `+00:00`. */
const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/;

const CONTROL = /\p{Cc}/u;

/** JSON can say half of a character; nothing behind us can carry it. */
const LONE_SURROGATE = /\p{Cs}/u;

/** Buttons send `PRESS` unless told otherwise; an empty payload and the verb itself say the same. */
const PRESS = 'press';

/**
 * @param unixMs wall clock of the station
 * @returns undefined when the topic is no command of this station, or too long to answer to
 */
export function decodeCommand(
  topics: Topics,
  message: IncomingMessage,
  unixMs: Millis,
  clock: ClockState,
): DecodedCommand | undefined {
  const verb = verbOf(topics, message.topic);
  if (verb === undefined || verb.length > VERB_LENGTH) return undefined;
  let reply = replyAddress(topics, verb, undefined, message);
  const refuse = (code: CommandResult['code'], text: string): DecodedCommand => ({
    kind: 'refusal',
    verb,
    result: { code, message: text },
    reply,
  });
  if (message.payload.length > COMMAND_BYTES) {
    return refuse('bad_request', `the payload is larger than ${COMMAND_BYTES} bytes`);
  }
  try {
    const content = readContent(message.payload);
    const id = readId(content);
    reply = replyAddress(topics, verb, id, message);
    if (message.retain) return refuse('retained', 'a retained command is never acted on');
    const ts = readTimestamp(content);
    if (ts !== undefined && clock === 'unset') {
      return refuse('unavailable', 'the clock of the station is not set yet, so ts means nothing');
    }
    if (ts !== undefined && Math.abs(ts - unixMs) > COMMAND_AGE_MS) {
      return refuse('stale', `ts is more than ${COMMAND_AGE_MS / 1000} s from the station's clock`);
    }
    const command = readCommand(verb, content);
    if (command === undefined) return refuse('unknown_verb', 'there is no such command');
    return { kind: 'command', verb, command, id, reply };
  } catch (error) {
    if (error instanceof DecodeError) return refuse('bad_request', error.message);
    throw error;
  }
}

/** The result as a message to whoever asked. */
export function resultMessage(
  reply: ReplyAddress,
  result: CommandResult,
  tookMs: Millis,
): OutgoingMessage {
  return {
    topic: reply.topic,
    payload: encodeResult(reply.id, result, tookMs),
    retain: false,
    ...(reply.correlationData !== undefined && { correlationData: reply.correlationData }),
  };
}

function readCommand(verb: string, content: Content): AgentCommand | undefined {
  switch (verb) {
    case 'call': {
      if (content.kind === 'word') return { type: 'call', to: requireName(content.word) };
      return { type: 'call', to: requireName(content.fields.get('to')) };
    }
    case 'answer':
    case 'hangup': {
      if (content.kind === 'word') {
        const word = content.word.toLowerCase();
        if (word !== '' && word !== PRESS && word !== verb) throw new DecodeError('unknown word');
        return { type: verb };
      }
      const callId = optionalText(content.fields, 'call_id', COMMAND_ID_LENGTH);
      return { type: verb, ...(callId !== undefined && { callId }) };
    }
    case 'message': {
      if (content.kind === 'word') throw new DecodeError('a message is {"to":…,"text":…}');
      const text = content.fields.get('text');
      if (typeof text !== 'string' || text === '' || LONE_SURROGATE.test(text)) {
        throw new DecodeError('text is missing');
      }
      return { type: 'message', to: requireName(content.fields.get('to')), text };
    }
    default:
      return undefined;
  }
}

function readContent(payload: Uint8Array): Content {
  const text = fromUtf8(payload).trim();
  if (!/^[[{"]/.test(text)) return { kind: 'word', word: text };
  const value = parseJson(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DecodeError('the payload is neither a JSON object nor a bare word');
  }
  return { kind: 'object', fields: new Map(Object.entries(value)) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own words would echo the payload into a result.
    throw new DecodeError('the payload is not JSON');
  }
}

function readId(content: Content): string | undefined {
  if (content.kind === 'word') return undefined;
  return optionalText(content.fields, 'id', COMMAND_ID_LENGTH);
}

function readTimestamp(content: Content): Millis | undefined {
  if (content.kind === 'word') return undefined;
  const ts = content.fields.get('ts');
  if (ts === undefined) return undefined;
  const unixMs = typeof ts === 'string' && RFC3339.test(ts) ? Date.parse(ts) : Number.NaN;
  if (Number.isNaN(unixMs)) throw new DecodeError('ts is not RFC 3339 with an offset');
  return unixMs;
}

function requireName(value: unknown): string {
  if (!isPlainText(value, COMMAND_TO_LENGTH)) {
    throw new DecodeError('to is not the name or the id of a contact');
  }
  return value;
}

function optionalText(
  fields: ReadonlyMap<string, unknown>,
  key: string,
  maxLength: number,
): string | undefined {
  const value = fields.get(key);
  if (value === undefined) return undefined;
  if (!isPlainText(value, maxLength)) throw new DecodeError(`${key} is not a short text`);
  return value;
}

function isPlainText(value: unknown, maxLength: number): value is string {
  return (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= maxLength &&
    !CONTROL.test(value) &&
    !LONE_SURROGATE.test(value)
  );
}

/** MQTT 5 requesters name a Response Topic; everybody else reads `result/<verb>` and finds the answer by its id. */
function replyAddress(
  topics: Topics,
  verb: string,
  id: string | undefined,
  message: IncomingMessage,
): ReplyAddress | undefined {
  const { responseTopic, correlationData } = message;
  if (responseTopic !== undefined && isResponseTopic(topics, responseTopic)) {
    const echoed =
      correlationData !== undefined && correlationData.length <= CORRELATION_BYTES
        ? correlationData
        : undefined;
    return { id, topic: responseTopic, correlationData: echoed };
  }
  if (id === undefined) return undefined;
  return { id, topic: topics.resultPrefix + verb, correlationData: undefined };
}
