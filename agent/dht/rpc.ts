import type { Address } from '../base/address.ts';
import { BoundedMap } from '../base/bounded.ts';
import type { Millis } from '../base/clock.ts';
import type { EngineOutput } from '../base/engine.ts';
import type { Random } from '../base/random.ts';
import { type AddressKey, addressKey, type Family } from './addresses.ts';
import { Inbound, type RpcHandlers } from './inbound.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL, VERSION_NAME } from './limits.ts';
import type { Envelope, Message, OldUpdate, QueryMessage, Reply } from './message.ts';
import { encodeMessage } from './message-encode.ts';
import type { Node } from './node.ts';
import { NodeTable } from './node-table.ts';
import { fitInline, PartSender } from './part-sender.ts';
import { RateLimit } from './rate-limit.ts';
import { ReportedAddresses } from './reported-addresses.ts';
import type { PendingRequest, RequestHandlers } from './request.ts';
import { Requests } from './requests.ts';
import type { Scheduler } from './scheduler.ts';

/** A message without what `Rpc` adds: envelope and own id. */
type Unsent<M> = M extends Message ? Omit<M, keyof Envelope | 'id' | 'values'> : never;
export type OutgoingQuery = Unsent<QueryMessage>;

/** What a reply says beside the sender's id and the asker's address. */
export type ReplyContent = Pick<Reply, 'valueId' | 'nodes4' | 'nodes6' | 'token' | 'fields'>;

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

/**
 * Messages in (`Inbound`) and out: known nodes, requests with their repetition, values in parts. It knows no keys and no
 * values' meaning.
 */
export class Rpc {
  readonly #self: InfoHash;
  readonly #network: number;
  readonly #client: boolean;
  readonly #nodes = new Map<Family, NodeTable>();
  readonly #requests: Requests;
  /** Our own address as others see it. */
  readonly reported = { 4: new ReportedAddresses(4), 6: new ReportedAddresses(6) } as const;
  readonly #blacklist = new BoundedMap<AddressKey, true>(LIMITS.blacklist);
  readonly #limit: RateLimit | undefined;
  readonly inbound: Inbound;
  readonly #parts: PartSender;
  #outputs: EngineOutput<never>[] = [];
  #nextOutput = 0;
  sent = 0;
  outputsDropped = 0;

  constructor(options: RpcOptions) {
    this.#self = options.self;
    this.#network = options.network;
    this.#client = options.client;
    if (options.rateLimit ?? true)
      this.#limit = new RateLimit(PROTOCOL.requestsPerSource, PROTOCOL.requestsTotal);
    this.#requests = new Requests({
      random: options.random,
      scheduler: options.scheduler,
      transmit: (request, now) => this.#transmit(request, now),
      onNodeExpired: (node, now) => options.handlers.onNodeExpired(node, now),
    });
    for (const family of options.families)
      this.#nodes.set(family, new NodeTable((node, now) => this.#checkClaimed(node, now)));
    this.inbound = new Inbound({
      ...options,
      nodes: this.#nodes,
      requests: this.#requests,
      blacklist: this.#blacklist,
      reported: this.reported,
      admits: (source, now) => this.admits(source, now),
    });
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
      if (part !== undefined) this.sent++;
      return part;
    }
    this.#nextOutput++;
    return output;
  }

  #emit(to: Address, packet: Uint8Array): void {
    this.sent++;
    this.send(to, packet);
  }

  /** Queue a datagram that was counted already. Of too many that nobody fetches the latest are lost, as on any line. */
  send(to: Address, packet: Uint8Array): void {
    if (this.#outputs.length - this.#nextOutput >= LIMITS.outputs) this.outputsDropped++;
    else this.#outputs.push({ type: 'send', to, packet });
  }

  receive(packet: Uint8Array, source: Address, now: Millis): void {
    this.inbound.receive(packet, source, now);
  }

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
    const [nodes4, nodes6] = [this.#nodes.get(4), this.#nodes.get(6)];
    return {
      ...this.inbound.stats(),
      sent: this.sent,
      requests: this.#requests.started,
      requestsExpired: this.#requests.expired,
      requestsRefused: this.#requests.refused,
      pending: this.#requests.size,
      requestBytes: this.#requests.bytes,
      outputs: this.#outputs.length - this.#nextOutput,
      outputsDropped: this.outputsDropped,
      nodes4: nodes4?.size ?? 0,
      nodes6: nodes6?.size ?? 0,
      nodesForgotten: (nodes4?.evicted ?? 0) + (nodes6?.evicted ?? 0),
      nodesNotKept: (nodes4?.unkept ?? 0) + (nodes6?.unkept ?? 0),
      rateSources: this.#limit?.sources ?? 0,
      rateSourcesForgotten: this.#limit?.forgotten ?? 0,
      partQueueBytes: this.#parts.queuedBytes,
      partDestinations: this.#parts.destinations,
      partsDropped: this.#parts.dropped,
      blacklist: this.#blacklist.size,
      blacklistForgotten: this.#blacklist.evicted,
      reportedAddresses4: this.reported[4].size,
      reportedAddresses6: this.reported[6].size,
      reportedForgotten: this.reported[4].forgotten + this.reported[6].forgotten,
    };
  }
}

const sizesOf = (values: readonly Uint8Array[]): number[] => values.map((value) => value.length);
