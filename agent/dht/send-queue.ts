import { type Address, sameAddress } from '../base/address.ts';
import type { DatagramStats } from './datagram-socket.ts';
import type { MessageVector } from './message-vector.ts';
import { writeSockaddr } from './sockaddr.ts';
import { INTERRUPTED, NO_SEGMENTATION, type UdpKernel, WOULD_BLOCK } from './udp-kernel.ts';

/** Datagrams per sendmmsg: where the measured gain per datagram flattens out. */
export const SEND_BATCH = 64;

/**
 * Datagrams that wait while the kernel takes none: the answers to four full batches. UDP may lose, so more would only be
 * late. With SLOT_BYTES it is 512 KiB, of which a quiet node touches one page.
 */
export const SEND_SLOTS = 4 * SEND_BATCH;

/** Above every datagram a DHT node writes (parts of 1305 bytes, opendht.md 6.2). Longer ones take the slow way. */
export const SEND_SLOT_BYTES = 2048;

/** Bytes of a run: below what one IP packet holds, headers included. */
const RUN_BYTES = 65_000;

/**
 * Datagrams on their way to the kernel, copied into the memory of one sendmmsg, in order, bounded. A full queue refuses;
 * a datagram that the kernel refuses is counted and skipped: nothing here can stop the ones behind it.
 *
 * Datagrams of one length to one address that follow each other, as the parts of a value do, are handed over as one *run*
 * that goes through the kernel once and is cut apart at its end: a quarter of the time for each. Where that does not work
 * they go one by one, and no runs are made any more.
 */
export class SendQueue {
  readonly #kernel: UdpKernel;
  readonly #stats: DatagramStats;
  readonly #vector: MessageVector;
  /** Datagrams that the header of a slot stands for, at the first slot of each run; 1 for one by itself. */
  readonly #runs = new Uint8Array(SEND_SLOTS);
  #first = 0;
  #end = 0;
  /** The kernel said "not now": only the next `flush` asks it again. */
  #blocked = false;
  /** The run that the next datagram may join: its first slot, length of its datagrams, and where they go. */
  #openRun = -1;
  #runBytes = 0;
  #runTo: Address | undefined;
  #segments = true;

  constructor(kernel: UdpKernel, stats: DatagramStats) {
    this.#kernel = kernel;
    this.#stats = stats;
    this.#vector = kernel.createVector(SEND_SLOTS, SEND_SLOT_BYTES, true);
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
    if (!this.#join(packet.length, to)) {
      writeSockaddr(this.#vector.bytes, this.#vector.nameAt(this.#end), to);
      this.#startRun(packet.length, to);
    }
    this.#end++;
    if (this.size >= SEND_BATCH && !this.#blocked) this.flush();
  }

  #startRun(bytes: number, to: Address): void {
    this.#runs[this.#end] = 1;
    this.#vector.setRun(this.#end, 1, bytes);
    this.#openRun = this.#end;
    this.#runBytes = bytes;
    this.#runTo = to;
  }

  /** Can the datagram in the last slot go with those before it? */
  #join(bytes: number, to: Address): boolean {
    const run = this.#openRun;
    if (run < this.#first || this.#runTo === undefined) return false;
    // An empty one would be cut off at the end.
    if (bytes === 0 || bytes > this.#runBytes) return false;
    if (this.#runTo !== to && !sameAddress(this.#runTo, to)) return false;
    const count = (this.#runs[run] as number) + 1;
    if (!this.#segments || count > SEND_BATCH || count * this.#runBytes > RUN_BYTES) return false;
    this.#runs[run] = count;
    this.#vector.setRun(run, count, this.#runBytes);
    // Only the last of a run may be shorter.
    if (bytes < this.#runBytes) this.#openRun = -1;
    return true;
  }

  /** @returns false when the kernel takes no more for now and some are still waiting */
  flush(): boolean {
    this.#blocked = false;
    while (this.#first < this.#end) {
      const sent = this.#kernel.send(this.#vector, this.#first, this.#headersInRow());
      if (sent >= 0) {
        this.#advance(sent);
      } else if (sent === WOULD_BLOCK) {
        this.#blocked = true;
        return false;
      } else if (sent !== INTERRUPTED) {
        this.#onRefused(sent);
      }
    }
    this.#first = 0;
    this.#end = 0;
    this.#openRun = -1;
    return true;
  }

  /** How many headers from the first on stand next to each other: up to one of a run, behind which some are not used. */
  #headersInRow(): number {
    const most = Math.min(this.size, SEND_BATCH);
    for (let i = 0; i < most; i++) if ((this.#runs[this.#first + i] as number) > 1) return i + 1;
    return most;
  }

  #advance(headers: number): void {
    for (let i = 0; i < headers; i++) {
      const count = this.#runs[this.#first] as number;
      this.#stats.sent += count;
      this.#first += count;
    }
  }

  /** It speaks of the first header alone. ENOBUFS is among the reasons: a network that is full loses datagrams. */
  #onRefused(error: number): void {
    const count = this.#runs[this.#first] as number;
    if (count === 1) {
      this.#stats.sendErrors++;
      this.#first++;
      return;
    }
    if (NO_SEGMENTATION.has(error)) this.#segments = false;
    const { bytes } = this.#vector;
    const name = this.#vector.nameAt(this.#first);
    for (let i = this.#first; i < this.#first + count; i++) {
      this.#runs[i] = 1;
      this.#vector.setRun(i, 1, 0);
      bytes.copyWithin(this.#vector.nameAt(i), name, this.#vector.nameAt(this.#first + 1));
    }
    this.#openRun = -1;
  }

  #sendLong(packet: Uint8Array, to: Address): void {
    // What was queued before it goes first.
    const sent = this.flush() ? this.#kernel.sendOne(packet, to) : WOULD_BLOCK;
    if (sent >= 0) this.#stats.sent++;
    else if (sent === WOULD_BLOCK) this.#stats.dropped++;
    else this.#stats.sendErrors++;
  }
}
