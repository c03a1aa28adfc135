import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { type Address, formatIp, parseIp, sameAddress } from '../base/address.ts';
import { errorCode } from '../base/errors.ts';
import { bindError } from './bind-error.ts';
import type { DatagramSocket, DatagramSocketOptions, DatagramStats } from './datagram-socket.ts';

/** Addresses remembered, so that a known one is neither parsed nor written again. About 300 bytes each. A power of two. */
const ADDRESSES = 4096;

/** Datagrams that libuv may hold back while the kernel takes none. As many as the batched driver keeps. */
export const PENDING_SENDS = 256;

/** Above every datagram a DHT node writes (parts of 1305 bytes, opendht.md 6.2). Longer ones are copied one by one. */
const SEND_SLOT_BYTES = 2048;

/** Bytes asked for the kernel's queues, as in udp-kernel.ts. */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;

/**
 * UDP by `node:dgram`: the same contract where koffi has no binary or cannot load libc, at about half the speed.
 * @throws {AgentError} `port-in-use`, `bind-denied`, `bind-failed`
 */
export async function openDgramSocket(options: DatagramSocketOptions): Promise<DatagramSocket> {
  const isIpv4 = options.ip.length === 4;
  const socket = createSocket({
    type: isIpv4 ? 'udp4' : 'udp6',
    ipv6Only: !isIpv4,
    // Addresses are always numbers here. Node's own lookup asks the resolver even then, in a pool thread.
    lookup: (hostname, _options, callback) => callback(null, hostname, isIpv4 ? 4 : 6),
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', (error) => {
      socket.close();
      reject(bindError(errorCode(error) ?? 'unknown error', options, error));
    });
    socket.bind({ address: formatIp(options.ip), port: options.port, exclusive: true }, () => {
      socket.removeAllListeners('error');
      resolve();
    });
  });
  return new DgramSocket(options, socket);
}

class DgramSocket implements DatagramSocket {
  readonly backend = 'dgram';
  readonly port: number;
  readonly #options: DatagramSocketOptions;
  readonly #socket: Socket;
  readonly #sources = new AddressTexts();
  readonly #targets = new AddressTexts();
  readonly #copies = new SendCopies();
  readonly #stats: DatagramStats = {
    received: 0,
    sent: 0,
    sendErrors: 0,
    truncated: 0,
    dropped: 0,
  };
  #batchOpen = false;
  #closing: Promise<void> | undefined;

  constructor(options: DatagramSocketOptions, socket: Socket) {
    this.#options = options;
    this.#socket = socket;
    this.port = socket.address().port;
    socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
    socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
    socket.on('message', this.#onMessage);
    // A failed read (out of memory, say) is the loss of a datagram; libuv goes on reading.
    socket.on('error', () => {});
  }

  send(packet: Uint8Array, to: Address): void {
    if (this.#closing !== undefined || this.#socket.getSendQueueCount() >= PENDING_SENDS) {
      this.#stats.dropped++;
      return;
    }
    if (to.ip.length !== this.#options.ip.length || to.port < 1 || to.port > 65535) {
      this.#stats.sendErrors++;
      return;
    }
    const text = this.#targets.textOf(to);
    // A copy: libuv may send later, and the caller may use its buffer again.
    this.#socket.send(this.#copies.of(packet), to.port, text, this.#onSent);
  }

  /** node:dgram hands each datagram to the kernel by itself. */
  flush(): void {}

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => this.#socket.close(resolve));
    return this.#closing;
  }

  stats(): DatagramStats {
    return { ...this.#stats };
  }

  readonly #onSent = (error: Error | null): void => {
    if (error === null) this.#stats.sent++;
    else this.#stats.sendErrors++;
  };

  readonly #onMessage = (packet: Uint8Array, info: RemoteInfo): void => {
    if (this.#closing !== undefined) return;
    const from = this.#sources.addressOf(info.address, info.port);
    if (from === undefined) return;
    this.#stats.received++;
    if (!this.#batchOpen) {
      // libuv reads up to 32 datagrams before it lets immediates run: that is the batch.
      this.#batchOpen = true;
      setImmediate(this.#endBatch);
    }
    this.#options.onDatagram(packet, from);
  };

  readonly #endBatch = (): void => {
    this.#batchOpen = false;
    if (this.#closing === undefined) this.#options.onBatchEnd();
  };
}

/**
 * Addresses with their text, which `node:dgram` speaks. Direct-mapped: a newcomer takes the place of whoever hashed to the
 * same slot, so it is bounded by construction.
 */
class AddressTexts {
  readonly #slots: ({ readonly address: Address; readonly text: string } | undefined)[] = new Array(
    ADDRESSES,
  ).fill(undefined);

  /** @returns undefined for what is no address */
  addressOf(text: string, port: number): Address | undefined {
    let hash = port;
    for (let i = text.length - 8; i < text.length; i++)
      hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    const slot = (hash ^ (hash >>> 16)) & (ADDRESSES - 1);
    const known = this.#slots[slot];
    if (known !== undefined && known.address.port === port && known.text === text)
      return known.address;
    // The zone of a link-local address ("%eth0") is not part of an Address.
    const ip = parseIp(text.replace(/%.*$/, ''));
    if (ip === undefined) return undefined;
    const address = { ip, port };
    this.#slots[slot] = { address, text };
    return address;
  }

  textOf(address: Address): string {
    const { ip, port } = address;
    let hash = port;
    for (let i = 0; i < ip.length; i++) hash = Math.imul(hash ^ (ip[i] as number), 0x01000193);
    const slot = (hash ^ (hash >>> 16)) & (ADDRESSES - 1);
    const known = this.#slots[slot];
    if (known !== undefined && sameAddress(known.address, address)) return known.text;
    const text = formatIp(ip);
    this.#slots[slot] = { address, text };
    return text;
  }
}

/**
 * Copies of datagrams that libuv may still hold. It sends in order and holds at most PENDING_SENDS, so a slot is free
 * again by the time its turn comes round.
 */
class SendCopies {
  readonly #memory = new Uint8Array((PENDING_SENDS + 1) * SEND_SLOT_BYTES);
  /** The last view of each slot: datagrams of one kind have one length. */
  readonly #views: (Uint8Array | undefined)[] = [];
  #next = 0;

  of(packet: Uint8Array): Uint8Array {
    if (packet.length > SEND_SLOT_BYTES) return packet.slice();
    const slot = this.#next;
    this.#next = slot === PENDING_SENDS ? 0 : slot + 1;
    const at = slot * SEND_SLOT_BYTES;
    let view = this.#views[slot];
    if (view === undefined || view.length !== packet.length) {
      view = this.#memory.subarray(at, at + packet.length);
      this.#views[slot] = view;
    }
    view.set(packet);
    return view;
  }
}
