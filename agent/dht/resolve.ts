import { lookup } from 'node:dns/promises';
import { type Address, type HostPort, parseIp } from '../base/address.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

/** Names of nodes to addresses, by the machine's own resolver. */

/** undefined for a name. */
export function literalAddress({ host, port }: HostPort): Address | undefined {
  const ip = parseIp(host);
  return ip && { ip, port };
}

/** All addresses of a name. One that does not resolve is logged, and has none. */
export async function resolveHost(at: HostPort, log: Logger): Promise<Address[]> {
  const literal = literalAddress(at);
  if (literal !== undefined) return [literal];
  const { host, port } = at;
  try {
    const found = await lookup(host, { all: true });
    return found.flatMap(({ address }) => {
      const ip = parseIp(address);
      return ip === undefined ? [] : [{ ip, port }];
    });
  } catch (error) {
    log.warn('bootstrap name does not resolve', { host, reason: errorText(error) });
    return [];
  }
}
