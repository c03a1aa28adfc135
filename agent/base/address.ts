import { isIPv4, isIPv6 } from 'node:net';
import { AgentError } from './errors.ts';

/** A UDP address. `ip` is 4 or 16 bytes in network order, so that cores compare and pack it without parsing text. */
export interface Address {
  readonly ip: Uint8Array;
  readonly port: number;
}

export function isIpv4Address(address: Address): boolean {
  return address.ip.length === 4;
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.port === b.port && sameIp(a.ip, b.ip);
}

export function sameIp(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** `192.0.2.1`, or RFC 5952 text without zero compression for IPv6. */
export function formatIp(ip: Uint8Array): string {
  if (ip.length === 4) return ip.join('.');
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) {
    groups.push((((ip[i] ?? 0) << 8) | (ip[i + 1] ?? 0)).toString(16));
  }
  return groups.join(':');
}

/** `192.0.2.1:4222` or `[2001:db8:0:0:0:0:0:1]:4222`. */
export function formatAddress(address: Address): string {
  const text = formatIp(address.ip);
  return isIpv4Address(address) ? `${text}:${address.port}` : `[${text}]:${address.port}`;
}

/** @returns 4 or 16 bytes, or undefined when `text` is not an IP address. Zone ids are refused. */
export function parseIp(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const ip = new Uint8Array(16);
  let body = text;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted !== null) {
    const [a, b, c, d] = (dotted[2] ?? '').split('.').map(Number) as [
      number,
      number,
      number,
      number,
    ];
    body = `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = '', tail] = body.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const write = (groups: string[], first: number) => {
    groups.forEach((group, i) => {
      const n = Number.parseInt(group, 16);
      ip[2 * (first + i)] = n >> 8;
      ip[2 * (first + i) + 1] = n & 255;
    });
  };
  write(left, 0);
  write(right, 8 - right.length);
  return ip;
}

/** The two parts of `host:port`, `[v6]:port` or a bare host. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/**
 * Split `host:port`, `[v6]:port`, or a host alone.
 * @throws {AgentError} `bad-address` when the port is not 1..65535 or the host is empty
 */
export function parseHostPort(text: string, defaultPort: number): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port < 1 || port > 65535) {
    throw new AgentError('bad-address', `"${text}" is not host:port`, 'write it as 192.0.2.1:4222');
  }
  return { host, port };
}
