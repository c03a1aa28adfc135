import { fromUtf8, utf8 } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';

/**
 * The part of msgpack that is on the wire (opendht.md 3): unsigned and negative integers, str, bin, array, map, bool.
 * `str` and `bin` stay apart, 64 bit numbers are bigint where the field is one, everything is written in its shortest
 * form. Other types (nil, float, ext) are only ever skipped.
 *
 * Reading needs no recursion and allocates nothing by an announced length: nesting and sizes cannot hurt.
 */

const TWO_32 = 2 ** 32;

export class MsgpackWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** Forget what was written, keep the memory. */
  reset(): this {
    this.#length = 0;
    return this;
  }

  /** What was written so far, as a copy. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** May replace the buffer: call it before `#bytes` or `#view` is read. */
  #reserve(length: number): number {
    const at = this.#length;
    if (at + length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, at + length));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = at + length;
    return at;
  }

  #byte(value: number): this {
    const at = this.#reserve(1);
    this.#bytes[at] = value;
    return this;
  }

  /** The type byte with its length in 8, 16 or 32 bits, as needed. */
  #sized(length: number, code8: number, code16: number, code32: number): void {
    if (length < 0x100 && code8 !== 0) {
      const at = this.#reserve(2);
      this.#view.setUint16(at, (code8 << 8) | length);
    } else if (length < 0x1_0000) {
      const at = this.#reserve(3);
      this.#bytes[at] = code16;
      this.#view.setUint16(at + 1, length);
    } else {
      const at = this.#reserve(5);
      this.#bytes[at] = code32;
      this.#view.setUint32(at + 1, length);
    }
  }

  /** A whole number of at most 53 bits if it is a `number`, 64 if it is a bigint. */
  int(value: number | bigint): this {
    if (typeof value === 'bigint') {
      if (value >= 0n && value < BigInt(TWO_32)) return this.int(Number(value));
      const at = this.#reserve(9);
      this.#bytes[at] = value < 0n ? 0xd3 : 0xcf;
      this.#view.setBigUint64(at + 1, BigInt.asUintN(64, value));
      return this;
    }
    if (value >= 0 && value < 0x80) return this.#byte(value);
    if (value < 0) return this.#negative(value);
    if (value < TWO_32) {
      this.#sized(value, 0xcc, 0xcd, 0xce);
      return this;
    }
    return this.int(BigInt(value));
  }

  #negative(value: number): this {
    if (value >= -0x20) return this.#byte(value & 0xff);
    if (value >= -0x80) return this.#byte(0xd0).#byte(value & 0xff);
    if (value >= -0x8000) {
      const at = this.#reserve(3);
      this.#bytes[at] = 0xd1;
      this.#view.setInt16(at + 1, value);
      return this;
    }
    if (value >= -0x8000_0000) {
      const at = this.#reserve(5);
      this.#bytes[at] = 0xd2;
      this.#view.setInt32(at + 1, value);
      return this;
    }
    return this.int(BigInt(value));
  }

  bool(value: boolean): this {
    return this.#byte(value ? 0xc3 : 0xc2);
  }

  str(text: string): this {
    const length = text.length;
    if (length < 32 && isAscii(text)) {
      const at = this.#reserve(1 + length);
      this.#bytes[at] = 0xa0 | length;
      for (let i = 0; i < length; i++) this.#bytes[at + 1 + i] = text.charCodeAt(i);
      return this;
    }
    const bytes = utf8(text);
    if (bytes.length < 32) this.#byte(0xa0 | bytes.length);
    else this.#sized(bytes.length, 0xd9, 0xda, 0xdb);
    return this.raw(bytes);
  }

  bin(bytes: Uint8Array): this {
    this.#sized(bytes.length, 0xc4, 0xc5, 0xc6);
    return this.raw(bytes);
  }

  array(count: number): this {
    if (count < 16) return this.#byte(0x90 | count);
    this.#sized(count, 0, 0xdc, 0xdd);
    return this;
  }

  map(count: number): this {
    if (count < 16) return this.#byte(0x80 | count);
    this.#sized(count, 0, 0xde, 0xdf);
    return this;
  }

  /** Bytes as they are: something packed before. */
  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

const MAX_CODE_LENGTH = 7;

/**
 * A number for an ASCII text of up to 7 characters, so that map keys are compared without making strings: a leading 1,
 * then 7 bits for each character.
 */
export function textCode(text: string): number {
  if (text.length > MAX_CODE_LENGTH || !isAscii(text)) throw new RangeError(`no code for ${text}`);
  let code = 1;
  for (let i = 0; i < text.length; i++) code = code * 0x80 + text.charCodeAt(i);
  return code;
}

/** What `MsgpackReader.textCode` gives for anything that is no short ASCII str. */
export const NO_CODE = 0;

/** Reads one object after the other. Every method throws DecodeError on another type or a truncated object. */
export class MsgpackReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  offset: number;

  constructor(bytes: Uint8Array, offset = 0) {
    const { buffer, byteOffset, byteLength } = bytes;
    // `slice` of a Buffer does not copy, and what is read outlives the packet: work on a plain view.
    this.#bytes =
      bytes.constructor === Uint8Array ? bytes : new Uint8Array(buffer, byteOffset, byteLength);
    this.#view = new DataView(buffer, byteOffset, byteLength);
    this.offset = offset;
  }

  #take(length: number): number {
    const at = this.offset;
    if (length > this.#bytes.length - at) throw new DecodeError('truncated');
    this.offset = at + length;
    return at;
  }

  #peek(): number {
    const code = this.#bytes[this.offset];
    if (code === undefined) throw new DecodeError('truncated');
    return code;
  }

  #uint8(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  #uint16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  #uint32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  /** Step over one object, however deep it is. */
  skip(): void {
    // Counts the objects that are still to come, and gives up when the bytes that are left cannot hold them.
    let open = 1;
    while (open > 0) {
      if (open > this.#bytes.length - this.offset) throw new DecodeError('truncated');
      open--;
      const code = this.#uint8();
      if (code < 0x80 || code >= 0xe0) continue;
      if (code < 0x90) open += 2 * (code & 15);
      else if (code < 0xa0) open += code & 15;
      else if (code < 0xc0) this.#take(code & 31);
      else open += this.#skipSized(code);
    }
  }

  /** @returns how many objects follow inside */
  #skipSized(code: number): number {
    switch (code) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return 0;
      case 0xc4:
      case 0xd9:
        this.#take(this.#uint8());
        return 0;
      case 0xc5:
      case 0xda:
        this.#take(this.#uint16());
        return 0;
      case 0xc6:
      case 0xdb:
        this.#take(this.#uint32());
        return 0;
      case 0xc7:
        this.#take(this.#uint8() + 1);
        return 0;
      case 0xc8:
        this.#take(this.#uint16() + 1);
        return 0;
      case 0xc9:
        this.#take(this.#uint32() + 1);
        return 0;
      case 0xcc:
      case 0xd0:
        this.#take(1);
        return 0;
      case 0xcd:
      case 0xd1:
      case 0xd4:
        this.#take(2);
        return 0;
      case 0xd5:
        this.#take(3);
        return 0;
      case 0xca:
      case 0xce:
      case 0xd2:
        this.#take(4);
        return 0;
      case 0xd6:
        this.#take(5);
        return 0;
      case 0xcb:
      case 0xcf:
      case 0xd3:
        this.#take(8);
        return 0;
      case 0xd7:
        this.#take(9);
        return 0;
      case 0xd8:
        this.#take(17);
        return 0;
      case 0xdc:
        return this.#uint16();
      case 0xdd:
        return this.#uint32();
      case 0xde:
        return 2 * this.#uint16();
      case 0xdf:
        return 2 * this.#uint32();
      default:
        throw new DecodeError('0xc1 is not msgpack');
    }
  }

  /** One object as its bytes, copied. */
  raw(): Uint8Array {
    const at = this.offset;
    this.skip();
    return this.#bytes.slice(at, this.offset);
  }

  isInt(): boolean {
    const code = this.#peek();
    return code < 0x80 || code >= 0xe0 || (code >= 0xcc && code <= 0xd3);
  }

  isMap(): boolean {
    const code = this.#peek();
    return (code >= 0x80 && code < 0x90) || code === 0xde || code === 0xdf;
  }

  isBin(): boolean {
    const code = this.#peek();
    return code >= 0xc4 && code <= 0xc6;
  }

  #isStr(code: number): boolean {
    return (code >= 0xa0 && code < 0xc0) || (code >= 0xd9 && code <= 0xdb);
  }

  isStr(): boolean {
    return this.#isStr(this.#peek());
  }

  #isArray(code: number): boolean {
    return (code >= 0x90 && code < 0xa0) || code === 0xdc || code === 0xdd;
  }

  /** @returns how many entries follow; never more than bytes are left */
  mapHeader(): number {
    const code = this.#uint8();
    if (code >= 0x80 && code < 0x90) return this.#count(code & 15, 2);
    if (code === 0xde) return this.#count(this.#uint16(), 2);
    if (code === 0xdf) return this.#count(this.#uint32(), 2);
    throw new DecodeError('not a map');
  }

  /** @returns how many items follow; never more than bytes are left */
  arrayHeader(): number {
    const code = this.#uint8();
    if (code >= 0x90 && code < 0xa0) return this.#count(code & 15, 1);
    if (code === 0xdc) return this.#count(this.#uint16(), 1);
    if (code === 0xdd) return this.#count(this.#uint32(), 1);
    throw new DecodeError('not an array');
  }

  #count(count: number, bytesEach: number): number {
    if (count * bytesEach > this.#bytes.length - this.offset) throw new DecodeError('truncated');
    return count;
  }

  /** The `textCode` of the next object, or NO_CODE when it is something else, which is stepped over. */
  textCode(): number {
    const code = this.#peek();
    const length = code & 31;
    if (code < 0xa0 || code >= 0xc0 || length > MAX_CODE_LENGTH) {
      this.skip();
      return NO_CODE;
    }
    this.offset++;
    const at = this.#take(length);
    let text = 1;
    for (let i = 0; i < length; i++) {
      const byte = this.#bytes[at + i] as number;
      if (byte > 0x7f) return NO_CODE;
      text = text * 0x80 + byte;
    }
    return text;
  }

  /** A whole number, as a bigint only where a `number` cannot hold it. */
  #integer(): number | bigint {
    const code = this.#uint8();
    if (code < 0x80) return code;
    if (code >= 0xe0) return code - 0x100;
    switch (code) {
      case 0xcc:
        return this.#uint8();
      case 0xcd:
        return this.#uint16();
      case 0xce:
        return this.#uint32();
      case 0xcf:
        return this.#view.getBigUint64(this.#take(8));
      case 0xd0:
        return this.#view.getInt8(this.#take(1));
      case 0xd1:
        return this.#view.getInt16(this.#take(2));
      case 0xd2:
        return this.#view.getInt32(this.#take(4));
      case 0xd3:
        return this.#view.getBigInt64(this.#take(8));
      default:
        throw new DecodeError('not an integer');
    }
  }

  /** An unsigned number up to `max`, which is below 2⁵³. */
  uint(max: number): number {
    const value = Number(this.#integer());
    if (value < 0 || value > max) throw new DecodeError('integer out of range');
    return value;
  }

  uint64(): bigint {
    const value = BigInt(this.#integer());
    if (value < 0n) throw new DecodeError('integer out of range');
    return value;
  }

  /** A signed number; what is beyond 53 bits comes rounded, which is far outside of every meaning. */
  int(): number {
    return Number(this.#integer());
  }

  bool(): boolean {
    const code = this.#uint8();
    if (code === 0xc2) return false;
    if (code === 0xc3) return true;
    throw new DecodeError('not a bool');
  }

  /** @throws {DecodeError} also when the str is not UTF-8 */
  str(): string {
    const code = this.#peek();
    if (!this.#isStr(code)) throw new DecodeError('not a str');
    const bytes = this.#body();
    if (bytes.length > 16) return fromUtf8(bytes);
    let text = '';
    for (const byte of bytes) {
      if (byte > 0x7f) return fromUtf8(bytes);
      text += String.fromCharCode(byte);
    }
    return text;
  }

  /** A bin of any length, copied. */
  bin(): Uint8Array {
    if (!this.isBin()) throw new DecodeError('not a bin');
    return this.#body().slice();
  }

  /** A bin of exactly `length` bytes, copied. */
  binOf(length: number): Uint8Array {
    if (!this.isBin()) throw new DecodeError('not a bin');
    const bytes = this.#body();
    if (bytes.length !== length) throw new DecodeError(`not a bin of ${length}`);
    return bytes.slice();
  }

  /** "Blob" fields are read leniently (opendht.md 3.3): bin, str, or an array of small integers. Copied. */
  blob(): Uint8Array {
    const code = this.#peek();
    if (this.#isArray(code)) {
      const bytes = new Uint8Array(this.arrayHeader());
      for (let i = 0; i < bytes.length; i++) bytes[i] = this.uint(0xff);
      return bytes;
    }
    if (!this.isBin() && !this.#isStr(code)) throw new DecodeError('not a blob');
    return this.#body().slice();
  }

  /** The bytes of a str or bin; a view. */
  #body(): Uint8Array {
    const code = this.#uint8();
    let length: number;
    if (code < 0xc0) length = code & 31;
    else if (code === 0xc4 || code === 0xd9) length = this.#uint8();
    else if (code === 0xc5 || code === 0xda) length = this.#uint16();
    else length = this.#uint32();
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }
}
