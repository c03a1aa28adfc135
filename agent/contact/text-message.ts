import { DecodeError } from '../base/errors.ts';
import { MsgpackReader } from '../dht/msgpack-reader.ts';
import { MsgpackWriter } from '../dht/msgpack-writer.ts';

/**
 * Text between two devices as a DHT value of type 3, in the form that Jami devices of the 2023 release read (jami.md 10.2):
 *
 *   { id: uint, msg: str, date: uint unix seconds, status: uint, datatype: str, metadatas: {} }
 *
 * `datatype` is `text/plain` for a text and empty for an acknowledgement of the same `id`.
 */
export interface Text {
  readonly kind: 'text';
  /** 1 … 2^53, chosen by the writer. */
  readonly id: bigint;
  readonly text: string;
  readonly dateUnixS: number;
}

export interface Acknowledgement {
  readonly kind: 'ack';
  readonly id: bigint;
}

export type TextMessage = Text | Acknowledgement;

const TEXT_PLAIN = 'text/plain';
const MAX_DATE_UNIX_S = 2 ** 40;

export function encodeTextMessage(message: TextMessage): Uint8Array {
  const isText = message.kind === 'text';
  return new MsgpackWriter()
    .map(6)
    .str('id')
    .int(message.id)
    .str('msg')
    .str(isText ? message.text : '')
    .str('date')
    .int(isText ? message.dateUnixS : 0)
    .str('status')
    .int(0)
    .str('datatype')
    .str(isText ? TEXT_PLAIN : '')
    .str('metadatas')
    .map(0)
    .finish();
}

/**
 * @throws {DecodeError} when `id` is missing or the datatype is neither text nor empty (typing notices, files: not for a door)
 */
export function decodeTextMessage(bytes: Uint8Array): TextMessage {
  const reader = new MsgpackReader(bytes);
  let id: bigint | undefined;
  let text = '';
  let dateUnixS = 0;
  let datatype = '';
  for (let entries = reader.mapHeader(); entries > 0; entries--) {
    switch (reader.str()) {
      case 'id':
        id = reader.uint64();
        break;
      case 'msg':
        text = reader.str();
        break;
      case 'date':
        dateUnixS = reader.uint(MAX_DATE_UNIX_S);
        break;
      case 'datatype':
        datatype = reader.str();
        break;
      default:
        reader.skip();
    }
  }
  if (id === undefined || id === 0n) throw new DecodeError('a text without an id');
  if (datatype === '') return { kind: 'ack', id };
  if (datatype !== TEXT_PLAIN) throw new DecodeError('not plain text');
  return { kind: 'text', id, text, dateUnixS };
}
