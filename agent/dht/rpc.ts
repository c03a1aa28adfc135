import type { Address } from '../base/address.ts';
import { sameAddress } from '../base/address.ts';
import { BoundedMap } from '../base/bounded.ts';
import type { Millis } from '../base/clock.ts';
import type { EngineOutput } from '../base/engine.ts';
import { DecodeError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
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
import { LIMITS, PROTOCOL, VERSION_NAME } from './limits.ts';
import type { Envelope, Message, OldUpdate, QueryMessage, Reply, WireValue } from './message.ts';
import { openEnvelope, readMessage } from './message-decode.ts';
import { encodeMessage } from './message-encode.ts';
import type { Node } from './node.ts';
import { NodeTable } from './node-table.ts';
import { PartAssembler } from './part-assembler.ts';
import { fitInline, PartSender } from './part-sender.ts';
import { RateLimit } from './rate-limit.ts';
import { ReportedAddresses } from './reported-addresses.ts';
import type { PendingRequest, RequestHandlers } from './request.ts';
import { Requests } from './requests.ts';
import type { Scheduler } from './scheduler.ts';
import type { Value } from './value.ts';
import { unpackValue } from './value-codec.ts';

/** A message without what `Rpc` adds: envelope and own id. */
type Unsent<M> = M extends Message ? Omit<M, keyof Envelope | 'id' | 'values'> : never;
export type OutgoingQuery = Unsent<QueryMessage>;

/** What a reply says beside the sender's id and the asker's address. */
export type ReplyContent = Pick<Reply, 'valueId' | 'nodes4' | 'nodes6' | 'token' | 'fields'>;

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

export interface RpcOptions {
  readonly self: InfoHash;
  readonly network: number;
  /** Say in each message that nobody shall keep us. */
  readonly client: boolean;
  readonly families: readonly Family[];
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly handlers: RpcHandlers;
  /** Default true: so many queries a second and no more (opendht.md 18.1). */
  readonly rateLimit?: boolean;
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

/**
 * Messages in and out: checks of opendht.md 4.4, known nodes, requests with their repetition, values in parts. It knows
 * no keys and no values' meaning.
 */
export class Rpc {
  readonly #self: InfoHash;
  readonly #network: number;
  readonly #client: boolean;
  readonly #handlers: RpcHandlers;
  readonly #nodes = new Map<Family, NodeTable>();
  readonly #requests: Requests;
  /** Our own address as others see it. */
  readonly reported = { 4: new ReportedAddresses(4), 6: new ReportedAddresses(6) } as const;
  readonly #blacklist = new BoundedMap<AddressKey, true>(LIMITS.blacklist);
  readonly #limit: RateLimit | undefined;
  readonly #assembler: PartAssembler<Announcing>;
  readonly #parts: PartSender;
  #outputs: EngineOutput<never>[] = [];
  #nextOutput = 0;
  /** Each datagram received counts once more: as one of the first four, or as one of those that say why it was dropped. */
  readonly counters = {
    received: 0,
    sent: 0,
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

  constructor(options: RpcOptions) {
    this.#self = options.self;
    this.#network = options.network;
    this.#client = options.client;
    this.#handlers = options.handlers;
    if (options.rateLimit ?? true)
      this.#limit = new RateLimit(PROTOCOL.requestsPerSource, PROTOCOL.requestsTotal);
    this.#requests = new Requests({
      random: options.random,
      scheduler: options.scheduler,
      transmit: (request, now) => this.#transmit(request, now),
      onNodeExpired: (node, now) => this.#handlers.onNodeExpired(node, now),
    });
    for (const family of options.families)
      this.#nodes.set(family, new NodeTable((node, now) => this.#checkClaimed(node, now)));
    this.#assembler = new PartAssembler(options.scheduler, (header, values, now) =>
      this.#onWhole(header, values, now),
    );
    this.#parts = new PartSender(options.scheduler, {
      network: options.network,
      client: options.client,
    });
  }

  /** The known nodes of `family`, undefined when we do not speak it. */
  nodes(family: Family): NodeTable | undefined {
    return this.#nodes.get(family);
  }

  /** May this source ask once more now? Counts it if so. */
  admits(source: AddressKey, now: Millis): boolean {
    return this.#limit?.take(source, now) ?? true;
  }

  /** How long an answer may take before one stops counting on it. */
  get lateMs(): Millis {
    return this.#requests.lateMs;
  }

  poll(): EngineOutput<never> | undefined {
    const output = this.#outputs[this.#nextOutput];
    if (output === undefined) {
      if (this.#nextOutput > 0) this.#outputs = [];
      this.#nextOutput = 0;
      // After the messages that they belong to.
      const part = this.#parts.poll();
      if (part !== undefined) this.counters.sent++;
      return part;
    }
    this.#nextOutput++;
    return output;
  }

  #emit(to: Address, packet: Uint8Array): void {
    this.counters.sent++;
    this.send(to, packet);
  }

  /** Queue a datagram that was counted already. */
  send(to: Address, packet: Uint8Array): void {
    this.#outputs.push({ type: 'send', to, packet });
  }

  // ---- in

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
    } else if (open.kind !== 'part' && !this.admits(sourceKey(from.ip), now)) {
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
          this.admits(sourceKey(from.ip), now);
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
    this.reported[familyOf(from)].add(reply.seenIp);
    const node = nodes.heard(reply.id, from, true, now);
    if (reply.client) node.isClient = true;
    const isNews = !node.isGood(now);
    node.heard(now);
    node.lastReply = now;
    // Another id at the address that was asked: the node we knew is gone, a new one has its place.
    if (asked !== undefined && !sameId) this.expire(asked, now);
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
      assembled = parts.map(unpackValue);
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

  // ---- out

  /**
   * Ask `node`; repeated until answered or given up. Values that do not fit into the message follow in parts.
   * @returns undefined when too many requests are under way: no handler is called then
   */
  request(
    node: Node,
    query: OutgoingQuery,
    handlers: RequestHandlers,
    now: Millis,
    values?: readonly Uint8Array[],
  ): PendingRequest | undefined {
    return this.#start(node, node.address, query, handlers, now, values);
  }

  /** Ping an address where a node is said to be. */
  pingAddress(
    address: Address,
    handlers: RequestHandlers,
    now: Millis,
  ): PendingRequest | undefined {
    return this.#start(undefined, address, { type: 'ping' }, handlers, now);
  }

  #start(
    node: Node | undefined,
    address: Address,
    query: OutgoingQuery,
    handlers: RequestHandlers,
    now: Millis,
    values: readonly Uint8Array[] = [],
  ): PendingRequest | undefined {
    const inline = fitInline(values);
    const parts = inline ? [] : values;
    if (!this.#requests.hasRoom(parts)) return undefined;
    const tid = this.#requests.newTid();
    const message = {
      ...query,
      ...this.#envelope(tid),
      id: this.#self,
      ...(values.length === 0 ? {} : { values: inline ? values : sizesOf(values) }),
    } as QueryMessage;
    return this.#requests.start(tid, node, address, encodeMessage(message), parts, handlers, now);
  }

  #transmit({ address, packet, tid, values }: PendingRequest, now: Millis): void {
    this.#emit(address, packet);
    if (values.length > 0) this.#parts.send(address, tid, values, now);
  }

  #envelope(tid: number): Envelope {
    return { tid, network: this.#network, client: this.#client, version: VERSION_NAME };
  }

  /** Take `node` for gone: all that waits for it fails at once. */
  expire(node: Node, now: Millis): void {
    this.#requests.expire(node, now);
  }

  /** Drop whatever comes from there from now on. */
  blacklist(node: Node, now: Millis): void {
    this.#blacklist.set(addressKey(node.address), true);
    this.expire(node, now);
  }

  /** Whoever of `family` seems gone may show that it is there, those on the blacklist excepted. */
  giveAnotherChance(family: Family): void {
    for (const node of this.#nodes.get(family) ?? [])
      if (!this.#blacklist.has(addressKey(node.address))) node.giveAnotherChance();
  }

  /** Its handlers are not called any more. */
  cancel(request: PendingRequest): void {
    this.#requests.finish(request);
  }

  #checkClaimed(node: Node, now: Millis): void {
    if (node.requests.size === 0) this.request(node, { type: 'ping' }, {}, now);
  }

  /** Answer a query. */
  reply(
    to: Address,
    tid: number,
    content: ReplyContent,
    now: Millis,
    values?: readonly Uint8Array[],
  ): void {
    const inline = values === undefined || fitInline(values);
    // Field by field: every query passes here, and copying objects is what would cost most.
    const message: Reply = {
      type: 'reply',
      tid,
      network: this.#network,
      client: this.#client,
      version: VERSION_NAME,
      id: this.#self,
      valueId: content.valueId,
      seenIp: to.ip,
      nodes4: content.nodes4,
      nodes6: content.nodes6,
      token: content.token,
      values: inline ? values : sizesOf(values),
      fields: content.fields,
    };
    this.#emit(to, encodeMessage(message));
    if (!inline) this.#parts.send(to, tid, values, now);
  }

  error(to: Address, tid: number, code: number, text: string): void {
    const envelope = this.#envelope(tid);
    this.#emit(to, encodeMessage({ type: 'error', ...envelope, code, text, id: this.#self }));
  }

  /** A push of the old style: sent once, never answered. */
  oldUpdate(
    to: Address,
    update: Omit<OldUpdate, keyof Envelope | 'id' | 'type'>,
    sid: number,
  ): void {
    const message: OldUpdate = {
      type: 'old-update',
      ...update,
      ...this.#envelope(sid),
      id: this.#self,
    };
    this.#emit(to, encodeMessage(message));
  }

  stats() {
    return {
      ...this.counters,
      requests: this.#requests.started,
      requestsExpired: this.#requests.expired,
      requestsRefused: this.#requests.refused,
      pending: this.#requests.size,
      requestBytes: this.#requests.bytes,
      nodes4: this.#nodes.get(4)?.size ?? 0,
      nodes6: this.#nodes.get(6)?.size ?? 0,
      assemblies: this.#assembler.size,
      assemblyBytes: this.#assembler.bytes,
      assembliesAbandoned: this.#assembler.abandoned,
      assembliesEvicted: this.#assembler.evicted,
      partQueueBytes: this.#parts.queuedBytes,
      partDestinations: this.#parts.destinations,
      partsDropped: this.#parts.dropped,
      blacklist: this.#blacklist.size,
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

const sizesOf = (values: readonly Uint8Array[]): number[] => values.map((value) => value.length);

/** A loopback address in a list means: on the machine of the sender. */
function reachable({ address }: ListedNode, from: Address): Address {
  return isLoopback(address.ip) ? { ip: from.ip, port: address.port } : address;
}
