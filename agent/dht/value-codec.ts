import { equalBytes, fromUtf8 } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { INFOHASH_BYTES, InfoHash } from './infohash.ts';
import { MsgpackReader, textCode } from './msgpack-reader.ts';
import { MsgpackWriter } from './msgpack-writer.ts';
import { type PlainValue, type SignedPart, VALUE_TYPE, type Value } from './value.ts';

/**
 * Values as bytes (opendht.md 10).
 *
 *   value = { id: uint64, dat: DAT, p: uint?, pt: str? }
 *   DAT   = bin                        the cypher text of an encrypted value
 *         | { body: BODY, sig: bin? }  a plain or signed one
 *   BODY  = { seq: uint16, owner: bin, to: bin20?, type: uint16, data: bin, utype: str? }   signed
 *         | { type: uint16, data: bin, utype: str? }                                        plain
 */

const ID = textCode('id');
const DAT = textCode('dat');
const PRIORITY = textCode('p');
const PUSH_TYPE = textCode('pt');
const BODY = textCode('body');
const SIG = textCode('sig');
const SEQ = textCode('seq');
const OWNER = textCode('owner');
const TO = textCode('to');
const TYPE = textCode('type');
const DATA = textCode('data');
const USER_TYPE = textCode('utype');

const UINT16_MAX = 0xffff;
const UINT32_MAX = 0xffff_ffff;

/** What a body holds: of a signed value everything that the signature covers. */
export interface ValueBody {
  readonly type: number;
  readonly data: Uint8Array;
  readonly userType?: string;
  readonly signed?: Omit<SignedPart, 'signature'>;
}

const scratch = new MsgpackWriter(2048);

/** The bytes that a signature covers (opendht.md 13.2): the body in its one order and shortest form. */
export function packBody(body: ValueBody): Uint8Array {
  scratch.reset();
  writeBody(scratch, body);
  return scratch.finish();
}

function writeBody(out: MsgpackWriter, { type, data, userType = '', signed }: ValueBody): void {
  const entries = 2 + (userType === '' ? 0 : 1) + (signed === undefined ? 0 : 2);
  out.map(entries + (signed?.to === undefined ? 0 : 1));
  if (signed !== undefined) {
    out.str('seq').int(signed.seq).str('owner').bin(signed.owner);
    if (signed.to !== undefined) out.str('to').bin(signed.to.bytes);
  }
  out.str('type').int(type).str('data').bin(data);
  if (userType !== '') out.str('utype').str(userType);
}

/** `{body, sig}`: what is encrypted to become the cypher text of an encrypted value (opendht.md 13.4). */
export function packSealed(value: PlainValue): Uint8Array {
  scratch.reset();
  writeDat(scratch, value);
  return scratch.finish();
}

function writeDat(out: MsgpackWriter, value: PlainValue): void {
  out.map(value.signed === undefined ? 1 : 2).str('body');
  writeBody(out, value);
  if (value.signed !== undefined) out.str('sig').bin(value.signed.signature);
}

/** One whole value. */
export function packValue(value: Value): Uint8Array {
  scratch.reset();
  const { priority = 0, pushType = '' } = value;
  scratch.map(2 + (priority === 0 ? 0 : 1) + (pushType === '' ? 0 : 1));
  scratch.str('id').int(value.id).str('dat');
  if (value.kind === 'encrypted') scratch.bin(value.cypher);
  else writeDat(scratch, value);
  if (priority !== 0) scratch.str('p').int(priority);
  if (pushType !== '') scratch.str('pt').str(pushType);
  return scratch.finish();
}

/**
 * Read one whole value. Entries may come in any order; of a repeated one the first counts (opendht.md 3.4).
 * @param copies false: the content of the value are views of `bytes`, which stay and must not change
 * @throws {DecodeError}
 */
export function unpackValue(bytes: Uint8Array, copies = true): Value {
  const reader = new MsgpackReader(bytes, 0, copies);
  const count = reader.mapHeader();
  let id: bigint | undefined;
  let dat: number | undefined;
  let priority: number | undefined;
  let pushType: string | undefined;
  for (let i = 0; i < count; i++) {
    const key = reader.textCode();
    if (key === ID && id === undefined) id = reader.uint64();
    else if (key === PRIORITY && priority === undefined) priority = reader.uint(UINT32_MAX);
    else if (key === PUSH_TYPE && pushType === undefined) pushType = reader.str();
    else {
      if (key === DAT) dat ??= reader.offset;
      reader.skip();
    }
  }
  if (id === undefined || dat === undefined) throw new DecodeError('a value without id or dat');
  const outer = {
    id,
    ...(priority === undefined || priority === 0 ? {} : { priority }),
    ...(pushType === undefined || pushType === '' ? {} : { pushType }),
  };
  reader.offset = dat;
  if (reader.isMap()) return { kind: 'plain', ...readDat(reader), ...outer };
  const cypher = reader.blob();
  // An empty cypher text is not an encrypted value: the reference keeps it as a plain one without data.
  if (cypher.length === 0)
    return { kind: 'plain', type: VALUE_TYPE.userData, data: cypher, ...outer };
  return { kind: 'encrypted', cypher, ...outer };
}

/**
 * Read `{body, sig}`, the inside of an encrypted value, as the value with `id`.
 * @throws {DecodeError}
 */
export function unpackSealed(bytes: Uint8Array, id: bigint): PlainValue {
  return { kind: 'plain', id, ...readDat(new MsgpackReader(bytes)) };
}

type Dat = Omit<PlainValue, 'kind' | 'id' | 'priority' | 'pushType'>;

function readDat(reader: MsgpackReader): Dat {
  const count = reader.mapHeader();
  let body: number | undefined;
  let signature: Uint8Array | undefined;
  for (let i = 0; i < count; i++) {
    const key = reader.textCode();
    if (key === SIG && signature === undefined) signature = reader.blob();
    else {
      if (key === BODY) body ??= reader.offset;
      reader.skip();
    }
  }
  if (body === undefined) throw new DecodeError('a value without body');
  reader.offset = body;
  return readBody(reader, signature);
}

function readBody(reader: MsgpackReader, signature: Uint8Array | undefined): Dat {
  const count = reader.mapHeader();
  let seq: number | undefined;
  let owner: Uint8Array | undefined;
  let to: InfoHash | undefined;
  let type: number | undefined;
  let data: Uint8Array | undefined;
  let userType: string | undefined;
  for (let i = 0; i < count; i++) {
    const key = reader.textCode();
    if (key === SEQ && seq === undefined) seq = reader.uint(UINT16_MAX);
    else if (key === OWNER && owner === undefined) owner = derOf(reader.blob());
    else if (key === TO && to === undefined) to = new InfoHash(reader.binOf(INFOHASH_BYTES));
    else if (key === TYPE && type === undefined) type = reader.uint(UINT16_MAX);
    else if (key === DATA && data === undefined) data = reader.blob();
    else if (key === USER_TYPE && userType === undefined) userType = reader.str();
    else reader.skip();
  }
  if (type === undefined || data === undefined)
    throw new DecodeError('a body without type or data');
  const plain = { type, data, ...(userType === undefined || userType === '' ? {} : { userType }) };
  // Without an owner, `seq`, `to` and `sig` mean nothing.
  if (owner === undefined) return plain;
  if (seq === undefined || signature === undefined)
    throw new DecodeError('an owner without seq or signature');
  return { ...plain, signed: { owner, seq, ...(to === undefined ? {} : { to }), signature } };
}

const PEM = /-----BEGIN [A-Z ]+-----([A-Za-z0-9+/=\s]*)-----END/;

/** The owner is DER on the wire; PEM is accepted on reading (opendht.md 10). */
function derOf(owner: Uint8Array): Uint8Array {
  if (owner.length === 0) throw new DecodeError('an empty owner');
  if (owner[0] !== 0x2d) return owner;
  const base64 = PEM.exec(fromUtf8(owner))?.[1]?.replace(/\s/g, '');
  if (base64 === undefined || base64.length % 4 !== 0) throw new DecodeError('an owner in bad PEM');
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** "Already there" (opendht.md 10): same id and content. Seq, recipient and priority are not compared. */
export function sameValue(a: Value, b: Value): boolean {
  if (a.id !== b.id) return false;
  if (a.kind === 'encrypted' || b.kind === 'encrypted')
    return a.kind === 'encrypted' && b.kind === 'encrypted' && equalBytes(a.cypher, b.cypher);
  if (a.type !== b.type || (a.userType ?? '') !== (b.userType ?? '')) return false;
  if (!equalBytes(a.data, b.data)) return false;
  if (a.signed === undefined || b.signed === undefined) return a.signed === b.signed;
  return (
    equalBytes(a.signed.owner, b.signed.owner) && equalBytes(a.signed.signature, b.signed.signature)
  );
}

/**
 * What tells contents under one value id apart: the SHA-1 of everything but priority and push type, which anybody may set.
 * Stricter than `sameValue`: a forger may copy a signature and change the seq beside it.
 */
export function contentKey(value: Value): string {
  return InfoHash.of(packValue({ ...value, priority: 0, pushType: '' })).key;
}

/** The size that the store policy limits (opendht.md 6.4): data, cypher, signature, user type, push type. */
export function countedSize(value: Value): number {
  const pushType = value.pushType?.length ?? 0;
  if (value.kind === 'encrypted') return value.cypher.length + pushType;
  return (
    value.data.length +
    (value.userType?.length ?? 0) +
    (value.signed?.signature.length ?? 0) +
    pushType
  );
}

/** The type that storing nodes go by: what is inside an encrypted value is unknown and counts as user data. */
export function storedType(value: Value): number {
  return value.kind === 'encrypted' ? VALUE_TYPE.userData : value.type;
}
