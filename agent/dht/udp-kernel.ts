import { constants } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import type { Address } from '../base/address.ts';
import { AgentError } from '../base/errors.ts';
import { type Koffi, koffi, lastErrorName, openLibrary, pointerBytes } from '../base/native.ts';
import { SOCKET_CONSTANTS } from '../base/socket-abi.ts';
import { bindError } from './bind-error.ts';
import { MessageVector } from './message-vector.ts';
import { readSockaddrPort, sockaddrBytes, writeSockaddr } from './sockaddr.ts';

/** errno values that mean "not now" and "again", as the negative results of UdpKernel. */
export const WOULD_BLOCK = -constants.errno.EAGAIN;
export const INTERRUPTED = -constants.errno.EINTR;

/**
 * What sendmmsg says of a run (`MessageVector.setRun`) that this kernel, network card or route does not cut: no checksums in
 * hardware, a piece longer than the route's packets, too much in one.
 */
export const NO_SEGMENTATION: ReadonlySet<number> = new Set(
  [constants.errno.EIO, constants.errno.EINVAL, constants.errno.EMSGSIZE].map((errno) => -errno),
);

/**
 * What `udp-batch.ts` asks of the kernel about one bound socket. Calls that move datagrams return how many, or the
 * negative errno. Tests put a kernel of their own behind it.
 */
export interface UdpKernel {
  readonly port: number;
  /** Memory laid out for `receive`, or for `send` with `runs`. */
  createVector(slots: number, packetBytes: number, runs?: boolean): MessageVector;
  /** recvmmsg(2) into all slots. */
  receive(vector: MessageVector): number;
  /** sendmmsg(2) of the headers of `count` slots from `first` on. */
  send(vector: MessageVector, first: number, count: number): number;
  /** sendto(2) of one datagram that is too long for a slot. */
  sendOne(packet: Uint8Array, to: Address): number;
  /** Be told of datagrams that wait; with `room`, also when the kernel takes more again. */
  watch(room: boolean): void;
  close(): void;
}

/**
 * Opens a socket. `onReady` comes once per turn of the event loop while what is watched for is there. It runs inside libuv:
 * nothing but a `setImmediate` belongs in it (promises settled there would wait for the next event).
 */
export type OpenUdpKernel = (address: Address, onReady: () => void) => UdpKernel;

const {
  AF_INET,
  AF_INET6,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_CLOEXEC,
  SOL_SOCKET,
  SO_RCVBUF,
  SO_SNDBUF,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
} = SOCKET_CONSTANTS;

/**
 * Bytes asked for the kernel's own queues: a value of 60 KB comes as 47 datagrams without a pause (opendht.md 6.2), and
 * several come at a time. Capped in silence at net.core.rmem_max, 208 KiB on a plain Debian.
 */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;

/** A multiple of every page size in use: madvise(2) wants its start aligned. */
const PAGE_ALIGNMENT = 65_536n;

/** <sys/mman.h> */
const MADV_NOHUGEPAGE = 15;

interface Libc {
  readonly socket: (family: number, type: number, protocol: number) => number;
  readonly bind: (fd: number, name: Uint8Array, nameBytes: number) => number;
  readonly getsockname: (fd: number, name: Uint8Array, nameBytes: Uint32Array) => number;
  readonly setsockopt: (
    fd: number,
    level: number,
    option: number,
    value: Int32Array,
    valueBytes: number,
  ) => number;
  readonly recvmmsg: (
    fd: number,
    headers: bigint,
    count: number,
    flags: number,
    timeout: null,
  ) => number;
  readonly sendmmsg: (fd: number, headers: bigint, count: number, flags: number) => number;
  readonly sendto: (
    fd: number,
    packet: Uint8Array,
    packetBytes: number,
    flags: number,
    name: Uint8Array,
    nameBytes: number,
  ) => number;
  readonly madvise: (start: bigint, bytes: number, advice: number) => number;
  readonly close: (fd: number) => number;
}

let libc: Libc | undefined;

function loadLibc(): Libc {
  if (libc !== undefined) return libc;
  const library = openLibrary('libc');
  libc = {
    socket: library.func('int socket(int, int, int)'),
    bind: library.func('int bind(int, const void *, uint)'),
    getsockname: library.func('int getsockname(int, void *, void *)'),
    setsockopt: library.func('int setsockopt(int, int, int, const void *, uint)'),
    recvmmsg: library.func('int recvmmsg(int, void *, uint, int, void *)'),
    sendmmsg: library.func('int sendmmsg(int, void *, uint, int)'),
    sendto: library.func('long sendto(int, const void *, ulong, int, const void *, uint)'),
    madvise: library.func('int madvise(void *, ulong, int)'),
    close: library.func('int close(int)'),
  };
  return libc;
}

/** Little endian and known to socket-abi.ts. */
const ARCHITECTURES: ReadonlySet<string> = new Set(['x64', 'arm64', 'arm', 'riscv64']);

/**
 * @throws {AgentError} `native-unavailable` (then node:dgram serves); `port-in-use`, `bind-denied`, `bind-failed`
 */
export function openUdpKernel(address: Address, onReady: () => void): UdpKernel {
  if (!ARCHITECTURES.has(process.arch)) {
    throw new AgentError('native-unavailable', `batched UDP does not know ${process.arch}`);
  }
  // A worker that ends with a watched descriptor left open takes the process with it (koffi 3.3.4).
  if (!isMainThread) {
    throw new AgentError('native-unavailable', 'batched UDP belongs to the main thread');
  }
  const c = loadLibc();
  const nameBytes = sockaddrBytes(address.ip.length);
  const family = address.ip.length === 4 ? AF_INET : AF_INET6;
  const fd = c.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw bindError(lastErrorName(), address);
  try {
    const set = (level: number, option: number, value: number) =>
      c.setsockopt(fd, level, option, Int32Array.of(value), 4);
    if (family === AF_INET6) set(IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set(SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER_BYTES);
    set(SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER_BYTES);
    const name = new Uint8Array(nameBytes);
    writeSockaddr(name, 0, address);
    if (c.bind(fd, name, nameBytes) < 0) throw bindError(lastErrorName(), address);
    if (c.getsockname(fd, name, Uint32Array.of(nameBytes)) < 0) {
      throw bindError(lastErrorName(), address);
    }
    return new LibcSocket(c, fd, readSockaddrPort(name, 0), nameBytes, onReady);
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

type PollHandle = ReturnType<Koffi['node']['poll']>;

class LibcSocket implements UdpKernel {
  readonly port: number;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #name: Uint8Array;
  readonly #onReady: () => void;
  /** libuv's own watch on the descriptor: no thread waits, and nothing is pending when it is closed. */
  readonly #poll: PollHandle;
  #room = false;

  constructor(c: Libc, fd: number, port: number, nameBytes: number, onReady: () => void) {
    this.port = port;
    this.#libc = c;
    this.#fd = fd;
    this.#name = new Uint8Array(nameBytes);
    this.#onReady = onReady;
    try {
      this.#poll = koffi().node.poll(fd, { readable: true }, this.#onPoll);
    } catch (error) {
      throw new AgentError('native-unavailable', 'koffi cannot watch a socket', undefined, {
        cause: error,
      });
    }
  }

  createVector(slots: number, packetBytes: number, runs = false): MessageVector {
    return new MessageVector({
      runs,
      slots,
      packetBytes,
      nameBytes: this.#name.length,
      pointerBytes: pointerBytes(),
      addressOf: (memory) => {
        const address = koffi().address(memory);
        this.#keepPagesSmall(address, memory.byteLength);
        return address;
      },
    });
  }

  receive(vector: MessageVector): number {
    const headers = vector.headerAddress(0);
    return countOrErrno(this.#libc.recvmmsg(this.#fd, headers, vector.slots, 0, null));
  }

  send(vector: MessageVector, first: number, count: number): number {
    return countOrErrno(this.#libc.sendmmsg(this.#fd, vector.headerAddress(first), count, 0));
  }

  sendOne(packet: Uint8Array, to: Address): number {
    writeSockaddr(this.#name, 0, to);
    const sent = this.#libc.sendto(
      this.#fd,
      packet,
      packet.length,
      0,
      this.#name,
      this.#name.length,
    );
    return sent < 0 ? countOrErrno(sent) : 1;
  }

  watch(room: boolean): void {
    this.#room = room;
    this.#poll.start({ readable: true, writable: room }, this.#onPoll);
  }

  close(): void {
    this.#poll.close();
    this.#libc.close(this.#fd);
  }

  /** Where huge pages are always on, touching the first slot would cost 2 MiB. It is advice: no failure matters. */
  #keepPagesSmall(start: bigint, bytes: number): void {
    const first = (start + PAGE_ALIGNMENT - 1n) & ~(PAGE_ALIGNMENT - 1n);
    const length = bytes - Number(first - start);
    if (length > 0) this.#libc.madvise(first, length, MADV_NOHUGEPAGE);
  }

  // koffi's types leave out the first argument, libuv's status.
  readonly #onPoll = (status: unknown) => {
    // libuv stops watching when the socket holds an error. The next recvmmsg takes it off the socket: go on.
    if (typeof status === 'number' && status < 0) this.watch(this.#room);
    this.#onReady();
  };
}

function countOrErrno(result: number): number {
  return result < 0 ? -koffi().errno() : result;
}
