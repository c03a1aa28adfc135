/**
 * Recognises a ping, find or get in the form in which nearly all of them come, and says where in the datagram its fields
 * are, without making an object:
 *
 *   { a: {id, target | h, q?}, q: "ping" | "find" | "get", t: uint32, y: "q", v: str }      entries in any order
 *
 * where the `q` of a get selects fields and filters nothing: `{s: [1], w: []}` asks which ids there are, and is how the
 * reference begins its look-ups (opendht.md 5.3).
 *
 * Whatever is different in any way (another entry, a longer form, an entry twice) is left to the decoder
 * (`message-decode.ts`), which alone decides what is right and what is dropped.
 */
export type ScannedMethod = 'ping' | 'find' | 'get';

const HASH_BYTES = 20;
const BIN8 = 0xc4;
const UINT8 = 0xcc;
const UINT16 = 0xcd;
const UINT32 = 0xce;

// Bits of entries that were seen.
const ARGUMENTS = 1;
const METHOD = 2;
const TID = 4;
const KIND = 8;
const VERSION = 16;
const ID = 32;
const TARGET = 64;
const KEY = 128;
const SELECTION = 256;
/** May be missing. */
const OPTIONAL = VERSION | SELECTION;

const QUERY = ARGUMENTS | METHOD | TID | KIND | ID;

const WANTED: Readonly<Record<ScannedMethod, number>> = {
  ping: QUERY,
  find: QUERY | TARGET,
  get: QUERY | KEY,
};

const code = (letter: string): number => letter.charCodeAt(0);
const [A, Q, T, Y, V, H, I, D, S, W] = [...'aqtyvhidsw'].map(code);

export class QueryScan {
  method: ScannedMethod = 'ping';
  tid = 0;
  /** Offset of the sender's id, 20 bytes. */
  idAt = 0;
  /** Offset of what is looked for, 20 bytes; 0 for a ping. */
  targetAt = 0;
  #seen = 0;
  /** Where reading goes on. */
  #at = 0;

  /** @returns false when the decoder has to look at it; the fields mean nothing then */
  read(packet: Uint8Array): boolean {
    const head = packet[0] as number;
    if (head < 0x84 || head > 0x85) return false;
    this.#seen = 0;
    this.#at = 1;
    this.targetAt = 0;
    for (let left = head & 15; left > 0; left--) if (!this.#entry(packet)) return false;
    return this.#at <= packet.length && (this.#seen & ~OPTIONAL) === WANTED[this.method];
  }

  #entry(packet: Uint8Array): boolean {
    const at = this.#at;
    if (packet[at] !== 0xa1) return false;
    this.#at = at + 2;
    switch (packet[at + 1]) {
      case A:
        return this.#mark(ARGUMENTS) && this.#arguments(packet);
      case Q:
        return this.#mark(METHOD) && this.#method(packet);
      case T:
        return this.#mark(TID) && this.#tid(packet);
      case Y:
        this.#at = at + 4;
        return this.#mark(KIND) && packet[at + 2] === 0xa1 && packet[at + 3] === Q;
      case V:
        return this.#mark(VERSION) && this.#version(packet);
      default:
        return false;
    }
  }

  /** @returns false for an entry that was there before: which one counts is for the decoder to say */
  #mark(entry: number): boolean {
    if ((this.#seen & entry) !== 0) return false;
    this.#seen |= entry;
    return true;
  }

  #arguments(packet: Uint8Array): boolean {
    const head = packet[this.#at] as number;
    if (head < 0x81 || head > 0x83) return false;
    this.#at++;
    for (let left = head & 15; left > 0; left--) if (!this.#argument(packet)) return false;
    return true;
  }

  #argument(packet: Uint8Array): boolean {
    const at = this.#at;
    if (packet[at] === 0xa2 && packet[at + 1] === I && packet[at + 2] === D) {
      this.idAt = this.#hash(packet, at + 3);
      return this.#mark(ID) && this.idAt > 0;
    }
    if (packet[at] === 0xa1 && packet[at + 1] === H) {
      this.targetAt = this.#hash(packet, at + 2);
      return this.#mark(KEY) && this.targetAt > 0;
    }
    if (packet[at] === 0xa1 && packet[at + 1] === Q) {
      this.#at = at + 2;
      return this.#mark(SELECTION) && this.#selection(packet);
    }
    if (isText(packet, at, 'target')) {
      this.targetAt = this.#hash(packet, at + 7);
      return this.#mark(TARGET) && this.targetAt > 0;
    }
    return false;
  }

  /** @returns the offset of a bin of 20 bytes; 0 when it is something else or all zero, which means "none" */
  #hash(packet: Uint8Array, at: number): number {
    if (packet[at] !== BIN8 || packet[at + 1] !== HASH_BYTES) return 0;
    const start = at + 2;
    this.#at = start + HASH_BYTES;
    if (this.#at > packet.length) return 0;
    for (let i = start; i < this.#at; i++) if (packet[i] !== 0) return start;
    return 0;
  }

  /** `{s: [fields], w: []}`, of known fields alone. */
  #selection(packet: Uint8Array): boolean {
    let at = this.#at;
    if (packet[at] !== 0x82 || packet[at + 1] !== 0xa1 || packet[at + 2] !== S) return false;
    const count = (packet[at + 3] as number) - 0x90;
    if (count < 0 || count > 5) return false;
    at += 4;
    for (const end = at + count; at < end; at++) {
      const field = packet[at] as number;
      if (field < 1 || field > 5) return false;
    }
    this.#at = at + 3;
    return packet[at] === 0xa1 && packet[at + 1] === W && packet[at + 2] === 0x90;
  }

  #method(packet: Uint8Array): boolean {
    for (const method of ['ping', 'find', 'get'] as const) {
      if (!isText(packet, this.#at, method)) continue;
      this.#at += 1 + method.length;
      this.method = method;
      return true;
    }
    return false;
  }

  #tid(packet: Uint8Array): boolean {
    const at = this.#at;
    const form = packet[at] as number;
    if (form < 0x80) {
      this.tid = form;
      this.#at = at + 1;
      return true;
    }
    const bytes = form === UINT32 ? 4 : form === UINT16 ? 2 : form === UINT8 ? 1 : 0;
    let tid = 0;
    for (let i = 1; i <= bytes; i++) tid = (tid << 8) | (packet[at + i] as number);
    this.tid = tid >>> 0;
    this.#at = at + 1 + bytes;
    return bytes > 0;
  }

  #version(packet: Uint8Array): boolean {
    const form = packet[this.#at] as number;
    if (form < 0xa0 || form >= 0xc0) return false;
    const end = this.#at + 1 + (form & 31);
    // Text that is not ASCII may not be UTF-8 either.
    for (let i = this.#at + 1; i < end; i++) if ((packet[i] as number) >= 0x80) return false;
    this.#at = end;
    return true;
  }
}

/** Is there at `at` the str `text`, of at most 31 ASCII characters? */
function isText(packet: Uint8Array, at: number, text: string): boolean {
  if (packet[at] !== (0xa0 | text.length)) return false;
  for (let i = 0; i < text.length; i++) if (packet[at + 1 + i] !== text.charCodeAt(i)) return false;
  return true;
}
