import type { InfoHash } from './infohash.ts';
import type {
  ErrorReply,
  FindQuery,
  GetQuery,
  ListenQuery,
  Message,
  OldUpdate,
  PartMessage,
  PutQuery,
  QueryMessage,
  RefreshQuery,
  Reply,
  UpdateQuery,
  WireValue,
} from './message.ts';
import { MsgpackWriter } from './msgpack-writer.ts';
import { writeFields, writeQuery } from './query.ts';

// Encoding is synchronous: one buffer serves all.
const out = new MsgpackWriter(2048);

/** One datagram, entries in the order of the reference (opendht.md 4.1). */
export function encodeMessage(message: Message): Uint8Array {
  write(message);
  return out.finish();
}

/** The same in place: good until the next message is encoded. */
export function encodeInPlace(message: Message): Uint8Array {
  write(message);
  return out.peek();
}

function write(message: Message): void {
  out.reset();
  switch (message.type) {
    case 'reply':
      writeReply(message);
      break;
    case 'error':
      writeError(message);
      break;
    case 'old-update':
      writeOldUpdate(message);
      break;
    case 'part':
      writePart(message);
      break;
    default:
      writeQueryMessage(message);
  }
}

type Trailer = Pick<Message, 'network' | 'client' | 'version'>;

function trailerEntries({ network = 0, client = false, version }: Trailer): number {
  return (version === undefined ? 0 : 1) + (network === 0 ? 0 : 1) + (client ? 1 : 0);
}

function writeTrailer({ network = 0, client = false, version }: Trailer): void {
  if (version !== undefined) out.str('v').str(version);
  if (network !== 0) out.str('n').int(network);
  if (client) out.str('s').bool(true);
}

function writeQueryMessage(message: QueryMessage): void {
  out.map(4 + trailerEntries(message)).str('a');
  writeArguments(message);
  // Pushes without values have another order; nobody depends on it, yet bytes stay comparable.
  if (message.type === 'update' && message.values === undefined) {
    out.str('y').str('q');
    writeTrailer(message);
    out.str('q').str(message.type).str('t').int(message.tid);
    return;
  }
  out.str('q').str(message.type).str('t').int(message.tid).str('y').str('q');
  writeTrailer(message);
}

function writeArguments(message: QueryMessage): void {
  switch (message.type) {
    case 'ping':
      out.map(1);
      writeId(message.id);
      break;
    case 'find':
      writeFind(message);
      break;
    case 'get':
      writeGet(message);
      break;
    case 'put':
      writePut(message);
      break;
    case 'refresh':
      writeRefresh(message);
      break;
    case 'listen':
      writeListen(message);
      break;
    case 'update':
      writeUpdate(message);
      break;
    default:
      message satisfies never;
  }
}

/** 1 for an entry that is there. */
const has = (value: unknown): 0 | 1 => (value === undefined ? 0 : 1);

function writeId(id: InfoHash): void {
  out.str('id').bin(id.bytes);
}

function writeKey(key: InfoHash | undefined): void {
  if (key !== undefined) out.str('h').bin(key.bytes);
}

function writeToken(token: Uint8Array | undefined): void {
  if (token !== undefined) out.str('token').bin(token);
}

function writeWant(want: readonly number[] | undefined): void {
  if (want === undefined) return;
  out.str('w').array(want.length);
  for (const family of want) out.int(family);
}

function writeValues(values: readonly WireValue[]): void {
  out.str('values').array(values.length);
  for (const value of values) {
    if (typeof value === 'number') out.int(value);
    else out.raw(value);
  }
}

function writeIds(key: string, ids: readonly bigint[]): void {
  out.str(key).array(ids.length);
  for (const id of ids) out.int(id);
}

function writeFind({ id, target, want }: FindQuery): void {
  out.map(2 + has(want));
  writeId(id);
  out.str('target').bin(target.bytes);
  writeWant(want);
}

function writeGet({ id, key, query, want }: GetQuery): void {
  out.map(1 + has(key) + has(query) + has(want));
  writeId(id);
  writeKey(key);
  if (query !== undefined) {
    out.str('q');
    writeQuery(out, query);
  }
  writeWant(want);
}

function writePut({ id, key, values, created, token }: PutQuery): void {
  out.map(2 + has(key) + has(created) + has(token));
  writeId(id);
  writeKey(key);
  writeValues(values);
  if (created !== undefined) out.str('c').int(created);
  writeToken(token);
}

function writeRefresh({ id, key, valueId, token }: RefreshQuery): void {
  out.map(2 + has(key) + has(token));
  writeId(id);
  writeKey(key);
  out.str('vid').int(valueId);
  writeToken(token);
}

function writeListen({ id, style, key, token, sid, query }: ListenQuery): void {
  out.map(2 + (style === 0 ? 0 : 1) + has(key) + has(token) + has(query));
  writeId(id);
  if (style !== 0) out.str('ve').int(style);
  writeKey(key);
  writeToken(token);
  out.str('sid').int(sid);
  if (query !== undefined) {
    out.str('q');
    writeQuery(out, query);
  }
}

function writeUpdate(message: UpdateQuery): void {
  const { id, style, key, sid, values, created, token, refreshed, expired } = message;
  out.map(
    2 +
      (style === 0 ? 0 : 1) +
      has(key) +
      has(values) +
      has(created) +
      has(token) +
      has(refreshed) +
      has(expired),
  );
  writeId(id);
  if (style !== 0) out.str('ve').int(style);
  writeKey(key);
  out.str('sid').int(sid);
  if (values !== undefined) writeValues(values);
  if (created !== undefined) out.str('c').int(created);
  writeToken(token);
  if (refreshed !== undefined) writeIds('re', refreshed);
  if (expired !== undefined) writeIds('exp', expired);
}

function writeReply(message: Reply): void {
  const { id, valueId, seenIp, nodes4, nodes6, token, values, fields } = message;
  out.map(3 + trailerEntries(message)).str('r');
  out.map(
    1 +
      has(valueId) +
      has(seenIp) +
      has(nodes4) +
      has(nodes6) +
      has(token) +
      has(values) +
      has(fields),
  );
  writeId(id);
  if (valueId !== undefined) out.str('vid').int(valueId);
  if (seenIp !== undefined) out.str('sa').bin(seenIp);
  if (nodes4 !== undefined) out.str('n4').bin(nodes4);
  if (nodes6 !== undefined) out.str('n6').bin(nodes6);
  writeToken(token);
  if (values !== undefined) writeValues(values);
  if (fields !== undefined) {
    out.str('fileds'); // the spelling of the wire
    writeFields(out, fields);
  }
  out.str('t').int(message.tid).str('y').str('r');
  writeTrailer(message);
}

function writeError(message: ErrorReply): void {
  out.map(3 + has(message.id) + trailerEntries(message));
  out.str('e').array(2).int(message.code).str(message.text);
  if (message.id !== undefined) {
    out.str('r').map(1);
    writeId(message.id);
  }
  out.str('t').int(message.tid).str('y').str('e');
  writeTrailer(message);
}

function writeOldUpdate(message: OldUpdate): void {
  const { id, token, refreshed, expired } = message;
  out.map(3 + trailerEntries(message)).str('u');
  out.map(1 + has(token) + has(refreshed) + has(expired));
  writeId(id);
  writeToken(token);
  if (refreshed !== undefined) writeIds('re', refreshed);
  if (expired !== undefined) writeIds('exp', expired);
  out.str('y').str('r');
  writeTrailer(message);
  out.str('t').int(message.tid);
}

function writePart({ network = 0, client = false, tid, pieces }: PartMessage): void {
  out.map(3 + (network === 0 ? 0 : 1) + (client ? 1 : 0));
  if (network !== 0) out.str('n').int(network);
  if (client) out.str('s').bool(true);
  out.str('y').str('p').str('t').int(tid).str('p').map(pieces.length);
  for (const { index, offset, data } of pieces)
    out.int(index).map(2).str('o').int(offset).str('d').bin(data);
}
