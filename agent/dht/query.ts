import { fromUtf8, utf8 } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { INFOHASH_BYTES, InfoHash } from './infohash.ts';
import { LIMITS } from './limits.ts';
import { type MsgpackReader, textCode } from './msgpack-reader.ts';
import type { MsgpackWriter } from './msgpack-writer.ts';
import type { Field, Filter, Query, SignedPart, Value } from './value.ts';
import { storedType } from './value-codec.ts';

/**
 * Queries and selected fields as bytes (opendht.md 12).
 *
 *   query  = { s: [field...], w: [ {f: field, v: value}... ] }
 *   fields = { f: [field... in rising order], v: [flat list, length(f) entries for each value] }
 */

const FIELD_NUMBER: Readonly<Record<Field, number>> = {
  id: 1,
  type: 2,
  owner: 3,
  seq: 4,
  userType: 5,
};
const FIELDS: readonly (Field | undefined)[] = [
  undefined,
  'id',
  'type',
  'owner',
  'seq',
  'userType',
];

const SELECT = textCode('s');
const WHERE = textCode('w');
const FIELD = textCode('f');
const VALUE = textCode('v');
const UINT16_MAX = 0xffff;

export const EVERYTHING: Query = { where: [], select: [] };

export function writeQuery(out: MsgpackWriter, query: Query): void {
  out.map(2).str('s').array(query.select.length);
  for (const field of query.select) out.int(FIELD_NUMBER[field]);
  out.str('w').array(query.where.length);
  for (const filter of query.where) {
    out.map(2).str('f').int(FIELD_NUMBER[filter.field]).str('v');
    switch (filter.field) {
      case 'id':
      case 'type':
        out.int(filter.value);
        break;
      case 'owner':
        out.bin(filter.value.bytes);
        break;
      case 'userType':
        out.bin(utf8(filter.value)); // bin, not str
        break;
      default:
        filter satisfies never;
    }
  }
}

/**
 * @throws {DecodeError} also for a filter on `seq`, which cannot be written: the whole message is dropped for it; and for
 * a query over 512 bytes, because listeners are kept with theirs
 */
export function readQuery(reader: MsgpackReader): Query {
  const start = reader.offset;
  const count = reader.mapHeader();
  let select: number | undefined;
  let where: number | undefined;
  for (let i = 0; i < count; i++) {
    const key = reader.textCode();
    if (key === SELECT) select ??= reader.offset;
    if (key === WHERE) where ??= reader.offset;
    reader.skip();
  }
  if (select === undefined || where === undefined) throw new DecodeError('a query without s or w');
  const end = reader.offset;
  if (end - start > LIMITS.queryBytes) throw new DecodeError('a query that is too long');
  reader.offset = select;
  const fields: Field[] = [];
  for (let left = reader.arrayHeader(); left > 0; left--) {
    const field = FIELDS[reader.uint(UINT16_MAX)];
    if (field !== undefined && !fields.includes(field)) fields.push(field);
  }
  reader.offset = where;
  const filters: Filter[] = [];
  for (let left = reader.arrayHeader(); left > 0; left--) filters.push(readFilter(reader));
  reader.offset = end;
  return { select: fields, where: filters };
}

function readFilter(reader: MsgpackReader): Filter {
  const count = reader.mapHeader();
  let field: number | undefined;
  let value: number | undefined;
  for (let i = 0; i < count; i++) {
    const key = reader.textCode();
    if (key === VALUE) value ??= reader.offset;
    if (key === FIELD && field === undefined) field = reader.uint(UINT16_MAX);
    else reader.skip();
  }
  if (field === undefined || value === undefined) throw new DecodeError('a filter without f or v');
  const end = reader.offset;
  reader.offset = value;
  const filter = readFilterValue(reader, FIELDS[field]);
  reader.offset = end;
  return filter;
}

function readFilterValue(reader: MsgpackReader, field: Field | undefined): Filter {
  switch (field) {
    case 'id':
      return { field, value: reader.uint64() };
    case 'type':
      return { field, value: reader.uint(UINT16_MAX) };
    case 'owner':
      return { field, value: new InfoHash(reader.binOf(INFOHASH_BYTES)) };
    case 'userType':
      return { field, value: fromUtf8(reader.bin()) };
    default:
      throw new DecodeError('a filter on a field that cannot be filtered');
  }
}

const ownerIds = new WeakMap<SignedPart, InfoHash>();

/** Short key id of the signer: SHA-1 of its public key, computed once for each value. */
export function ownerId(value: Value): InfoHash | undefined {
  if (value.kind === 'encrypted' || value.signed === undefined) return undefined;
  let id = ownerIds.get(value.signed);
  if (id === undefined) {
    id = InfoHash.of(value.signed.owner);
    ownerIds.set(value.signed, id);
  }
  return id;
}

/** Does `value` pass every filter? */
export function matches(query: Query, value: Value): boolean {
  return query.where.every((filter) => {
    switch (filter.field) {
      case 'id':
        return value.id === filter.value;
      case 'type':
        return storedType(value) === filter.value;
      case 'owner':
        return ownerId(value)?.equals(filter.value) ?? filter.value.isZero;
      case 'userType':
        return (value.kind === 'plain' ? (value.userType ?? '') : '') === filter.value;
      default:
        return filter satisfies never;
    }
  });
}

/** One value's selected fields, as a remote node gave them. */
export interface FieldRow {
  readonly id?: bigint;
  readonly type?: number;
  /** The whole public key, or 20 bytes: a short key id, all zero when there is no owner. */
  readonly owner?: Uint8Array;
  readonly seq?: number;
  readonly userType?: string;
}

export interface SelectedFields {
  /** In rising order, never empty. */
  readonly fields: readonly Field[];
  readonly rows: readonly FieldRow[];
}

/** At most: id, type and seq of a row, and what is before a bin or a str. */
const NUMBERS_BYTES = 9 + 3 + 3;
const BLOB_HEADER_BYTES = 3;

const NO_OWNER = new Uint8Array(INFOHASH_BYTES);

/**
 * Answer a query that selects fields, with as many of the values as fit.
 * @param maxBytes about: rows are not sent in parts, so all of them have to go into one datagram
 */
export function selectFields(
  select: readonly Field[],
  values: readonly Value[],
  maxBytes: number,
): SelectedFields {
  const rows: FieldRow[] = [];
  let bytes = 0;
  for (const value of values) {
    const plain = value.kind === 'plain' ? value : undefined;
    const owner = plain?.signed?.owner ?? NO_OWNER;
    const userType = plain?.userType ?? '';
    bytes += NUMBERS_BYTES;
    if (select.includes('owner')) bytes += BLOB_HEADER_BYTES + owner.length;
    if (select.includes('userType')) bytes += BLOB_HEADER_BYTES + utf8(userType).length;
    if (bytes > maxBytes) break;
    const seq = plain?.signed?.seq ?? 0;
    rows.push({ id: value.id, type: storedType(value), owner, seq, userType });
  }
  return { fields: FIELDS.filter((f) => f !== undefined && select.includes(f)) as Field[], rows };
}

export function writeFields(out: MsgpackWriter, { fields, rows }: SelectedFields): void {
  out.map(2).str('f').array(fields.length);
  for (const field of fields) out.int(FIELD_NUMBER[field]);
  out.str('v').array(rows.length * fields.length);
  for (const row of rows) {
    for (const field of fields) {
      if (field === 'userType') out.str(row.userType ?? '');
      else if (field === 'owner') out.bin(row.owner ?? NO_OWNER);
      else out.int(row[field] ?? 0);
    }
  }
}

/** @throws {DecodeError} */
export function readFields(reader: MsgpackReader): SelectedFields {
  const count = reader.mapHeader();
  let names: number | undefined;
  let list: number | undefined;
  for (let i = 0; i < count; i++) {
    const key = reader.textCode();
    if (key === FIELD) names ??= reader.offset;
    if (key === VALUE) list ??= reader.offset;
    reader.skip();
  }
  if (names === undefined || list === undefined) throw new DecodeError('fields without f or v');
  const end = reader.offset;
  reader.offset = names;
  const fields: Field[] = [];
  for (let left = reader.arrayHeader(); left > 0; left--) {
    const field = FIELDS[reader.uint(UINT16_MAX)];
    if (field === undefined) throw new DecodeError('an unknown field');
    fields.push(field);
  }
  if (fields.length === 0) throw new DecodeError('an empty list of fields');
  reader.offset = list;
  const rows: FieldRow[] = [];
  for (let left = reader.arrayHeader(); left >= fields.length; left -= fields.length)
    rows.push(readRow(reader, fields));
  reader.offset = end;
  return { fields, rows };
}

function readRow(reader: MsgpackReader, fields: readonly Field[]): FieldRow {
  const row: { -readonly [K in keyof FieldRow]: FieldRow[K] } = {};
  for (const field of fields) {
    switch (field) {
      case 'id':
        row.id = reader.uint64();
        break;
      case 'type':
      case 'seq':
        row[field] = reader.uint(UINT16_MAX);
        break;
      case 'owner':
        row.owner = reader.blob();
        break;
      case 'userType':
        row.userType = reader.str();
        break;
      default:
        field satisfies never;
    }
  }
  return row;
}
