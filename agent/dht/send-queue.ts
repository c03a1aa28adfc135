import type { Address } from '../base/address.ts';
import type { DatagramStats } from './datagram-socket.ts';
import type { MessageVector } from './message-vector.ts';
import { writeSockaddr } from './sockaddr.ts';
import { INTERRUPTED, type UdpKernel, WOULD_BLOCK } from './udp-kernel.ts';

/** Datagrams per sendmmsg: where the measured gain per datagram flattens out. */
export const SEND_BATCH = 64;

/**
 * Datagrams that wait while the kernel takes none: the answers to four full batches. UDP may lose, so more would only be
 * late. With SLOT_BYTES it is 512 KiB, of which a quiet node touches one page.
 */
export const SEND_SLOTS = 4 * SEND_BATCH;

/** Above every datagram a DHT node writes (parts of 1305 bytes, opendht.md 6.2). Longer ones take the slow way. */
export const SEND_SLOT_BYTES = 2048;

/**
 * Datagrams on their way to the kernel, copied into the memory of one sendmmsg, in order, bounded. A full queue refuses;
 * a datagram that the kernel refuses is counted and skipped: nothing here can stop the ones behind it.
 */
export class SendQueue {
  readonly #kernel: UdpKernel;
  readonly #stats: DatagramStats;
  readonly #vector: MessageVector;
  #first = 0;
  #end = 0;
  /** The kernel said "not now": only the next `flush` asks it again. */
  #blocked = false;

  constructor(kernel: UdpKernel, stats: DatagramStats) {
    this.#kernel = kernel;
    this.#stats = stats;
    this.#vector = kernel.createVector(SEND_SLOTS, SEND_SLOT_BYTES);
  }

  get size(): number {
    return this.#end - this.#first;
  }

  push(packet: Uint8Array, to: Address): void {
    if (packet.length > SEND_SLOT_BYTES) {
      this.#sendLong(packet, to);
      return;
    }
    if (this.#end === SEND_SLOTS) {
      this.#stats.dropped++;
      return;
    }
    this.#vector.setPacket(this.#end, packet);
    writeSockaddr(this.#vector.bytes, this.#vector.nameAt(this.#end), to);
    this.#end++;
    if (this.size >= SEND_BATCH && !this.#blocked) this.flush();
  }

  /** @returns false when the kernel takes no more for now and some are still waiting */
  flush(): boolean {
    this.#blocked = false;
    while (this.#first < this.#end) {
      const count = Math.min(this.size, SEND_BATCH);
      const sent = this.#kernel.send(this.#vector, this.#first, count);
      if (sent >= 0) {
        this.#stats.sent += sent;
        this.#first += sent;
      } else if (sent === WOULD_BLOCK) {
        this.#blocked = true;
        return false;
      } else if (sent !== INTERRUPTED) {
        // It speaks of the first one alone. ENOBUFS is among them: a network that is full loses datagrams.
        this.#stats.sendErrors++;
        this.#first++;
      }
    }
    this.#first = 0;
    this.#end = 0;
    return true;
  }

  #sendLong(packet: Uint8Array, to: Address): void {
    // What was queued before it goes first.
    const sent = this.flush() ? this.#kernel.sendOne(packet, to) : WOULD_BLOCK;
    if (sent >= 0) this.#stats.sent++;
    else if (sent === WOULD_BLOCK) this.#stats.dropped++;
    else this.#stats.sendErrors++;
  }
}
