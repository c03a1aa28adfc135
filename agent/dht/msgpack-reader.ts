import { fromUtf8 } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { isAscii } from './msgpack-writer.ts';

/**
 * Reads the part of msgpack that is on the wire (opendht.md 3): integers, str, bin, array, map, bool. `str` and `bin`
 * stay apart, 64 bit numbers are bigint where the field is one. Other types (nil, float, ext) are only ever skipped.
 *
 * It needs no recursion and allocates nothing by an announced length: nesting and sizes cannot hurt.
 */

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
  readonly #copies: boolean;
  offset: number;

  /** @param copies false: what is read are views of `bytes`, which stay and must not change */
  constructor(bytes: Uint8Array, offset = 0, copies = true) {
    const { buffer, byteOffset, byteLength } = bytes;
    // `slice` of a Buffer does not copy, and what is read outlives the packet: work on a plain view.
    this.#bytes =
      bytes.constructor === Uint8Array ? bytes : new Uint8Array(buffer, byteOffset, byteLength);
    this.#view = new DataView(buffer, byteOffset, byteLength);
    this.offset = offset;
    this.#copies = copies;
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

  /** A bin of any length. */
  bin(): Uint8Array {
    if (!this.isBin()) throw new DecodeError('not a bin');
    return this.#keep(this.#body());
  }

  /** A bin of exactly `length` bytes. */
  binOf(length: number): Uint8Array {
    if (!this.isBin()) throw new DecodeError('not a bin');
    const bytes = this.#body();
    if (bytes.length !== length) throw new DecodeError(`not a bin of ${length}`);
    return this.#keep(bytes);
  }

  /** "Blob" fields are read leniently (opendht.md 3.3): bin, str, or an array of small integers. */
  blob(): Uint8Array {
    const code = this.#peek();
    if (this.#isArray(code)) {
      const bytes = new Uint8Array(this.arrayHeader());
      for (let i = 0; i < bytes.length; i++) bytes[i] = this.uint(0xff);
      return bytes;
    }
    if (!this.isBin() && !this.#isStr(code)) throw new DecodeError('not a blob');
    return this.#keep(this.#body());
  }

  #keep(view: Uint8Array): Uint8Array {
    return this.#copies ? view.slice() : view;
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
