import { utf8 } from '../base/bytes.ts';

const TWO_32 = 2 ** 32;

/** Writes the subset of msgpack that is on the wire, always in the shortest form (opendht.md 3). */
export class MsgpackWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;
  /** Views of the buffer by length. */
  #views: (Uint8Array | undefined)[] = [];

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

  /** What was written so far, in place: good until the next write. Costs no object once such a length was seen. */
  peek(): Uint8Array {
    let view = this.#views[this.#length];
    if (view === undefined) {
      view = this.#bytes.subarray(0, this.#length);
      this.#views[this.#length] = view;
    }
    return view;
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
      this.#views = [];
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

export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
