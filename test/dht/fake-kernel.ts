import { expect } from 'vitest';
import type { Address } from '../../agent/base/address.ts';
import { cmsgLayout, mmsghdrLayout } from '../../agent/base/socket-abi.ts';
import { MessageVector } from '../../agent/dht/message-vector.ts';
import { readSockaddrPort, sockaddrBytes, writeSockaddr } from '../../agent/dht/sockaddr.ts';
import type { UdpKernel } from '../../agent/dht/udp-kernel.ts';

export interface Datagram {
  readonly packet: Uint8Array;
  readonly address: Address;
  /** The kernel had to cut it. */
  readonly truncated?: boolean;
}

const MSG_TRUNC = 0x20;
/** Where C would see the memory. */
const BASE = 0x7000_0000_0000n;

/**
 * The kernel's side of a UDP socket, without one: it fills the memory of a MessageVector as recvmmsg does and reads it as
 * sendmmsg does. `refuse` scripts the answers to the next sends: a negative errno, or how many to take.
 */
export class FakeKernel implements UdpKernel {
  readonly port: number;
  readonly incoming: Datagram[] = [];
  readonly outgoing: Datagram[] = [];
  readonly refuse: number[] = [];
  watchesForRoom = false;
  watchCalls = 0;
  receiveCalls = 0;
  sendCalls = 0;
  isClosed = false;
  readonly #ipBytes: number;
  readonly #onReady: () => void;

  constructor(address: Address, onReady: () => void) {
    this.port = address.port;
    this.#ipBytes = address.ip.length;
    this.#onReady = onReady;
  }

  /** What libuv does when the descriptor is ready. */
  ready(): void {
    this.#onReady();
  }

  createVector(slots: number, packetBytes: number, runs = false): MessageVector {
    return new MessageVector({
      runs,
      slots,
      packetBytes,
      nameBytes: sockaddrBytes(this.#ipBytes),
      pointerBytes: 8,
      addressOf: () => BASE,
    });
  }

  receive(vector: MessageVector): number {
    this.receiveCalls++;
    const header = mmsghdrLayout(8);
    const view = new DataView(vector.memory);
    const taken = this.incoming.splice(0, vector.slots);
    taken.forEach(({ packet, address, truncated }, i) => {
      vector.bytes.set(packet, vector.packetAt(i));
      writeSockaddr(vector.bytes, vector.nameAt(i), address);
      view.setUint32(i * header.size + header.msg_len, packet.length, true);
      view.setUint32(i * header.size + header.msg_flags, truncated ? MSG_TRUNC : 0, true);
    });
    return taken.length === 0 ? -11 : taken.length;
  }

  send(vector: MessageVector, first: number, count: number): number {
    this.sendCalls++;
    const answer = this.refuse.shift() ?? count;
    for (let i = first; i < first + answer; i++) {
      const nameAt = vector.nameAt(i);
      const ipAt = nameAt + (this.#ipBytes === 4 ? 4 : 8);
      const address = {
        ip: vector.bytes.slice(ipAt, ipAt + this.#ipBytes),
        port: readSockaddrPort(vector.bytes, nameAt),
      };
      for (const packet of this.#packets(vector, i)) this.outgoing.push({ packet, address });
    }
    return answer;
  }

  sendOne(packet: Uint8Array, to: Address): number {
    const answer = this.refuse.shift() ?? 1;
    if (answer > 0) this.outgoing.push({ packet: packet.slice(), address: to });
    return answer;
  }

  watch(room: boolean): void {
    this.watchesForRoom = room;
    this.watchCalls++;
  }

  close(): void {
    this.isClosed = true;
  }

  /** What one header stands for, found as C finds it: its iovecs one after the other, cut at every `UDP_SEGMENT` bytes. */
  #packets(vector: MessageVector, i: number): Uint8Array[] {
    const view = new DataView(vector.memory);
    const header = mmsghdrLayout(8);
    const word = (at: number) => Number(view.getBigUint64(at, true));
    const pointer = (at: number) => Number(view.getBigUint64(at, true) - BASE);
    const at = i * header.size;
    const count = word(at + header.msg_iovlen);
    const iovsAt = pointer(at + header.msg_iov);
    const bytes: number[] = [];
    for (let k = 0; k < count; k++) {
      const start = pointer(iovsAt + 16 * k);
      bytes.push(...vector.bytes.subarray(start, start + word(iovsAt + 16 * k + 8)));
    }
    const controlBytes = word(at + header.msg_controllen);
    if (controlBytes === 0) return [Uint8Array.from(bytes)];
    const cmsg = cmsgLayout(8);
    const controlAt = pointer(at + header.msg_control);
    expect(controlBytes).toBe(cmsg.space);
    expect(word(controlAt + cmsg.cmsg_len)).toBe(cmsg.length);
    expect(view.getInt32(controlAt + cmsg.cmsg_level, true)).toBe(17);
    expect(view.getInt32(controlAt + cmsg.cmsg_type, true)).toBe(103);
    const size = view.getUint16(controlAt + cmsg.data, true);
    const packets: Uint8Array[] = [];
    for (let from = 0; from < bytes.length; from += size)
      packets.push(Uint8Array.from(bytes.slice(from, from + size)));
    return packets;
  }
}
