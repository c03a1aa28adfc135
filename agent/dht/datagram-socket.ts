import type { Address } from '../base/address.ts';
import { AgentError } from '../base/errors.ts';

/** A bound UDP socket of one address family. Nothing in here throws after it was opened. */
export interface DatagramSocket {
  readonly backend: 'batch' | 'dgram';
  /** The port it is bound to, also when 0 was asked for. */
  readonly port: number;
  /**
   * Queue one datagram. `packet` is copied or handed to the kernel before this returns. It leaves at `flush`, when the
   * batch is full, after `onBatchEnd`, and at the latest when the event loop comes round.
   */
  send(packet: Uint8Array, to: Address): void;
  /** Send what is queued now. */
  flush(): void;
  /** Send what the kernel takes at once and close. No callback runs any more after the call. Idempotent. */
  close(): Promise<void>;
  stats(): DatagramStats;
}

/** Counters since the socket was opened. */
export interface DatagramStats {
  /** Datagrams handed to `onDatagram`. */
  received: number;
  /** Datagrams that the kernel took. */
  sent: number;
  /** Datagrams that the kernel refused (unreachable, too long, wrong family, a firewall). */
  sendErrors: number;
  /** Datagrams longer than the buffer: never handed on. 0 as long as the buffers hold what UDP can carry. */
  truncated: number;
  /** Datagrams to send that found the bounded queue full, or the socket closed. */
  dropped: number;
}

/**
 * @param packet a view that is valid only during the call
 * @param from   may be kept, never changed: the same object comes again for the same source
 */
export type OnDatagram = (packet: Uint8Array, from: Address) => void;

/** Some datagrams were delivered and no more are at hand: the moment to drain the engine. */
export type OnBatchEnd = () => void;

export interface DatagramSocketOptions {
  /** 4 or 16 bytes; decides the family. An IPv6 socket carries IPv6 only. */
  readonly ip: Uint8Array;
  /** 0: any free port */
  readonly port: number;
  readonly onDatagram: OnDatagram;
  readonly onBatchEnd: OnBatchEnd;
}

/**
 * Bind a UDP socket: 64 datagrams per system call where koffi reaches libc, else `node:dgram`, behind one contract
 * (`test/interop/host-datagram.test.ts` runs it against both).
 * @throws {AgentError} `port-in-use`, `bind-denied`; `bind-failed` for any other reason the kernel gives
 */
export async function openDatagramSocket(options: DatagramSocketOptions): Promise<DatagramSocket> {
  const { openBatchSocket } = await import('./udp-batch.ts');
  try {
    return openBatchSocket(options);
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'native-unavailable') throw error;
  }
  const { openDgramSocket } = await import('./udp-dgram.ts');
  return openDgramSocket(options);
}
