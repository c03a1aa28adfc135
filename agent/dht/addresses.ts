import type { Address } from '../base/address.ts';
import { INFOHASH_BYTES, InfoHash } from './infohash.ts';

/** What the DHT asks of addresses: families, map keys, which ones are impossible, compact node lists. */

/** IPv4 and IPv6 are two separate DHTs. */
export type Family = 4 | 6;

export const familyOf = (address: Address): Family => (address.ip.length === 4 ? 4 : 6);

/** For maps: a number for IPv4, text for IPv6. */
export type AddressKey = number | string;

/** Address and port. */
export function addressKey({ ip, port }: Address): AddressKey {
  if (ip.length === 4) return ip4Number(ip) * 0x1_0000 + port;
  return `${String.fromCharCode.apply(null, ip as unknown as number[])}${port}`;
}

/** Who answers for a datagram: an IPv4 address, or the /64 of an IPv6 one, which one line has to itself. */
export function sourceKey(ip: Uint8Array): AddressKey {
  if (ip.length === 4) return ip4Number(ip);
  return String.fromCharCode.apply(null, ip.subarray(0, 8) as unknown as number[]);
}

/** An IP that has this source key: the one address, or the /64 with a zero host. */
export function sourceIp(source: AddressKey): Uint8Array {
  if (typeof source === 'number')
    return Uint8Array.of(source >>> 24, source >>> 16, source >>> 8, source);
  const ip = new Uint8Array(16);
  for (let i = 0; i < source.length; i++) ip[i] = source.charCodeAt(i);
  return ip;
}

function ip4Number(ip: Uint8Array): number {
  return (
    (ip[0] as number) * 0x100_0000 +
    (((ip[1] as number) << 16) | ((ip[2] as number) << 8) | (ip[3] as number))
  );
}

const V4_MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

function isV4Mapped(ip: Uint8Array): boolean {
  return ip.length === 16 && V4_MAPPED.every((byte, i) => ip[i] === byte);
}

/** An IPv4-mapped IPv6 address as the IPv4 address it is; any other as it came. */
export function unmapped(address: Address): Address {
  if (!isV4Mapped(address.ip)) return address;
  return { ip: address.ip.slice(12), port: address.port };
}

/** Addresses that nobody can have (opendht.md 18.3). Loopback is allowed. */
export function isMartian({ ip, port }: Address): boolean {
  if (port === 0) return true;
  const first = ip[0] as number;
  if (ip.length === 4) return first === 0 || first >= 224;
  return first === 0xff || isV4Mapped(ip) || (first === 0 && ip.every((byte) => byte === 0));
}

export function isLoopback(ip: Uint8Array): boolean {
  if (ip.length === 4) return ip[0] === 127;
  return ip.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

/** A node as lists have it: id(20) ip(4 | 16) port(2, big endian). */
export function compactNode(id: InfoHash, { ip, port }: Address): Uint8Array {
  const bytes = new Uint8Array(INFOHASH_BYTES + ip.length + 2);
  bytes.set(id.bytes);
  bytes.set(ip, INFOHASH_BYTES);
  bytes[bytes.length - 2] = port >> 8;
  bytes[bytes.length - 1] = port;
  return bytes;
}

export interface ListedNode {
  readonly id: InfoHash;
  readonly address: Address;
}

/** @returns nothing when the length fits no list of that family */
export function readCompactNodes(list: Uint8Array, family: Family): ListedNode[] {
  const ipBytes = family === 4 ? 4 : 16;
  const size = INFOHASH_BYTES + ipBytes + 2;
  if (list.length % size !== 0) return [];
  const nodes: ListedNode[] = [];
  for (let at = 0; at < list.length; at += size) {
    const id = new InfoHash(list.slice(at, at + INFOHASH_BYTES));
    const ip = list.slice(at + INFOHASH_BYTES, at + INFOHASH_BYTES + ipBytes);
    const port = ((list[at + size - 2] as number) << 8) | (list[at + size - 1] as number);
    nodes.push({ id, address: { ip, port } });
  }
  return nodes;
}
