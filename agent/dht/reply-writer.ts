import { INFOHASH_BYTES, type InfoHash } from './infohash.ts';
import { PROTOCOL, VERSION_NAME } from './limits.ts';
import { MsgpackWriter } from './msgpack-writer.ts';
import type { Node } from './node.ts';

const BIN8 = 0xc4;
const BIN16 = 0xc5;

/** `sa` and its bin header after the own id. */
const SEEN_IP = [0xa2, 0x73, 0x61, BIN8] as const;
const TOKEN = [0xa5, 0x74, 0x6f, 0x6b, 0x65, 0x6e, BIN8] as const;

/**
 * Writes the replies of `fast-path.ts` into one buffer that already holds what they all begin with: byte for byte what
 * `encodeMessage` makes of the same reply.
 *
 *   { r: {id, sa, n4 | n6?, token?}, t: tid, y: "r", v, n? }
 */
export class ReplyWriter {
  readonly #bytes: Uint8Array;
  /** Views of the buffer by length, made when first needed: a reply costs no object. */
  readonly #views: (Uint8Array | undefined)[] = [];
  readonly #ipBytes: number;
  /** What follows the tid. */
  readonly #trailer: Uint8Array;
  readonly #listName: number;
  #at = 0;

  /** Offset of the number of entries in `r`. */
  static readonly #COUNT_AT = 3;
  static readonly #IP_AT = 3 + 1 + 5 + INFOHASH_BYTES + SEEN_IP.length + 1;

  /** @param ipBytes 4 or 16: one writer for each family */
  constructor(self: InfoHash, network: number, ipBytes: number) {
    const head = new MsgpackWriter()
      .map(network === 0 ? 4 : 5)
      .str('r')
      .map(2);
    head.str('id').bin(self.bytes).str('sa').bin(new Uint8Array(ipBytes));
    const trailer = new MsgpackWriter().str('y').str('r').str('v').str(VERSION_NAME);
    if (network !== 0) trailer.str('n').int(network);
    this.#trailer = trailer.finish();
    this.#ipBytes = ipBytes;
    this.#listName = ipBytes === 4 ? 0x34 : 0x36;
    const compactBytes = INFOHASH_BYTES + ipBytes + 2;
    const most = PROTOCOL.targetNodes * compactBytes + PROTOCOL.maxTokenBytes + 64;
    this.#bytes = new Uint8Array(head.length + this.#trailer.length + most);
    this.#bytes.set(head.finish());
  }

  /** Begin a reply to an asker at `ip`. */
  begin(ip: Uint8Array): void {
    const bytes = this.#bytes;
    const at = ReplyWriter.#IP_AT;
    for (let i = 0; i < this.#ipBytes; i++) bytes[at + i] = ip[i] as number;
    bytes[ReplyWriter.#COUNT_AT] = 0x82;
    this.#at = at + this.#ipBytes;
  }

  /** `n4` or `n6`, left out when there are none. */
  nodes(nodes: readonly Node[], count: number): void {
    if (count === 0) return;
    const bytes = this.#bytes;
    bytes[ReplyWriter.#COUNT_AT] = (bytes[ReplyWriter.#COUNT_AT] as number) + 1;
    let at = this.#at;
    bytes[at++] = 0xa2;
    bytes[at++] = 0x6e;
    bytes[at++] = this.#listName;
    const length = count * (INFOHASH_BYTES + this.#ipBytes + 2);
    if (length > 0xff) {
      bytes[at++] = BIN16;
      bytes[at++] = length >> 8;
    } else bytes[at++] = BIN8;
    bytes[at++] = length;
    for (let i = 0; i < count; i++) {
      const { compact } = nodes[i] as Node;
      for (let k = 0; k < compact.length; k++) bytes[at++] = compact[k] as number;
    }
    this.#at = at;
  }

  token(token: Uint8Array): void {
    const bytes = this.#bytes;
    bytes[ReplyWriter.#COUNT_AT] = (bytes[ReplyWriter.#COUNT_AT] as number) + 1;
    let at = this.#at;
    for (let i = 0; i < TOKEN.length; i++) bytes[at++] = TOKEN[i] as number;
    bytes[at++] = token.length;
    for (let i = 0; i < token.length; i++) bytes[at++] = token[i] as number;
    this.#at = at;
  }

  /** @returns the whole reply; a view that is good until the next `begin` */
  finish(tid: number): Uint8Array {
    const bytes = this.#bytes;
    let at = this.#at;
    bytes[at++] = 0xa1;
    bytes[at++] = 0x74;
    if (tid >= 0x1_0000) {
      bytes[at++] = 0xce;
      bytes[at++] = tid >>> 24;
      bytes[at++] = tid >>> 16;
      bytes[at++] = tid >>> 8;
    } else if (tid >= 0x100) {
      bytes[at++] = 0xcd;
      bytes[at++] = tid >>> 8;
    } else if (tid >= 0x80) bytes[at++] = 0xcc;
    bytes[at++] = tid;
    const trailer = this.#trailer;
    for (let i = 0; i < trailer.length; i++) bytes[at++] = trailer[i] as number;
    let view = this.#views[at];
    if (view === undefined) {
      view = bytes.subarray(0, at);
      this.#views[at] = view;
    }
    return view;
  }
}
