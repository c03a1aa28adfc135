import { createHash } from 'node:crypto';
import type { Address } from '../base/address.ts';
import { equalBytes } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import type { ListedNode } from './addresses.ts';
import { INFOHASH_BYTES, InfoHash } from './infohash.ts';
import { LIMITS } from './limits.ts';
import { MsgpackReader, textCode } from './msgpack-reader.ts';
import { MsgpackWriter } from './msgpack-writer.ts';
import { readSockaddr, sockaddrBytes, writeSockaddr } from './sockaddr.ts';

/**
 * What a node keeps over a restart, as bytes: the state file of OpenDHT 4.3.x (opendht.md 19.3) with a sum at its end,
 * which the reference steps over.
 *
 *   { v: 1, id: bin20, nodes: [NODE ...], values: [[key: bin20, bin([VALUE ...])] ...], sum: bin32 }
 *   NODE  = { id: bin20, addr: bin }                    addr: struct sockaddr of Linux
 *   VALUE = [ created, value, source: bin, expires ]    times: msgpack timestamps (ext −1); source: struct sockaddr or empty
 *   sum   = SHA-256 of everything before its entry      missing in files of the reference
 *
 * Read as well: VALUE = [ ticks, value ] of releases before 4.3.0, whose ticks mean nothing in another life of the machine.
 */

const VERSION = 1;
const SUM_BYTES = 32;

const V = textCode('v');
const ID = textCode('id');
const NODES = textCode('nodes');
const VALUES = textCode('values');
const SUM = textCode('sum');
const ADDR = textCode('addr');

/** A stored value and what is known of it beside its content. */
export interface KeptValue {
  readonly key: InfoHash;
  /** The value as it is on the wire. */
  readonly packed: Uint8Array;
  /** IP of the one who pays for it (of IPv6 the /64); undefined where nobody is named. */
  readonly source: Uint8Array | undefined;
  /** Wall clock, ms. Undefined in files of before 4.3.0. */
  readonly expiresUnixMs: number | undefined;
}

/** As it is written. */
export interface DatedValue extends KeptValue {
  /** For the reference, which wants to know. The end of its life is all that we go by. */
  readonly createdUnixMs: number;
  readonly expiresUnixMs: number;
}

export interface KeptState<V extends KeptValue = KeptValue> {
  readonly id: InfoHash;
  /** The most valuable first. */
  readonly nodes: readonly ListedNode[];
  /** Those of one key one after the other. Read lazily: a group that is damaged is stepped over. */
  readonly values: Iterable<V>;
}

/** What is to be written. */
export interface StateToKeep extends KeptState<DatedValue> {
  /** How many different keys come in `values`: the file says so before the first of them. */
  readonly keys: number;
}

/** Small pieces are joined up to this size before they are handed on. */
const CHUNK_BYTES = 64 * 2 ** 10;

/**
 * The file, in pieces of some 64 KiB (one key with more values makes a larger one), each made when it is asked for: whoever
 * writes it can let other work run in between.
 */
export function* encodeState(state: StateToKeep): Generator<Uint8Array> {
  const sum = createHash('sha256');
  const out = new MsgpackWriter(2 * CHUNK_BYTES);
  const take = () => {
    const chunk = out.finish();
    out.reset();
    sum.update(chunk);
    return chunk;
  };
  out.map(5).str('v').int(VERSION).str('id').bin(state.id.bytes);
  out.str('nodes').array(state.nodes.length);
  for (const { id, address } of state.nodes)
    out.map(2).str('id').bin(id.bytes).str('addr').bin(packSockaddr(address));
  out.str('values').array(state.keys);
  for (const group of groupsOf(state.values)) {
    const blob = packGroup(group);
    if (out.length > 0 && out.length + blob.length > CHUNK_BYTES) yield take();
    out
      .array(2)
      .bin((group[0] as DatedValue).key.bytes)
      .bin(blob);
  }
  yield take();
  yield out.str('sum').bin(sum.digest()).finish();
}

function* groupsOf(values: Iterable<DatedValue>): Generator<DatedValue[]> {
  let group: DatedValue[] = [];
  for (const value of values) {
    if (group[0] !== undefined && !group[0].key.equals(value.key)) {
      yield group;
      group = [];
    }
    group.push(value);
  }
  if (group.length > 0) yield group;
}

const scratch = new MsgpackWriter(2048);

function packGroup(group: readonly DatedValue[]): Uint8Array {
  scratch.reset().array(group.length);
  for (const { packed, source, createdUnixMs, expiresUnixMs } of group) {
    scratch.array(4).raw(packTimestamp(createdUnixMs)).raw(packed);
    scratch.bin(source === undefined ? new Uint8Array(0) : packSockaddr({ ip: source, port: 0 }));
    scratch.raw(packTimestamp(expiresUnixMs));
  }
  return scratch.finish();
}

function packSockaddr(address: Address): Uint8Array {
  const bytes = new Uint8Array(sockaddrBytes(address.ip.length));
  writeSockaddr(bytes, 0, address);
  return bytes;
}

/**
 * @throws {DecodeError} when it is no state file, is damaged, or is of a version that is not known here
 */
export function decodeState(bytes: Uint8Array): KeptState {
  const reader = new MsgpackReader(bytes);
  const count = reader.mapHeader();
  let version: number | undefined;
  let id: InfoHash | undefined;
  let nodes: ListedNode[] | undefined;
  let values: number | undefined;
  for (let i = 0; i < count; i++) {
    const entry = reader.offset;
    const name = reader.textCode();
    if (name === V) version = reader.uint(0xffff_ffff);
    else if (name === ID) id = new InfoHash(reader.binOf(INFOHASH_BYTES));
    else if (name === NODES) nodes = readNodes(reader);
    else if (name === SUM) checkSum(bytes.subarray(0, entry), reader.binOf(SUM_BYTES));
    else {
      if (name === VALUES) values = reader.offset;
      reader.skip();
    }
  }
  if (version === undefined || id === undefined || nodes === undefined || values === undefined)
    throw new DecodeError('not a state file of a DHT node');
  if (version !== VERSION) throw new DecodeError(`version ${version} is not known`);
  if (reader.offset !== bytes.length) throw new DecodeError('bytes after the end');
  return { id, nodes, values: new KeptValues(bytes, values) };
}

function checkSum(covered: Uint8Array, sum: Uint8Array): void {
  if (!equalBytes(createHash('sha256').update(covered).digest(), sum))
    throw new DecodeError('the sum is not right');
}

function readNodes(reader: MsgpackReader): ListedNode[] {
  const nodes: ListedNode[] = [];
  const count = reader.arrayHeader();
  for (let i = 0; i < count; i++) {
    if (nodes.length === LIMITS.stateNodes) reader.skip();
    else {
      const node = readNode(reader);
      if (node !== undefined) nodes.push(node);
    }
  }
  return nodes;
}

/** @returns undefined for an address of another kind than IP */
function readNode(reader: MsgpackReader): ListedNode | undefined {
  let id: InfoHash | undefined;
  let address: Address | undefined;
  const count = reader.mapHeader();
  for (let i = 0; i < count; i++) {
    const name = reader.textCode();
    if (name === ID) id = new InfoHash(reader.binOf(INFOHASH_BYTES));
    else if (name === ADDR) address = readSockaddr(reader.bin());
    else reader.skip();
  }
  return id === undefined || address === undefined ? undefined : { id, address };
}

/** The values of a file whose outer shape is known to be sound. */
class KeptValues implements Iterable<KeptValue> {
  readonly #bytes: Uint8Array;
  readonly #offset: number;

  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes;
    this.#offset = offset;
  }

  *[Symbol.iterator](): Generator<KeptValue> {
    let left = LIMITS.stateValues;
    const reader = new MsgpackReader(this.#bytes, this.#offset);
    const groups = unlessDamaged(() => reader.arrayHeader()) ?? 0;
    for (let i = 0; i < groups; i++) {
      const start = reader.offset;
      const group = unlessDamaged(() => readGroup(reader, left)) ?? [];
      left -= group.length;
      yield* group;
      reader.offset = start;
      reader.skip();
    }
  }
}

function readGroup(reader: MsgpackReader, most: number): KeptValue[] {
  if (reader.arrayHeader() !== 2) throw new DecodeError('not a key and its values');
  const key = new InfoHash(reader.binOf(INFOHASH_BYTES));
  const inner = new MsgpackReader(reader.bin());
  const count = Math.min(inner.arrayHeader(), most);
  return Array.from({ length: count }, () => readValue(inner, key));
}

function readValue(reader: MsgpackReader, key: InfoHash): KeptValue {
  const entries = reader.arrayHeader();
  if (entries < 2) throw new DecodeError('a stored value without time or content');
  reader.skip();
  const packed = reader.raw();
  const source = entries > 2 ? readSockaddr(reader.bin())?.ip : undefined;
  const expiresUnixMs = entries > 3 ? readTimestamp(reader.raw()) : undefined;
  for (let i = 4; i < entries; i++) reader.skip();
  return { key, packed, source, expiresUnixMs };
}

function unlessDamaged<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/*
 * msgpack timestamps: d7 ff nanoseconds(30 bit) seconds(34 bit), or d6 ff seconds(32), or c7 0c ff nanoseconds(32) seconds(64).
 * The reference writes the first one as long as it can hold the date; so do we, always.
 */

const NS_PER_MS = 1_000_000;
const TWO_32 = 2 ** 32;
const MAX_SECONDS = 2 ** 34 - 1;

function packTimestamp(unixMs: number): Uint8Array {
  const seconds = Math.min(Math.max(0, Math.floor(unixMs / 1000)), MAX_SECONDS);
  const ns = Math.min(Math.max(0, Math.floor((unixMs - seconds * 1000) * NS_PER_MS)), 999_999_999);
  const bytes = new Uint8Array(10);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0xd7ff);
  view.setUint32(2, ns * 4 + Math.floor(seconds / TWO_32));
  view.setUint32(6, seconds % TWO_32);
  return bytes;
}

/** @returns Unix ms, or undefined for an object that is no timestamp */
function readTimestamp(object: Uint8Array): number | undefined {
  const view = new DataView(object.buffer, object.byteOffset, object.byteLength);
  if (object[0] === 0xd6 && object[1] === 0xff) return view.getUint32(2) * 1000;
  if (object[0] === 0xd7 && object[1] === 0xff) {
    const high = view.getUint32(2);
    return ((high & 3) * TWO_32 + view.getUint32(6)) * 1000 + (high >>> 2) / NS_PER_MS;
  }
  if (object[0] === 0xc7 && object[1] === 12 && object[2] === 0xff)
    return Number(view.getBigInt64(7)) * 1000 + view.getUint32(3) / NS_PER_MS;
  return undefined;
}
