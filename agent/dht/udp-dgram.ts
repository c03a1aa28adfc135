import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { type Address, formatIp, parseIp } from '../base/address.ts';
import { BoundedMap } from '../base/bounded.ts';
import { errorCode } from '../base/errors.ts';
import { bindError } from './bind-error.ts';
import type { DatagramSocket, DatagramSocketOptions, DatagramStats } from './datagram-socket.ts';

/** Sources remembered, so that a known one costs no parsing. About 300 bytes each. */
const SOURCES = 1024;

/** Datagrams that libuv may hold back while the kernel takes none. As many as the batched driver keeps. */
export const PENDING_SENDS = 256;

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
  readonly #sources = new BoundedMap<string, Address>(SOURCES);
  readonly #stats: DatagramStats = {
    received: 0,
    sent: 0,
    sendErrors: 0,
    truncated: 0,
    dropped: 0,
  };
  #pendingSends = 0;
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
    if (this.#closing !== undefined || this.#pendingSends >= PENDING_SENDS) {
      this.#stats.dropped++;
      return;
    }
    if (to.ip.length !== this.#options.ip.length || to.port < 1 || to.port > 65535) {
      this.#stats.sendErrors++;
      return;
    }
    this.#pendingSends++;
    // A copy: libuv may send later, and the caller may use its buffer again.
    this.#socket.send(packet.slice(), to.port, formatIp(to.ip), this.#onSent);
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
    this.#pendingSends--;
    if (error === null) this.#stats.sent++;
    else this.#stats.sendErrors++;
  };

  readonly #onMessage = (packet: Uint8Array, info: RemoteInfo): void => {
    if (this.#closing !== undefined) return;
    const from = this.#source(info);
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

  #source(info: RemoteInfo): Address | undefined {
    const key = `${info.address} ${info.port}`;
    const known = this.#sources.get(key);
    if (known !== undefined) return known;
    // The zone of a link-local address ("%eth0") is not part of an Address.
    const ip = parseIp(info.address.replace(/%.*$/, ''));
    if (ip === undefined) return undefined;
    const address = { ip, port: info.port };
    this.#sources.set(key, address);
    return address;
  }
}
