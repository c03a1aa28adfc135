import { DecodeError } from '../base/errors.ts';
import { INFOHASH_BYTES, InfoHash } from './infohash.ts';
import type { Envelope, Message, PartPiece, QueryMessage, WireValue } from './message.ts';
import { MsgpackReader, NO_CODE, textCode } from './msgpack-reader.ts';
import { readFields, readQuery, type SelectedFields } from './query.ts';
import type { Query } from './value.ts';

const UINT16_MAX = 0xffff;
const UINT32_MAX = 0xffff_ffff;

const TOP = {
  tid: textCode('t'),
  kind: textCode('y'),
  method: textCode('q'),
  arguments: textCode('a'),
  reply: textCode('r'),
  error: textCode('e'),
  oldUpdate: textCode('u'),
  part: textCode('p'),
  version: textCode('v'),
  network: textCode('n'),
  client: textCode('s'),
} as const;

const ARG = {
  id: textCode('id'),
  key: textCode('h'),
  target: textCode('target'),
  want: textCode('w'),
  query: textCode('q'),
  token: textCode('token'),
  valueId: textCode('vid'),
  values: textCode('values'),
  fields: textCode('fileds'), // the spelling of the wire
  created: textCode('c'),
  nodes4: textCode('n4'),
  nodes6: textCode('n6'),
  seenIp: textCode('sa'),
  sid: textCode('sid'),
  style: textCode('ve'),
  refreshed: textCode('re'),
  expired: textCode('exp'),
} as const;

const METHOD = {
  ping: textCode('ping'),
  find: textCode('find'),
  get: textCode('get'),
  put: textCode('put'),
  refresh: textCode('refresh'),
  listen: textCode('listen'),
  update: textCode('update'),
} as const;

const QUERY_KIND = textCode('q');
const OFFSET = textCode('o');
const DATA = textCode('d');

export type MessageKind = 'query' | 'reply' | 'error' | 'part' | 'old-update';

/** A datagram after its cheap half: the top level is known, the arguments are still bytes. */
export interface OpenEnvelope extends Envelope {
  readonly kind: MessageKind;
  readonly network: number;
  readonly client: boolean;
  /** Reads the same datagram; moved about by `readMessage`. */
  readonly reader: MsgpackReader;
  readonly method: number;
  /** Offsets, −1 where the entry is missing. */
  readonly argumentsAt: number;
  readonly errorAt: number;
  readonly partsAt: number;
}

/** @throws {DecodeError} on anything that a node drops in silence (opendht.md 4.2) */
export function decodeMessage(packet: Uint8Array): Message {
  return readMessage(openEnvelope(packet));
}

/**
 * The top level of a datagram: enough to say what it is and to refuse it cheaply. Bytes after the map are ignored, of a
 * repeated entry the last one counts.
 * @throws {DecodeError}
 */
export function openEnvelope(packet: Uint8Array): OpenEnvelope {
  const reader = new MsgpackReader(packet);
  let tid = -1;
  let kind = NO_CODE;
  let method = NO_CODE;
  let argumentsAt = -1;
  let replyAt = -1;
  let errorAt = -1;
  let oldUpdateAt = -1;
  let partsAt = -1;
  let version: string | undefined;
  let network = 0;
  let client = false;
  for (let left = reader.mapHeader(); left > 0; left--) {
    switch (reader.textCode()) {
      case TOP.tid:
        tid = readTid(reader);
        break;
      case TOP.kind:
        kind = reader.textCode();
        if (kind === NO_CODE) kind = -1;
        break;
      case TOP.method:
        method = reader.textCode();
        break;
      case TOP.arguments:
        argumentsAt = reader.offset;
        reader.skip();
        break;
      case TOP.reply:
        replyAt = reader.offset;
        reader.skip();
        break;
      case TOP.error:
        errorAt = reader.offset;
        reader.skip();
        break;
      case TOP.oldUpdate:
        oldUpdateAt = reader.offset;
        reader.skip();
        break;
      case TOP.part:
        partsAt = reader.offset;
        reader.skip();
        break;
      case TOP.version:
        version = reader.str();
        break;
      case TOP.network:
        network = reader.uint(UINT32_MAX);
        break;
      case TOP.client:
        client = reader.bool();
        break;
      default:
        reader.skip();
    }
  }
  if (tid < 0) throw new DecodeError('no tid');
  if (argumentsAt < 0) argumentsAt = replyAt;
  if (argumentsAt < 0) argumentsAt = oldUpdateAt;
  const common = { tid, network, client, version, reader, method, argumentsAt, errorAt, partsAt };
  if (errorAt >= 0) return { kind: 'error', ...common };
  if (replyAt >= 0) return { kind: 'reply', ...common };
  if (partsAt >= 0) return { kind: 'part', ...common };
  if (oldUpdateAt >= 0) return { kind: 'old-update', ...common };
  // `y` may be missing from a query, but not wrong.
  if (kind !== NO_CODE && kind !== QUERY_KIND) throw new DecodeError('neither query nor answer');
  return { kind: 'query', ...common };
}

/** A transaction id: an integer, or in an old form 4 bytes, big endian (opendht.md 4.1). */
function readTid(reader: MsgpackReader): number {
  if (reader.isInt()) return reader.uint(UINT32_MAX);
  if (!reader.isBin() && !reader.isStr()) throw new DecodeError('a tid of another type');
  const bytes = reader.blob();
  if (bytes.length !== 4) throw new DecodeError('a tid that has not 4 bytes');
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

/**
 * The whole message.
 * @throws {DecodeError}
 */
export function readMessage(open: OpenEnvelope): Message {
  const { tid, network, client, version } = open;
  const envelope = { tid, network, client, version };
  switch (open.kind) {
    case 'part':
      return { type: 'part', ...envelope, pieces: readPieces(open) };
    case 'error':
      return { type: 'error', ...envelope, ...readError(open) };
    case 'reply': {
      const { nodes4, nodes6, seenIp, valueId, token, values, fields, ...args } =
        readArguments(open);
      const lists = { nodes4, nodes6, seenIp, valueId, token, values, fields };
      return { type: 'reply', ...envelope, id: senderOf(args.id), ...lists };
    }
    case 'old-update': {
      const { id, token, refreshed, expired } = readArguments(open);
      return { type: 'old-update', ...envelope, id: senderOf(id), token, refreshed, expired };
    }
    case 'query':
      return readQueryMessage(open, envelope);
    default:
      return open.kind satisfies never;
  }
}

function senderOf(id: InfoHash | undefined): InfoHash {
  if (id === undefined || id.isZero) throw new DecodeError('no sender id');
  return id;
}

const ZERO_ID = new InfoHash(new Uint8Array(INFOHASH_BYTES));

function readQueryMessage(open: OpenEnvelope, envelope: Envelope): QueryMessage {
  const args = readArguments(open);
  const id = senderOf(args.id);
  const { query, want, token } = args;
  const key = args.key?.isZero ? undefined : args.key;
  switch (open.method) {
    case METHOD.ping:
      return { type: 'ping', ...envelope, id };
    case METHOD.find:
      return { type: 'find', ...envelope, id, target: args.target ?? ZERO_ID, want };
    case METHOD.get:
      return { type: 'get', ...envelope, id, key, query, want };
    case METHOD.put: {
      const { values = [], created } = args;
      return { type: 'put', ...envelope, id, key, values, created, token };
    }
    case METHOD.refresh:
      return { type: 'refresh', ...envelope, id, key, valueId: args.valueId ?? 0n, token };
    case METHOD.listen:
      return {
        type: 'listen',
        ...envelope,
        id,
        style: args.style,
        key,
        token,
        sid: args.sid,
        query,
      };
    case METHOD.update: {
      const { style, sid, values, created, refreshed, expired } = args;
      const changes = { values, created, refreshed, expired };
      return { type: 'update', ...envelope, id, style, key, sid, token, ...changes };
    }
    default:
      throw new DecodeError('an unknown method');
  }
}

interface Arguments {
  id: InfoHash | undefined;
  key: InfoHash | undefined;
  target: InfoHash | undefined;
  want: number[] | undefined;
  query: Query | undefined;
  token: Uint8Array | undefined;
  valueId: bigint | undefined;
  values: WireValue[] | undefined;
  fields: SelectedFields | undefined;
  created: number | undefined;
  nodes4: Uint8Array | undefined;
  nodes6: Uint8Array | undefined;
  seenIp: Uint8Array | undefined;
  sid: number;
  style: number;
  refreshed: bigint[] | undefined;
  expired: bigint[] | undefined;
}

function readArguments(open: OpenEnvelope): Arguments {
  if (open.argumentsAt < 0) throw new DecodeError('no arguments');
  const { reader } = open;
  reader.offset = open.argumentsAt;
  const args: Arguments = {
    id: undefined,
    key: undefined,
    target: undefined,
    want: undefined,
    query: undefined,
    token: undefined,
    valueId: undefined,
    values: undefined,
    fields: undefined,
    created: undefined,
    nodes4: undefined,
    nodes6: undefined,
    seenIp: undefined,
    sid: 0,
    style: 0,
    refreshed: undefined,
    expired: undefined,
  };
  for (let left = reader.mapHeader(); left > 0; left--) readArgument(reader, args);
  return args;
}

function readArgument(reader: MsgpackReader, args: Arguments): void {
  switch (reader.textCode()) {
    case ARG.id:
      args.id = new InfoHash(reader.binOf(INFOHASH_BYTES));
      break;
    case ARG.key:
      args.key = new InfoHash(reader.binOf(INFOHASH_BYTES));
      break;
    case ARG.target:
      args.target = new InfoHash(reader.binOf(INFOHASH_BYTES));
      break;
    case ARG.want:
      args.want = readList(reader, () => reader.uint(UINT32_MAX));
      break;
    case ARG.query:
      args.query = readQuery(reader);
      break;
    case ARG.token:
      args.token = reader.blob();
      break;
    case ARG.valueId:
      args.valueId = reader.uint64();
      break;
    case ARG.values:
      args.values = readList(reader, () => readWireValue(reader));
      break;
    case ARG.fields:
      args.fields = readFields(reader);
      break;
    case ARG.created:
      args.created = reader.int();
      break;
    case ARG.nodes4:
      args.nodes4 = reader.blob();
      break;
    case ARG.nodes6:
      args.nodes6 = reader.blob();
      break;
    case ARG.seenIp:
      args.seenIp = reader.blob();
      break;
    case ARG.sid:
      args.sid = readTid(reader);
      break;
    case ARG.style:
      args.style = reader.uint(UINT32_MAX);
      break;
    case ARG.refreshed:
      args.refreshed = readList(reader, () => reader.uint64());
      break;
    case ARG.expired:
      args.expired = readList(reader, () => reader.uint64());
      break;
    default:
      reader.skip();
  }
}

function readList<T>(reader: MsgpackReader, read: () => T): T[] {
  const list: T[] = [];
  for (let left = reader.arrayHeader(); left > 0; left--) list.push(read());
  return list;
}

/** A number beyond 53 bits comes rounded: every size that large is too large. */
function readWireValue(reader: MsgpackReader): WireValue {
  return reader.isInt() ? Number(reader.uint64()) : reader.raw();
}

function readError(open: OpenEnvelope): { code: number; text: string; id: InfoHash | undefined } {
  const { reader } = open;
  reader.offset = open.errorAt;
  if (reader.arrayHeader() < 2) throw new DecodeError('an error without code and text');
  const code = reader.uint(UINT16_MAX);
  const text = reader.str();
  return { code, text, id: open.argumentsAt < 0 ? undefined : readArguments(open).id };
}

function readPieces(open: OpenEnvelope): PartPiece[] {
  const { reader } = open;
  reader.offset = open.partsAt;
  const pieces: PartPiece[] = [];
  for (let left = reader.mapHeader(); left > 0; left--) {
    // The index is an integer; under anything else nothing is read.
    if (!reader.isInt()) {
      reader.skip();
      reader.skip();
      continue;
    }
    const index = reader.uint(UINT32_MAX);
    let offset: number | undefined;
    let data: Uint8Array | undefined;
    for (let entries = reader.mapHeader(); entries > 0; entries--) {
      const key = reader.textCode();
      if (key === OFFSET) offset = reader.uint(Number.MAX_SAFE_INTEGER);
      else if (key === DATA) data = reader.blob();
      else reader.skip();
    }
    if (offset === undefined || data === undefined) throw new DecodeError('a part without o or d');
    pieces.push({ index, offset, data });
  }
  return pieces;
}
