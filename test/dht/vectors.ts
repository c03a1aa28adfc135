import { readFileSync } from 'node:fs';
import { fromHex } from '../../agent/base/bytes.ts';

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
