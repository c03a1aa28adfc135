import type { Address } from '../base/address.ts';
import { SOCKADDR_IN, SOCKADDR_IN6, SOCKET_CONSTANTS } from '../base/socket-abi.ts';

const { AF_INET, AF_INET6 } = SOCKET_CONSTANTS;

/** Length in bytes of the sockaddr of a family, told by the length of its IP. */
export function sockaddrBytes(ipBytes: number): number {
  return ipBytes === 4 ? SOCKADDR_IN.size : SOCKADDR_IN6.size;
}

/** Write the struct sockaddr of `address` at `at`. The family is in host order: little endian here. */
export function writeSockaddr(bytes: Uint8Array, at: number, address: Address): void {
  const { ip, port } = address;
  bytes[at] = ip.length === 4 ? AF_INET : AF_INET6;
  bytes[at + 1] = 0;
  bytes[at + SOCKADDR_IN.sin_port] = port >>> 8;
  bytes[at + SOCKADDR_IN.sin_port + 1] = port;
  bytes.set(ip, at + ipOffset(ip.length));
}

/** The port of the struct sockaddr at `at`. Same place in both families. */
export function readSockaddrPort(bytes: Uint8Array, at: number): number {
  const port = at + SOCKADDR_IN.sin_port;
  return ((bytes[port] ?? 0) << 8) | (bytes[port + 1] ?? 0);
}

/** @returns undefined when `bytes` are no IPv4 or IPv6 address */
export function readSockaddr(bytes: Uint8Array): Address | undefined {
  const ipBytes = bytes[0] === AF_INET ? 4 : bytes[0] === AF_INET6 ? 16 : undefined;
  if (ipBytes === undefined || bytes[1] !== 0 || bytes.length < sockaddrBytes(ipBytes))
    return undefined;
  const at = ipOffset(ipBytes);
  return { ip: bytes.slice(at, at + ipBytes), port: readSockaddrPort(bytes, 0) };
}

function ipOffset(ipBytes: number): number {
  return ipBytes === 4 ? SOCKADDR_IN.sin_addr : SOCKADDR_IN6.sin6_addr;
}

/**
 * Sources remembered per socket: a DHT node hears the same few hundred neighbours again and again. About 200 bytes each.
 * Must be a power of two.
 */
export const ADDRESS_CACHE_SIZE = 4096;

/**
 * Address objects by their sockaddr, so that a known source costs no allocation. Direct-mapped: a newcomer takes the
 * place of whoever hashed to the same slot, so it is bounded by construction and a hostile flood only costs misses.
 */
export class AddressCache {
  readonly #slots: (Address | undefined)[] = new Array(ADDRESS_CACHE_SIZE).fill(undefined);
  readonly #ipBytes: number;

  constructor(ipBytes: number) {
    this.#ipBytes = ipBytes;
  }

  /** The address in the struct sockaddr at `at`. */
  read(bytes: Uint8Array, at: number): Address {
    const port = readSockaddrPort(bytes, at);
    const first = at + ipOffset(this.#ipBytes);
    let hash = port;
    for (let i = 0; i < this.#ipBytes; i++) {
      hash = Math.imul(hash ^ (bytes[first + i] ?? 0), 0x01000193);
    }
    const slot = (hash ^ (hash >>> 16)) & (ADDRESS_CACHE_SIZE - 1);
    const known = this.#slots[slot];
    if (known !== undefined && known.port === port && this.#isIpAt(known.ip, bytes, first)) {
      return known;
    }
    const address = { ip: bytes.slice(first, first + this.#ipBytes), port };
    this.#slots[slot] = address;
    return address;
  }

  #isIpAt(ip: Uint8Array, bytes: Uint8Array, first: number): boolean {
    for (let i = 0; i < ip.length; i++) if (ip[i] !== bytes[first + i]) return false;
    return true;
  }
}
