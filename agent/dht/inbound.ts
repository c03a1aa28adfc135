import type { Address } from '../base/address.ts';
import { sameAddress } from '../base/address.ts';
import type { BoundedMap } from '../base/bounded.ts';
import type { Millis } from '../base/clock.ts';
import { DecodeError } from '../base/errors.ts';
import {
  type AddressKey,
  addressKey,
  type Family,
  familyOf,
  isLoopback,
  isMartian,
  type ListedNode,
  readCompactNodes,
  sourceKey,
  unmapped,
} from './addresses.ts';
import type { InfoHash } from './infohash.ts';
import { PROTOCOL } from './limits.ts';
import type { OldUpdate, QueryMessage, Reply, WireValue } from './message.ts';
import { openEnvelope, readMessage } from './message-decode.ts';
import type { Node } from './node.ts';
import type { NodeTable } from './node-table.ts';
import { PartAssembler } from './part-assembler.ts';
import type { ReportedAddresses } from './reported-addresses.ts';
import type { PendingRequest } from './request.ts';
import type { Requests } from './requests.ts';
import type { Scheduler } from './scheduler.ts';
import type { Value } from './value.ts';
import { unpackValue } from './value-codec.ts';

/** What the layer above does with what comes in. */
export interface RpcHandlers {
  /** A query, or an update of the old style, with the values that could be read. */
  onQuery(
    message: QueryMessage | OldUpdate,
    values: readonly Value[],
    node: Node,
    from: Address,
    now: Millis,
  ): void;
  /**
   * A message came from `node`, before anything is done about it.
   * @param isReply to a request of ours: the node is good now
   * @param isNews of a reply: it was not good before; of a query: the first message, or the first since the node was
   * taken for gone
   */
  onHeard(node: Node, isReply: boolean, isNews: boolean, now: Millis): void;
  /** `nodes` were in a list that `by` sent. */
  onListed(nodes: readonly Node[], now: Millis): void;
  /** Requests to `node` fail; it is expired now. */
  onNodeExpired(node: Node, now: Millis): void;
}

export interface InboundOptions {
  readonly self: InfoHash;
  readonly network: number;
  readonly scheduler: Scheduler;
  readonly handlers: RpcHandlers;
  readonly nodes: ReadonlyMap<Family, NodeTable>;
  readonly requests: Requests;
  readonly blacklist: BoundedMap<AddressKey, true>;
  readonly reported: Readonly<Record<Family, ReportedAddresses>>;
  /** May this source ask once more now? Counts it if so. */
  readonly admits: (source: AddressKey, now: Millis) => boolean;
}

/** A message whose values come in parts. */
type Announcing =
  | {
      readonly type: 'query';
      readonly message: QueryMessage;
      readonly node: Node;
      readonly from: Address;
    }
  | { readonly type: 'reply'; readonly message: Reply; readonly request: PendingRequest };

/** What comes in: the checks of opendht.md 4.4 in their order, who it is from, and which request it answers. */
export class Inbound {
  readonly #self: InfoHash;
  readonly #network: number;
  readonly #handlers: RpcHandlers;
  readonly #nodes: ReadonlyMap<Family, NodeTable>;
  readonly #requests: Requests;
  readonly #blacklist: BoundedMap<AddressKey, true>;
  readonly #reported: Readonly<Record<Family, ReportedAddresses>>;
  readonly #admits: InboundOptions['admits'];
  readonly #assembler: PartAssembler<Announcing>;
  /** Each datagram received counts once more: as one of the first four, or as one of those that say why it was dropped. */
  readonly counters = {
    received: 0,
    queries: 0,
    replies: 0,
    errors: 0,
    parts: 0,
    /** Not of the protocol. */
    malformed: 0,
    martian: 0,
    blacklisted: 0,
    otherFamily: 0,
    otherNetwork: 0,
    rateLimited: 0,
    /** With our own id as that of the sender. */
    ownId: 0,
    /** Replies, errors and parts that nobody waited for. */
    unasked: 0,
    /** Messages whose parts were all here and made no value. */
    spoiled: 0,
  };

  constructor(options: InboundOptions) {
    this.#self = options.self;
    this.#network = options.network;
    this.#handlers = options.handlers;
    this.#nodes = options.nodes;
    this.#requests = options.requests;
    this.#blacklist = options.blacklist;
    this.#reported = options.reported;
    this.#admits = options.admits;
    this.#assembler = new PartAssembler(options.scheduler, (header, values, now) =>
      this.#onWhole(header, values, now),
    );
  }

  receive(packet: Uint8Array, source: Address, now: Millis): void {
    this.counters.received++;
    const from = unmapped(source);
    if (isMartian(from)) {
      this.counters.martian++;
      return;
    }
    if (this.#blacklist.size > 0 && this.#blacklist.has(addressKey(from))) {
      this.counters.blacklisted++;
      return;
    }
    const nodes = this.#nodes.get(familyOf(from));
    if (nodes === undefined) {
      this.counters.otherFamily++;
      return;
    }
    try {
      this.#read(packet, from, nodes, now);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.counters.malformed++;
    }
  }

  /** @throws {DecodeError} */
  #read(packet: Uint8Array, from: Address, nodes: NodeTable, now: Millis): void {
    const open = openEnvelope(packet);
    if (open.network !== this.#network) {
      this.counters.otherNetwork++;
      return;
    }
    if (open.kind === 'reply' || open.kind === 'error') {
      // Whatever we did not ask for is not even read.
      if (this.#requests.get(open.tid) === undefined) {
        this.counters.unasked++;
        return;
      }
    } else if (open.kind !== 'part' && !this.#admits(sourceKey(from.ip), now)) {
      this.counters.rateLimited++;
      return;
    }

    const message = readMessage(open);
    switch (message.type) {
      case 'part':
        if (this.#assembler.part(message, from, now)) {
          this.counters.parts++;
        } else {
          this.counters.unasked++;
          this.#admits(sourceKey(from.ip), now);
        }
        break;
      case 'error':
        this.#onError(message.tid, message.code, from, now);
        break;
      case 'reply':
        this.#onReply(message, from, nodes, packet.length, now);
        break;
      default:
        this.#onQuery(message, from, nodes, packet.length, now);
    }
  }

  #onQuery(
    message: QueryMessage | OldUpdate,
    from: Address,
    nodes: NodeTable,
    weight: number,
    now: Millis,
  ): void {
    if (message.id.equals(this.#self)) {
      this.counters.ownId++;
      return;
    }
    this.counters.queries++;
    const node = nodes.heard(message.id, from, false, now);
    if (message.client) node.isClient = true;
    this.#handlers.onHeard(node, false, node.heard(now), now);
    const values = message.type === 'put' || message.type === 'update' ? message.values : undefined;
    if (values?.some((value) => typeof value === 'number') && message.type !== 'old-update') {
      const header: Announcing = { type: 'query', message, node, from };
      this.#assembler.start(header, message.tid, values, weight, from, now);
      return;
    }
    this.#handlers.onQuery(message, readable(values), node, from, now);
  }

  #onReply(reply: Reply, from: Address, nodes: NodeTable, weight: number, now: Millis): void {
    const request = this.#requests.get(reply.tid);
    if (request === undefined) return;
    if (reply.id.equals(this.#self)) {
      this.counters.ownId++;
      return;
    }
    const asked = request.node;
    const sameId = asked?.id.equals(reply.id) ?? false;
    if (!sameId && !sameAddress(request.address, from)) {
      this.counters.unasked++;
      return;
    }
    this.counters.replies++;
    this.#requests.measure(request, now);
    this.#reported[familyOf(from)].add(reply.seenIp);
    const node = nodes.heard(reply.id, from, true, now);
    if (reply.client) node.isClient = true;
    const isNews = !node.isGood(now);
    if (node.expired || node.lastReply === Number.NEGATIVE_INFINITY) node.thereSince = now;
    node.heard(now);
    node.lastReply = now;
    // Another id at the address that was asked: the node we knew is gone, a new one has its place.
    if (asked !== undefined && !sameId) this.#requests.expire(asked, now);
    this.#handlers.onHeard(node, true, isNews, now);
    const listed = this.#learn(reply, from, nodes, now);
    const answer = { reply, node, nodes: listed, values: [] };
    if (reply.values?.some((value) => typeof value === 'number')) {
      if (!this.#requests.isPending(request)) return;
      request.isAnswering = true;
      request.handlers.onHeader?.(answer, now);
      const header: Announcing = { type: 'reply', message: reply, request };
      this.#assembler.start(header, reply.tid, reply.values, weight, from, now);
      return;
    }
    this.#requests.finish(request);
    request.handlers.onAnswer?.({ ...answer, values: readable(reply.values) }, now);
  }

  #onError(tid: number, code: number, from: Address, now: Millis): void {
    const request = this.#requests.get(tid);
    if (request === undefined || !sameAddress(request.address, from)) {
      this.counters.unasked++;
      return;
    }
    this.counters.errors++;
    request.node?.heard(now);
    this.#requests.finish(request);
    request.handlers.onError?.(code, now);
  }

  /** All values of a message are here. One that cannot be read spoils the message. */
  #onWhole(header: Announcing, parts: readonly Uint8Array[], now: Millis): void {
    const { message } = header;
    let assembled: Value[];
    try {
      assembled = parts.map((part) => unpackValue(part));
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.counters.spoiled++;
      return;
    }
    const inline = 'values' in message ? readable(message.values) : [];
    const values = [...inline, ...assembled];
    if (header.type === 'query') {
      this.#handlers.onQuery(header.message, values, header.node, header.from, now);
      return;
    }
    const { request } = header;
    if (!this.#requests.isPending(request) || request.node === undefined) return;
    this.#requests.finish(request);
    // The header told of nodes and token already.
    const answer = { reply: header.message, node: request.node, nodes: [], values };
    request.handlers.onAnswer?.(answer, now);
  }

  /** The nodes in the lists of a reply, as known nodes (opendht.md 14). */
  #learn(reply: Reply, from: Address, nodes: NodeTable, now: Millis): Node[] {
    const known: Node[] = [];
    const family = familyOf(from);
    for (const listFamily of [4, 6] as const) {
      const list = listFamily === 4 ? reply.nodes4 : reply.nodes6;
      const table = listFamily === family ? nodes : this.#nodes.get(listFamily);
      if (list === undefined || table === undefined) continue;
      for (const listed of readCompactNodes(list, listFamily)) {
        const address = listFamily === family ? reachable(listed, from) : listed.address;
        if (listed.id.equals(this.#self) || listed.id.isZero || isMartian(address)) continue;
        if (this.#blacklist.has(addressKey(address))) continue;
        known.push(table.listed(listed.id, address, now));
        if (known.length >= 2 * PROTOCOL.searchNodes) break;
      }
    }
    if (known.length > 0) this.#handlers.onListed(known, now);
    return known;
  }

  stats() {
    return {
      ...this.counters,
      assemblies: this.#assembler.size,
      assemblyBytes: this.#assembler.bytes,
      assembliesAbandoned: this.#assembler.abandoned,
      assembliesEvicted: this.#assembler.evicted,
    };
  }
}

/** The values of a message that can be read. An unreadable one costs only itself (opendht.md 5.4). */
function readable(values: readonly WireValue[] | undefined): Value[] {
  const read: Value[] = [];
  for (const value of values ?? []) {
    if (typeof value === 'number') continue;
    try {
      read.push(unpackValue(value));
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }
  return read;
}

/** A loopback address in a list means: on the machine of the sender. */
function reachable({ address }: ListedNode, from: Address): Address {
  return isLoopback(address.ip) ? { ip: from.ip, port: address.port } : address;
}
