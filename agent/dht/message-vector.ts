import {
  type CmsgLayout,
  cmsgLayout,
  iovecLayout,
  type MmsghdrLayout,
  mmsghdrLayout,
  type PointerBytes,
  SOCKET_CONSTANTS,
} from '../base/socket-abi.ts';

export interface MessageVectorOptions {
  /** Datagrams it holds. */
  readonly slots: number;
  /** Bytes of the longest datagram. */
  readonly packetBytes: number;
  /** Bytes of each struct sockaddr. */
  readonly nameBytes: number;
  readonly pointerBytes: PointerBytes;
  /** For sending: give each header room for what `setRun` says. */
  readonly runs?: boolean;
  /** Where C sees the first byte of a buffer. */
  readonly addressOf: (memory: ArrayBuffer) => bigint;
}

/** A slot's room for its sockaddr: sockaddr_in6 rounded up to keep what follows aligned. */
const NAME_STRIDE = 32;

/**
 * The memory of one recvmmsg(2) or sendmmsg(2): an array of struct mmsghdr, each with one iovec, one sockaddr and room for
 * one datagram. It is one ArrayBuffer, whose bytes never move, filled once; nothing in it is allocated per datagram.
 *
 *     mmsghdr × slots | iovec × slots | sockaddr × slots | cmsghdr × slots, for sending | packet × slots
 *
 * The calls are synchronous, so C holds no pointer into it between them and the garbage collector may own it.
 */
export class MessageVector {
  readonly slots: number;
  readonly packetBytes: number;
  readonly memory: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #header: MmsghdrLayout;
  readonly #headerAddresses: readonly bigint[];
  readonly #iovLenAt: number;
  readonly #iovStride: number;
  readonly #namesAt: number;
  readonly #controlsAt: number;
  readonly #control: CmsgLayout;
  readonly #packetsAt: number;
  readonly #packetStride: number;
  /** The last view of each slot: datagrams of one kind have one length, and then no new object is made. */
  readonly #views: (Uint8Array | undefined)[] = [];

  constructor(options: MessageVectorOptions) {
    const { slots, packetBytes, nameBytes, pointerBytes, runs = false } = options;
    const header = mmsghdrLayout(pointerBytes);
    const iovec = iovecLayout(pointerBytes);
    const iovecsAt = slots * header.size;
    this.slots = slots;
    this.packetBytes = packetBytes;
    this.#header = header;
    this.#iovLenAt = iovecsAt + iovec.iov_len;
    this.#iovStride = iovec.size;
    this.#namesAt = iovecsAt + slots * iovec.size;
    this.#controlsAt = this.#namesAt + slots * NAME_STRIDE;
    this.#control = cmsgLayout(pointerBytes);
    this.#packetsAt = this.#controlsAt + (runs ? slots * this.#control.space : 0);
    this.#packetStride = Math.ceil(packetBytes / 8) * 8;
    this.memory = new ArrayBuffer(this.#packetsAt + slots * this.#packetStride);
    this.bytes = new Uint8Array(this.memory);
    this.#words = new Uint32Array(this.memory);

    const base = options.addressOf(this.memory);
    const view = new DataView(this.memory);
    const writeWord = (at: number, value: bigint) =>
      pointerBytes === 8
        ? view.setBigUint64(at, value, true)
        : view.setUint32(at, Number(value), true);
    for (let i = 0; i < slots; i++) {
      const at = i * header.size;
      const iovAt = iovecsAt + i * iovec.size;
      writeWord(at + header.msg_name, base + BigInt(this.nameAt(i)));
      view.setUint32(at + header.msg_namelen, nameBytes, true);
      writeWord(at + header.msg_iov, base + BigInt(iovAt));
      writeWord(at + header.msg_iovlen, 1n);
      writeWord(iovAt + iovec.iov_base, base + BigInt(this.packetAt(i)));
      writeWord(iovAt + iovec.iov_len, BigInt(packetBytes));
      if (runs) {
        const controlAt = this.#controlAt(i);
        writeWord(at + header.msg_control, base + BigInt(controlAt));
        writeWord(controlAt + this.#control.cmsg_len, BigInt(this.#control.length));
        view.setInt32(controlAt + this.#control.cmsg_level, SOCKET_CONSTANTS.IPPROTO_UDP, true);
        view.setInt32(controlAt + this.#control.cmsg_type, SOCKET_CONSTANTS.UDP_SEGMENT, true);
      }
    }
    this.#headerAddresses = Array.from({ length: slots }, (_, i) => base + BigInt(i * header.size));
  }

  /** What C takes for an array of struct mmsghdr that begins with slot `i`. */
  headerAddress(i: number): bigint {
    return this.#headerAddresses[i] as bigint;
  }

  /** Offset in `bytes` of the struct sockaddr of slot `i`. */
  nameAt(i: number): number {
    return this.#namesAt + i * NAME_STRIDE;
  }

  /** Offset in `bytes` of the datagram of slot `i`. */
  packetAt(i: number): number {
    return this.#packetsAt + i * this.#packetStride;
  }

  #controlAt(i: number): number {
    return this.#controlsAt + i * this.#control.space;
  }

  /**
   * Let the header of slot `i` stand for the datagrams of `count` slots from `i` on, all `bytes` long but the last one, which
   * may be shorter: the kernel cuts them apart again (UDP_SEGMENT, udp(7)). Their headers must not be sent.
   */
  setRun(i: number, count: number, bytes: number): void {
    const at = i * this.#header.size;
    this.#words[(at + this.#header.msg_iovlen) >>> 2] = count;
    this.#words[(at + this.#header.msg_controllen) >>> 2] = count > 1 ? this.#control.space : 0;
    const data = this.#controlAt(i) + this.#control.data;
    this.bytes[data] = bytes;
    this.bytes[data + 1] = bytes >>> 8;
  }

  /** Length of the datagram that recvmmsg put into slot `i`. */
  receivedBytes(i: number): number {
    return this.#words[(i * this.#header.size + this.#header.msg_len) >>> 2] as number;
  }

  /** The datagram in slot `i`: a view, good until the next recvmmsg. */
  packet(i: number): Uint8Array {
    const length = this.receivedBytes(i);
    let view = this.#views[i];
    if (view === undefined || view.length !== length) {
      const at = this.packetAt(i);
      view = this.bytes.subarray(at, at + length);
      this.#views[i] = view;
    }
    return view;
  }

  /** Whether recvmmsg had to cut the datagram in slot `i`. */
  isTruncated(i: number): boolean {
    const flags = this.#words[(i * this.#header.size + this.#header.msg_flags) >>> 2] as number;
    return (flags & SOCKET_CONSTANTS.MSG_TRUNC) !== 0;
  }

  /** Put `packet` into slot `i` for sendmmsg. It must not be longer than `packetBytes`. */
  setPacket(i: number, packet: Uint8Array): void {
    this.bytes.set(packet, this.packetAt(i));
    // The upper half of a 64-bit length stays 0: little endian, checked when the socket is opened.
    this.#words[(this.#iovLenAt + i * this.#iovStride) >>> 2] = packet.length;
  }
}
