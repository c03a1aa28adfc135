import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { type Family, familyOf, sourceKey } from './addresses.ts';
import { compareDistance, type InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import {
  ERROR_CODE,
  type FindQuery,
  type GetQuery,
  type ListenQuery,
  type PutQuery,
  type QueryMessage,
  type RefreshQuery,
  WANT_IPV4,
  WANT_IPV6,
} from './message.ts';
import type { Node } from './node.ts';
import { totalBytes } from './part-sender.ts';
import { matches, selectFields } from './query.ts';
import { RateLimit } from './rate-limit.ts';
import { type RemoteListener, RemoteListeners } from './remote-listeners.ts';
import type { RoutingTable } from './routing-table.ts';
import type { ReplyContent, Rpc } from './rpc.ts';
import type { Storage, StorageChange, StoredValue } from './storage.ts';
import { TokenMint } from './token.ts';
import type { Value } from './value.ts';
import { admit, lifetimeMs, mayReplace, needsCheck, type ValuePolicy } from './value-types.ts';

/** The node's own clock of dates, for creation times on the wire. */
export interface WallClock {
  /** Wall clock ms at monotonic `now`; undefined as long as nobody told us. */
  unixMs(now: Millis): number | undefined;
}

export interface ServerOptions {
  readonly self: InfoHash;
  readonly rpc: Rpc;
  readonly tables: ReadonlyMap<Family, RoutingTable>;
  readonly storage: Storage;
  readonly policy: ValuePolicy;
  readonly wallClock: WallClock;
  readonly random: Random;
  /** Is somebody at this node listening on `key`? */
  readonly listensHere: (key: InfoHash) => boolean;
}

/** Answers the queries of others: what a node does for the DHT (opendht.md 5 to 9). */
export class Server {
  readonly #self: InfoHash;
  readonly #rpc: Rpc;
  readonly #tables: ReadonlyMap<Family, RoutingTable>;
  readonly #storage: Storage;
  readonly #policy: ValuePolicy;
  readonly #wallClock: WallClock;
  readonly #listensHere: (key: InfoHash) => boolean;
  readonly tokens: TokenMint;
  readonly #checks = new RateLimit(LIMITS.checksPerSource, LIMITS.checksTotal);
  readonly listeners = new RemoteListeners();
  readonly counters = {
    pings: 0,
    finds: 0,
    gets: 0,
    puts: 0,
    refreshes: 0,
    listens: 0,
    /** Refused with 401. */
    badTokens: 0,
    /** Not stored: type rule, signature, age, or too far from the key. */
    valuesRefused: 0,
    pushes: 0,
    /** Replies that left values out to stay within their bound. */
    repliesCut: 0,
  };

  constructor(options: ServerOptions, now: Millis) {
    this.#self = options.self;
    this.#rpc = options.rpc;
    this.#tables = options.tables;
    this.#storage = options.storage;
    this.#policy = options.policy;
    this.#wallClock = options.wallClock;
    this.#listensHere = options.listensHere;
    this.tokens = new TokenMint(options.random, now);
  }

  /** Everything but `update`, which is for our own listens. */
  answer(
    message: Exclude<QueryMessage, { type: 'update' }>,
    values: readonly Value[],
    node: Node,
    from: Address,
    now: Millis,
  ): void {
    switch (message.type) {
      case 'ping':
        this.counters.pings++;
        this.#rpc.reply(from, message.tid, {}, now);
        break;
      case 'find':
        this.#onFind(message, from, now);
        break;
      case 'get':
        this.#onGet(message, from, now);
        break;
      case 'put':
        this.#onPut(message, values, from, now);
        break;
      case 'refresh':
        this.#onRefresh(message, from, now);
        break;
      case 'listen':
        this.#onListen(message, node, from, now);
        break;
      default:
        message satisfies never;
    }
  }

  #refuse({ tid }: { readonly tid: number }, code: number, text: string, from: Address): void {
    if (code === ERROR_CODE.unauthorized) this.counters.badTokens++;
    this.#rpc.error(from, tid, code, text);
  }

  #onFind(message: FindQuery, from: Address, now: Millis): void {
    this.counters.finds++;
    const content = this.#lookUp(message.target, message.want, from, now);
    this.#rpc.reply(from, message.tid, content, now);
  }

  #onGet(message: GetQuery, from: Address, now: Millis): void {
    this.counters.gets++;
    const { key, query } = message;
    if (key === undefined) {
      this.#refuse(message, ERROR_CODE.badRequest, 'Get_values with no info_hash', from);
      return;
    }
    const content = this.#lookUp(key, message.want, from, now);
    const found = this.#storage.get(key, query);
    if (found.length === 0) {
      this.#rpc.reply(from, message.tid, content, now);
    } else if (query !== undefined && query.select.length > 0) {
      const values = found.map(({ value }) => value);
      const fields = selectFields(query.select, values, LIMITS.fieldsBytes);
      if (fields.rows.length < values.length) this.counters.repliesCut++;
      this.#rpc.reply(from, message.tid, { ...content, fields }, now);
    } else {
      this.#rpc.reply(from, message.tid, content, now, this.#cut(found));
    }
  }

  /** As many values as one reply may carry. The asker gets the others by their ids. */
  #cut(found: readonly StoredValue[]): Uint8Array[] {
    const values: Uint8Array[] = [];
    let bytes = 0;
    for (const { packed } of found) {
      bytes += packed.length;
      if (values.length > 0 && bytes > LIMITS.replyBytes) {
        this.counters.repliesCut++;
        break;
      }
      values.push(packed);
    }
    return values;
  }

  /** A token, and the closest good nodes of the wanted families; without `want`, of the family the query came by. */
  #lookUp(
    target: InfoHash,
    want: readonly number[] | undefined,
    from: Address,
    now: Millis,
  ): ReplyContent {
    const family = familyOf(from);
    const wants4 = want === undefined ? family === 4 : want.includes(WANT_IPV4);
    const wants6 = want === undefined ? family === 6 : want.includes(WANT_IPV6);
    return {
      nodes4: wants4 ? this.#closest(4, target, now) : undefined,
      nodes6: wants6 ? this.#closest(6, target, now) : undefined,
      token: this.tokens.mint(from, now),
    };
  }

  #closest(family: Family, target: InfoHash, now: Millis): Uint8Array | undefined {
    const nodes = this.#tables.get(family)?.closestGood(target, PROTOCOL.targetNodes, now);
    const [first] = nodes ?? [];
    if (nodes === undefined || first === undefined) return undefined;
    const size = first.compact.length;
    const list = new Uint8Array(nodes.length * size);
    let at = 0;
    for (const { compact } of nodes) {
      list.set(compact, at);
      at += size;
    }
    return list;
  }

  #onPut(message: PutQuery, values: readonly Value[], from: Address, now: Millis): void {
    this.counters.puts++;
    const { key, token, created } = message;
    if (key === undefined) {
      this.#refuse(message, ERROR_CODE.badRequest, 'Put with no info_hash', from);
      return;
    }
    if (!this.tokens.isValid(token, from, now)) {
      this.#refuse(message, ERROR_CODE.unauthorized, 'Put with incorrect token', from);
      return;
    }
    const age = this.#age(created, now);
    const near = this.#isNear(key, from, now);
    for (const value of values) {
      if (value.id === 0n) {
        this.#refuse(message, ERROR_CODE.badRequest, 'Put with invalid ID', from);
        return;
      }
      // A refusal is not told (opendht.md 1): the answer is the same.
      if (!near || !this.#store(key, value, age, from, now)) this.counters.valuesRefused++;
      this.#rpc.reply(from, message.tid, { valueId: value.id }, now);
    }
  }

  /** How old a value of that creation time is, ms; a date in the future counts as now. */
  #age(created: number | undefined, now: Millis): Millis {
    const unixMs = this.#wallClock.unixMs(now);
    if (created === undefined || unixMs === undefined) return 0;
    // Far beyond every date the reference's clock overflows, and it takes the value for long past. So do we.
    if (created >= 2 ** 33) return Number.POSITIVE_INFINITY;
    return Math.max(0, unixMs - created * 1000);
  }

  /**
   * A node far from the key does not store (opendht.md 17): with 8 good nodes known, none of the closest 14 may be
   * farther than we are. Where somebody listens, here or through us, the value is wanted all the same: the listener may
   * know better than our table, which still counts nodes that have just died.
   */
  #isNear(key: InfoHash, from: Address, now: Millis): boolean {
    if (this.listeners.has(key) || this.#listensHere(key)) return true;
    const nodes = this.#tables.get(familyOf(from))?.closestGood(key, PROTOCOL.searchNodes, now);
    const farthest = nodes?.at(-1);
    if (nodes === undefined || farthest === undefined || nodes.length < PROTOCOL.targetNodes)
      return true;
    return compareDistance(key, farthest.id, this.#self) >= 0;
  }

  #store(key: InfoHash, value: Value, age: Millis, from: Address, now: Millis): boolean {
    const same = this.#storage.same(key, value);
    if (same !== undefined) {
      this.#storage.refresh(same, age, now);
      return true;
    }
    const expiresAt = now - age + lifetimeMs(value);
    if (expiresAt <= now) return false;
    const source = sourceKey(from.ip);
    if (needsCheck(value) && !this.#checks.take(source, now)) return false;
    const stored = this.#storage.find(key, value.id);
    if (stored !== undefined && !mayReplace(stored.value, value, this.#policy)) return false;
    const admitted = admit(key, value, from, this.#policy);
    if (admitted === undefined) return false;
    return this.#storage.put(key, admitted, source, expiresAt, now);
  }

  #onRefresh(message: RefreshQuery, from: Address, now: Millis): void {
    this.counters.refreshes++;
    const { key, valueId, token } = message;
    if (!this.tokens.isValid(token, from, now)) {
      this.#refuse(message, ERROR_CODE.unauthorized, 'Put with incorrect token', from);
      return;
    }
    if (key === undefined || !(this.#storage.has(key) || this.listeners.has(key))) {
      this.#refuse(message, ERROR_CODE.notFound, 'Access operation for unknown storage', from);
      return;
    }
    // A known key is enough for a positive answer, whether it holds that value or not.
    const stored = this.#storage.find(key, valueId);
    if (stored !== undefined) this.#storage.refresh(stored, 0, now);
    this.#rpc.reply(from, message.tid, { valueId }, now);
  }

  #onListen(message: ListenQuery, node: Node, from: Address, now: Millis): void {
    this.counters.listens++;
    const { key, sid, query, token } = message;
    if (key === undefined) {
      this.#refuse(message, ERROR_CODE.badRequest, 'Listen with no info_hash', from);
      return;
    }
    if (!this.tokens.isValid(token, from, now)) {
      this.#refuse(message, ERROR_CODE.unauthorized, 'Listen with incorrect token', from);
      return;
    }
    const oldStyle = message.style === 0;
    if (this.listeners.renew(key, node, sid, query, oldStyle, now)) {
      const stored = this.#storage.get(key, query);
      const listener = { key, node, sid, query, oldStyle };
      if (stored.length > 0) this.#pushValues(listener, stored, now);
    }
    this.#rpc.reply(from, message.tid, { token: this.tokens.mint(from, now) }, now);
  }

  /** Something changed in the storage: tell who listens, before the answer to the put that did it. */
  push(change: StorageChange, stored: StoredValue, now: Millis): void {
    const { key, value } = stored;
    for (const listener of this.listeners.of(key)) {
      const { node, sid, oldStyle } = listener;
      if (node.expired) continue;
      if (change === 'new') {
        if (listener.query === undefined || matches(listener.query, value))
          this.#pushValues(listener, [stored], now);
        continue;
      }
      this.counters.pushes++;
      const ids = change === 'refreshed' ? { refreshed: [value.id] } : { expired: [value.id] };
      const update = { ...ids, token: this.tokens.mint(node.address, now) };
      if (oldStyle) this.#rpc.oldUpdate(node.address, update, sid);
      else this.#rpc.request(node, { type: 'update', style: 0, sid, ...update }, {}, now);
    }
  }

  #pushValues(
    listener: Pick<RemoteListener, 'key' | 'node' | 'sid' | 'oldStyle'>,
    stored: readonly StoredValue[],
    now: Millis,
  ): void {
    const { key, node, sid, oldStyle } = listener;
    const token = this.tokens.mint(node.address, now);
    for (const values of inPushes(stored)) {
      this.counters.pushes++;
      if (oldStyle) {
        const content = this.#lookUp(key, undefined, node.address, now);
        this.#rpc.reply(node.address, sid, content, now, values);
      } else {
        this.#rpc.request(node, { type: 'update', style: 1, key, sid, token }, {}, now, values);
      }
    }
  }

  stats() {
    return {
      ...this.counters,
      checksRefused: this.#checks.refused,
      checkSources: this.#checks.sources,
      listeners: this.listeners.size,
      listenersEvicted: this.listeners.evicted,
    };
  }
}

/** Values for pushes of a bounded size each. */
function inPushes(stored: readonly StoredValue[]): Uint8Array[][] {
  const pushes: Uint8Array[][] = [];
  let current: Uint8Array[] = [];
  for (const { packed } of stored) {
    if (current.length > 0 && totalBytes(current) + packed.length > PROTOCOL.pushBytes) {
      pushes.push(current);
      current = [];
    }
    current.push(packed);
  }
  if (current.length > 0) pushes.push(current);
  return pushes;
}
