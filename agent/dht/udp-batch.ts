import type { Address } from '../base/address.ts';
import type { DatagramSocket, DatagramSocketOptions, DatagramStats } from './datagram-socket.ts';
import type { MessageVector } from './message-vector.ts';
import { SendQueue } from './send-queue.ts';
import { AddressCache } from './sockaddr.ts';
import { type OpenUdpKernel, openUdpKernel, type UdpKernel } from './udp-kernel.ts';

/** Datagrams per recvmmsg: where the measured gain per datagram flattens out. */
export const RECEIVE_BATCH = 64;

/**
 * Room for one datagram: all that UDP can carry, so nothing is ever cut. 4 MiB of addresses; memory is taken only for what
 * arrives, and the first slots are filled first: a page or two in a quiet node, all of it under a flood of giants.
 */
export const RECEIVE_SLOT_BYTES = 65_536;

/**
 * Batches read before the event loop gets its turn: 256 datagrams are about 1 ms of work, and an audio frame is due
 * every 20 ms.
 */
export const BATCHES_PER_TURN = 4;

/** What the driver needs of the world; tests bring their own. */
export interface BatchSocketWorld {
  readonly openKernel: OpenUdpKernel;
  /** Run `callback` when the event loop comes round. */
  readonly defer: (callback: () => void) => void;
}

const SYSTEM: BatchSocketWorld = { openKernel: openUdpKernel, defer: setImmediate };

/**
 * UDP with 64 datagrams per system call (recvmmsg, sendmmsg).
 * @throws {AgentError} `native-unavailable` without koffi; `port-in-use`, `bind-denied`, `bind-failed`
 */
export function openBatchSocket(
  options: DatagramSocketOptions,
  world: BatchSocketWorld = SYSTEM,
): DatagramSocket {
  return new BatchSocket(options, world);
}

class BatchSocket implements DatagramSocket {
  readonly backend = 'batch';
  readonly #options: DatagramSocketOptions;
  readonly #defer: BatchSocketWorld['defer'];
  readonly #kernel: UdpKernel;
  readonly #received: MessageVector;
  readonly #sources: AddressCache;
  readonly #queue: SendQueue;
  readonly #stats: DatagramStats = {
    received: 0,
    sent: 0,
    sendErrors: 0,
    truncated: 0,
    dropped: 0,
  };
  #turnDue = false;
  #waitsForRoom = false;
  #closed = false;

  constructor(options: DatagramSocketOptions, world: BatchSocketWorld) {
    this.#options = options;
    this.#defer = world.defer;
    this.#kernel = world.openKernel(options, this.#scheduleTurn);
    this.#received = this.#kernel.createVector(RECEIVE_BATCH, RECEIVE_SLOT_BYTES);
    this.#sources = new AddressCache(options.ip.length);
    this.#queue = new SendQueue(this.#kernel, this.#stats);
  }

  get port(): number {
    return this.#kernel.port;
  }

  send(packet: Uint8Array, to: Address): void {
    if (this.#closed) {
      this.#stats.dropped++;
    } else if (to.ip.length !== this.#options.ip.length) {
      this.#stats.sendErrors++;
    } else {
      this.#queue.push(packet, to);
      if (this.#queue.size > 0) this.#scheduleTurn();
    }
  }

  flush(): void {
    if (this.#closed) return;
    const waitsForRoom = !this.#queue.flush();
    if (waitsForRoom === this.#waitsForRoom) return;
    this.#waitsForRoom = waitsForRoom;
    this.#kernel.watch(waitsForRoom);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#queue.flush();
    this.#closed = true;
    this.#kernel.close();
  }

  stats(): DatagramStats {
    return { ...this.#stats };
  }

  readonly #scheduleTurn = (): void => {
    if (this.#turnDue || this.#closed) return;
    this.#turnDue = true;
    this.#defer(this.#turn);
  };

  // Whatever is left after it, the kernel's watch reports again: it is told by level, not by edge.
  readonly #turn = (): void => {
    this.#turnDue = false;
    for (let batch = 0; batch < BATCHES_PER_TURN && !this.#closed; batch++) {
      const count = this.#kernel.receive(this.#received);
      if (count <= 0) break;
      this.#deliver(count);
      if (this.#closed) return;
      this.#options.onBatchEnd();
      this.flush();
      if (count < RECEIVE_BATCH) return;
    }
    this.flush();
  };

  #deliver(count: number): void {
    const vector = this.#received;
    for (let i = 0; i < count && !this.#closed; i++) {
      if (vector.isTruncated(i)) {
        this.#stats.truncated++;
        continue;
      }
      this.#stats.received++;
      this.#options.onDatagram(
        vector.packet(i),
        this.#sources.read(vector.bytes, vector.nameAt(i)),
      );
    }
  }
}
