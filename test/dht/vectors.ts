import { readFileSync } from 'node:fs';
import { fromHex } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import type { Message } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';

/** A recorded datagram, or an entry of a file that has no use for the rest. */
export interface RecordedMessage {
  readonly hex: string;
}

export interface RecordedCase {
  readonly name: string;
  readonly note?: string;
  readonly request?: RecordedMessage;
  readonly parts?: readonly RecordedMessage[];
  readonly sent?: readonly (RecordedMessage | string)[];
  /** Of cases that record no datagrams. */
  readonly results?: unknown;
  readonly replies?: readonly RecordedMessage[];
  readonly unsolicited?: readonly RecordedMessage[];
}

export interface CaseFile {
  readonly cases: readonly RecordedCase[];
}

export function loadVectors<T>(name: string): T {
  const url = new URL(`../vectors/opendht/${name}`, import.meta.url);
  return JSON.parse(readFileSync(url, 'utf8')) as T;
}

export const loadCases = (name: string): readonly RecordedCase[] =>
  loadVectors<CaseFile>(name).cases;

/** Every datagram of a case, in sending order. */
export function datagramsOf(recorded: RecordedCase): Uint8Array[] {
  const { request, parts = [], sent = [], replies = [], unsolicited = [] } = recorded;
  return [
    ...(request === undefined ? [] : [request]),
    ...parts,
    ...sent,
    ...replies,
    ...unsolicited,
  ].map((message) => fromHex(typeof message === 'string' ? message : message.hex));
}

/** A message, or undefined for bytes that are none. */
export function tryDecode(packet: Uint8Array): Message | undefined {
  try {
    return decodeMessage(packet);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
