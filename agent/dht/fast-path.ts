import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import { addressKey, type Family, familyOf, sourceKey } from './addresses.ts';
import { INFOHASH_BYTES, type InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Node } from './node.ts';
import { QueryScan } from './query-scan.ts';
import { ReplyWriter } from './reply-writer.ts';
import type { RoutingTable } from './routing-table.ts';
import type { Rpc } from './rpc.ts';
import type { Server } from './server.ts';
import type { Storage } from './storage.ts';
import type { TokenMint } from './token.ts';

export interface FastPathOptions {
  readonly self: InfoHash;
  readonly network: number;
  readonly client: boolean;
  readonly rpc: Rpc;
  readonly tables: ReadonlyMap<Family, RoutingTable>;
  readonly storage: Storage;
  readonly server: Server;
}

/** A reply, in place until the next datagram is fed. */
export interface FastReply {
  readonly type: 'send';
  to: Address;
  packet: Uint8Array;
}

/**
 * The short way for what a node does nearly all day: a node that we know and hear all the time asks with a ping, a find, or
 * a get for a key with nothing under it. Everything is read and written in place, so an answer makes no object.
 *
 * It decides nothing of its own. Whatever is not plain in every respect goes the long way (`Rpc`, `Server`), whose answer
 * to the same query has the same bytes; `test/dht/fast-path.test.ts` compares them.
 */
export class FastPath {
  readonly #rpc: Rpc;
  readonly #tables: ReadonlyMap<Family, RoutingTable>;
  readonly #storage: Storage;
  readonly #tokens: TokenMint;
  readonly #counters: Server['counters'];
  /** Messages of a client and in another network have an entry more, which neither scan nor writer knows. */
  readonly #isPlain: boolean;
  readonly #scan = new QueryScan();
  readonly #writers: Readonly<Record<Family, ReplyWriter>>;
  readonly #closest: Node[] = [];
  /** Queries that went the short way. */
  answered = 0;
  readonly #reply: FastReply = {
    type: 'send',
    to: { ip: new Uint8Array(4), port: 0 },
    packet: new Uint8Array(0),
  };

  constructor({ self, network, client, rpc, tables, storage, server }: FastPathOptions) {
    this.#rpc = rpc;
    this.#isPlain = network === 0 && !client;
    this.#tables = tables;
    this.#storage = storage;
    this.#tokens = server.tokens;
    this.#counters = server.counters;
    this.#writers = { 4: new ReplyWriter(self, network, 4), 6: new ReplyWriter(self, network, 16) };
  }

  /**
   * @returns the answer; `null` when there is none because the asker asks too often; undefined when the query has to go
   * the long way
   */
  answer(packet: Uint8Array, from: Address, now: Millis): FastReply | null | undefined {
    const scan = this.#scan;
    if (!this.#isPlain || !scan.read(packet)) return undefined;
    const family = familyOf(from);
    const node = this.#rpc.nodes(family)?.at(addressKey(from));
    if (node === undefined || !isPlainAsker(node, packet, scan.idAt, now)) return undefined;
    if (scan.method === 'get' && this.#storage.mayHave(packet, scan.targetAt)) return undefined;

    this.#rpc.inbound.counters.received++;
    if (!this.#rpc.admits(sourceKey(from.ip), now)) {
      this.#rpc.inbound.counters.rateLimited++;
      return null;
    }
    this.#rpc.inbound.counters.queries++;
    node.lastHeard = now;
    const writer = this.#writers[family];
    writer.begin(from.ip);
    if (scan.method === 'ping') this.#counters.pings++;
    else {
      if (scan.method === 'find') this.#counters.finds++;
      else this.#counters.gets++;
      const count =
        this.#tables
          .get(family)
          ?.collectGood(this.#closest, packet, scan.targetAt, PROTOCOL.targetNodes, now) ?? 0;
      writer.nodes(this.#closest, count);
      writer.token(this.#tokens.mintFor(node, now));
    }
    this.answered++;
    this.#rpc.sent++;
    this.#reply.to = from;
    this.#reply.packet = writer.finish(scan.tid);
    return this.#reply;
  }
}

/**
 * A node that has its place at this address and is there: it passed the checks of addresses (opendht.md 4.4), and hearing
 * it again is no news. One without a place in the table is offered to it from time to time, on the long way.
 */
function isPlainAsker(node: Node, packet: Uint8Array, idAt: number, now: Millis): boolean {
  if (node.expired) return false;
  if (!node.inTable && !node.isClient && node.lastHeard < now - LIMITS.offerPauseMs) return false;
  const { bytes } = node.id;
  for (let i = 0; i < INFOHASH_BYTES; i++) if (bytes[i] !== packet[idAt + i]) return false;
  return true;
}
