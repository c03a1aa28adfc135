import { type Address, sameIp } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import { addressKey, sourceKey } from '../../agent/dht/addresses.ts';

/**
 * The four kinds of RFC 3489 §5. In the words of RFC 4787 (§4.1 mapping, §5 filtering):
 *
 *   full cone         endpoint-independent mapping, endpoint-independent filtering
 *   restricted cone   endpoint-independent mapping, address-dependent filtering
 *   port restricted   endpoint-independent mapping, address and port-dependent filtering
 *   symmetric         address and port-dependent mapping and filtering
 */
export type NatType = 'full cone' | 'restricted cone' | 'port restricted' | 'symmetric';

export const NAT_TYPES: readonly NatType[] = [
  'full cone',
  'restricted cone',
  'port restricted',
  'symmetric',
];

export interface NatOptions {
  readonly type: NatType;
  /** A mapping, and the leave to come in, end that long after the last datagram went out. RFC 4787 REQ-5 asks for 120 s; many boxes have 30. */
  readonly idleMs?: Millis;
  /** Do two machines behind it reach each other by its outer address (RFC 4787 REQ-9)? Many boxes do not do it. */
  readonly hairpin?: boolean;
}

interface Mapping {
  readonly inside: Address;
  readonly port: number;
  lastOut: Millis;
  /** When something last went out to each remote address, or address and port. */
  readonly remotes: Map<number | string, Millis>;
}

/**
 * A box between a private network and the others. Only what goes out keeps a mapping open (RFC 4787 REQ-6: the harder of
 * the two kinds). Ports are given out in order, none twice: nobody can count on one being kept or guess the next user's.
 */
export class Nat {
  readonly ip: Uint8Array;
  readonly type: NatType;
  readonly hairpin: boolean;
  readonly #idleMs: Millis;
  readonly #byInside = new Map<string, Mapping>();
  readonly #byPort = new Map<number, Mapping>();
  #lastPort = 20_000;

  /** @param ip its one address outside */
  constructor(ip: Uint8Array, { type, idleMs = 120_000, hairpin = false }: NatOptions) {
    this.ip = ip;
    this.type = type;
    this.hairpin = hairpin;
    this.#idleMs = idleMs;
  }

  /** A datagram leaves. @returns the source that the world sees */
  outbound(from: Address, to: Address, now: Millis): Address {
    const key = this.#mappingKey(from, to);
    let mapping = this.#byInside.get(key);
    if (mapping === undefined || !this.#isOpen(mapping.lastOut, now)) {
      if (mapping !== undefined) this.#byPort.delete(mapping.port);
      mapping = { inside: from, port: ++this.#lastPort, lastOut: now, remotes: new Map() };
      this.#byInside.set(key, mapping);
      this.#byPort.set(mapping.port, mapping);
    }
    mapping.lastOut = now;
    mapping.remotes.set(this.#remoteKey(to), now);
    return { ip: this.ip, port: mapping.port };
  }

  /** A datagram arrives for `port`. @returns where inside it goes; undefined: dropped */
  inbound(from: Address, port: number, now: Millis): Address | undefined {
    const mapping = this.#byPort.get(port);
    if (mapping === undefined || !this.#isOpen(mapping.lastOut, now)) return undefined;
    if (sameIp(from.ip, this.ip) && !this.hairpin) return undefined;
    if (this.type !== 'full cone') {
      const lastOut = mapping.remotes.get(this.#remoteKey(from));
      if (lastOut === undefined || !this.#isOpen(lastOut, now)) return undefined;
    }
    return mapping.inside;
  }

  #isOpen(lastOut: Millis, now: Millis): boolean {
    return now - lastOut <= this.#idleMs;
  }

  #mappingKey(from: Address, to: Address): string {
    return this.type === 'symmetric'
      ? `${addressKey(from)} ${addressKey(to)}`
      : `${addressKey(from)}`;
  }

  #remoteKey(remote: Address): number | string {
    return this.type === 'restricted cone' ? sourceKey(remote.ip) : addressKey(remote);
  }
}
