import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import type { Engine, EngineOutput } from '../base/engine.ts';
import { DecodeError } from '../base/errors.ts';
import { type Family, familyOf, sourceKey } from './addresses.ts';
import { INFOHASH_BYTES, InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import { MsgpackReader, textCode } from './msgpack-reader.ts';
import { MsgpackWriter } from './msgpack-writer.ts';
import { RateLimit } from './rate-limit.ts';

/**
 * Nodes of the local network, found without any of them being configured (opendht.md 19.1).
 *
 *   query        = "q"                                           to the group
 *   announcement = { "dht": [ id: bin20, port, network ], … }    to the group, and to whoever asked
 *
 * Other programs announce other services in the same map; those are stepped over.
 */

const DHT = textCode('dht');

/** Where everybody listens. */
export const DISCOVERY_PORT = 8888;
export const DISCOVERY_GROUP: Readonly<Record<Family, Address>> = {
  4: { ip: Uint8Array.of(239, 192, 0, 1), port: DISCOVERY_PORT },
  6: {
    ip: Uint8Array.of(0xff, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1),
    port: DISCOVERY_PORT,
  },
};

export interface AnnouncedNode {
  readonly id: InfoHash;
  /** Of the DHT; the IP is that of the sender. */
  readonly port: number;
  readonly network: number;
}

export type DiscoveryMessage =
  | { readonly type: 'query' }
  /** `node` is undefined where the service `dht` is not among those announced. */
  | { readonly type: 'announcement'; readonly node: AnnouncedNode | undefined };

export function encodeDiscoveryQuery(): Uint8Array {
  return new MsgpackWriter(2).str('q').finish();
}

export function encodeAnnouncement({ id, port, network }: AnnouncedNode): Uint8Array {
  const out = new MsgpackWriter(48).map(1).str('dht').array(3);
  return out.bin(id.bytes).int(port).int(network).finish();
}

/** @throws {DecodeError} */
export function decodeDiscovery(packet: Uint8Array): DiscoveryMessage {
  const reader = new MsgpackReader(packet);
  if (reader.isStr()) {
    if (reader.str() !== 'q') throw new DecodeError('not the query');
    return { type: 'query' };
  }
  let node: AnnouncedNode | undefined;
  const count = reader.mapHeader();
  for (let i = 0; i < count; i++) {
    if (reader.textCode() === DHT) node = readAnnounced(reader);
    else reader.skip();
  }
  return { type: 'announcement', node };
}

function readAnnounced(reader: MsgpackReader): AnnouncedNode {
  if (reader.arrayHeader() !== 3) throw new DecodeError('not id, port and network');
  const id = new InfoHash(reader.binOf(INFOHASH_BYTES));
  return { id, port: reader.uint(0xffff), network: reader.uint(0xffff_ffff) };
}

/** A node of the same network is there. */
export interface PeerFound {
  readonly id: InfoHash;
  readonly address: Address;
}

export interface PeerDiscoveryOptions {
  readonly id: InfoHash;
  readonly network: number;
  /** The families that there is a socket for, and our DHT port in each. */
  readonly ports: ReadonlyMap<Family, number>;
  /** false: look for others, but do not tell of us. */
  readonly announces: boolean;
}

/**
 * Asks and announces at the start and again, with growing pauses, as long as the DHT is connected to nobody; answers those
 * who ask. The reference does the same, but falls silent after a minute; a station that stays alone asks on.
 */
export class PeerDiscovery implements Engine<PeerFound> {
  readonly #options: PeerDiscoveryOptions;
  readonly #limit = new RateLimit(LIMITS.discoveryPerSource, LIMITS.discoveryTotal);
  #outputs: EngineOutput<PeerFound>[] = [];
  #isConnected = false;
  #next: Millis;
  #pause: Millis = PROTOCOL.discoveryFirstMs;
  #lastRound: Millis = Number.NEGATIVE_INFINITY;
  readonly #counters = {
    rounds: 0,
    queries: 0,
    found: 0,
    /** Not in the format, or from where nobody can be. */
    malformed: 0,
    /** Of another network, or without a DHT node. */
    foreign: 0,
  };

  constructor(options: PeerDiscoveryOptions, now: Millis) {
    this.#options = options;
    this.#next = now;
  }

  /** Asking is for those who know nobody. */
  setConnected(isConnected: boolean, now: Millis): void {
    if (isConnected === this.#isConnected) return;
    this.#isConnected = isConnected;
    // The first round is for all: who is there should know of us.
    if (this.#lastRound === Number.NEGATIVE_INFINITY) return;
    this.#pause = PROTOCOL.discoveryFirstMs;
    this.#next = isConnected
      ? Number.POSITIVE_INFINITY
      : Math.max(now, this.#lastRound + this.#pause);
  }

  receive(packet: Uint8Array, from: Address, now: Millis): void {
    if (packet.length > LIMITS.discoveryBytes || isLinkLocal(from.ip)) {
      this.#counters.malformed++;
      return;
    }
    if (!this.#limit.take(sourceKey(from.ip), now)) return;
    let message: DiscoveryMessage;
    try {
      message = decodeDiscovery(packet);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#counters.malformed++;
      return;
    }
    if (message.type === 'query') this.#answer(from);
    else this.#found(message.node, from);
  }

  #answer(to: Address): void {
    this.#counters.queries++;
    const packet = this.#announcement(familyOf(to));
    if (packet !== undefined) this.#outputs.push({ type: 'send', to, packet });
  }

  #found(node: AnnouncedNode | undefined, from: Address): void {
    const { id, network } = this.#options;
    if (node === undefined || node.network !== network) {
      this.#counters.foreign++;
      return;
    }
    // What goes to the group comes back to us.
    if (node.id.equals(id)) return;
    this.#counters.found++;
    const address = { ip: from.ip, port: node.port };
    this.#outputs.push({ type: 'event', event: { id: node.id, address } });
  }

  timeout(now: Millis): void {
    if (now < this.#next) return;
    this.#lastRound = now;
    this.#next = this.#isConnected ? Number.POSITIVE_INFINITY : now + this.#pause;
    this.#pause = Math.min(this.#pause * 2, PROTOCOL.discoveryMaxMs);
    this.#counters.rounds++;
    for (const family of this.#options.ports.keys()) {
      const to = DISCOVERY_GROUP[family];
      this.#outputs.push({ type: 'send', to, packet: encodeDiscoveryQuery() });
      const packet = this.#announcement(family);
      if (packet !== undefined) this.#outputs.push({ type: 'send', to, packet });
    }
  }

  #announcement(family: Family): Uint8Array | undefined {
    const { id, network, ports, announces } = this.#options;
    const port = ports.get(family);
    return port === undefined || !announces ? undefined : encodeAnnouncement({ id, port, network });
  }

  nextTimeout(): Millis {
    return this.#next;
  }

  poll(): EngineOutput<PeerFound> | undefined {
    return this.#outputs.shift();
  }

  stats() {
    return { ...this.#counters, rateLimited: this.#limit.refused };
  }
}

/** Addresses of one link of IPv6: without the name of the link, which an `Address` has no place for, nobody is reached there. */
function isLinkLocal(ip: Uint8Array): boolean {
  return ip.length === 16 && ip[0] === 0xfe && ((ip[1] ?? 0) & 0xc0) === 0x80;
}
