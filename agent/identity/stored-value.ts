import { DecodeError } from '../base/errors.ts';
import type { PlainValue } from '../dht/value.ts';
import { packValue, unpackValue } from '../dht/value-codec.ts';

/** A signed value as a file: JSON with the packed value in base64. */
const VERSION = 1;

export function encodeStoredValue(value: PlainValue): string {
  const packed = Buffer.from(packValue(value)).toString('base64');
  return `${JSON.stringify({ version: VERSION, value: packed })}\n`;
}

/** @throws {DecodeError} */
export function decodeStoredValue(content: Uint8Array): PlainValue {
  const { version, value } = parseObject(content);
  if (version !== VERSION || typeof value !== 'string')
    throw new DecodeError(`not a stored value of version ${VERSION}`);
  const unpacked = unpackValue(new Uint8Array(Buffer.from(value, 'base64')));
  if (unpacked.kind !== 'plain') throw new DecodeError('an encrypted value');
  return unpacked;
}

function parseObject(content: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(content).toString('utf8'));
    if (typeof parsed === 'object' && parsed !== null) return { ...parsed };
  } catch {
    // Said below.
  }
  throw new DecodeError('not a JSON object');
}
