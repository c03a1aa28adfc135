import type { Address } from '../../agent/base/address.ts';
import { mmsghdrLayout } from '../../agent/base/socket-abi.ts';
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

  createVector(slots: number, packetBytes: number): MessageVector {
    return new MessageVector({
      slots,
      packetBytes,
      nameBytes: sockaddrBytes(this.#ipBytes),
      pointerBytes: 8,
      addressOf: () => 0x7000_0000_0000n,
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
      const at = vector.packetAt(i);
      const nameAt = vector.nameAt(i);
      const ipAt = nameAt + (this.#ipBytes === 4 ? 4 : 8);
      this.outgoing.push({
        packet: vector.bytes.slice(at, at + this.#packetBytes(vector, i)),
        address: {
          ip: vector.bytes.slice(ipAt, ipAt + this.#ipBytes),
          port: readSockaddrPort(vector.bytes, nameAt),
        },
      });
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

  /** iov_len, found as C finds it: from the header's msg_iov. */
  #packetBytes(vector: MessageVector, i: number): number {
    const view = new DataView(vector.memory);
    const { size, msg_iov } = mmsghdrLayout(8);
    const base = 0x7000_0000_0000n;
    const iovAt = Number(view.getBigUint64(i * size + msg_iov, true) - base);
    return Number(view.getBigUint64(iovAt + 8, true));
  }
}
