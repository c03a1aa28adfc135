import type { Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { Family } from './addresses.ts';
import type { EventQueue } from './events.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import { Listens } from './listens.ts';
import type { UpdateQuery } from './message.ts';
import type { Node } from './node.ts';
import { GetOperation, type OperationId, PutOperation } from './operation.ts';
import type { Scheduler } from './scheduler.ts';
import type { SearchHost } from './search-host.ts';
import type { Searches } from './searches.ts';
import type { Storage, StorageChange, StoredValue } from './storage.ts';
import type { Query, Value } from './value.ts';
import { countedSize } from './value-codec.ts';
import { lifetimeMs, type ValuePolicy } from './value-types.ts';

export interface OperationsOptions {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly policy: ValuePolicy;
  readonly storage: Storage;
  readonly events: EventQueue;
  /** One for each family that we speak: an operation runs in all of them. */
  readonly searches: ReadonlyMap<Family, Searches>;
  /** Wall clock ms at monotonic `now`; undefined as long as nobody told us. */
  readonly unixMs: (now: Millis) => number | undefined;
}

/**
 * What the program asks of the DHT: gets, puts and listens, each across both families. Searches do the work out there,
 * our own storage has its part, and what comes of it goes to the event queue.
 */
export class Operations {
  readonly #random: Random;
  readonly #storage: Storage;
  readonly #events: EventQueue;
  readonly #searches: ReadonlyMap<Family, Searches>;
  readonly #unixMs: (now: Millis) => number | undefined;
  readonly #gets = new Map<OperationId, GetOperation>();
  /** Permanent ones, and those whose first round is not over. */
  readonly #puts = new Map<OperationId, PutOperation>();
  readonly #listens: Listens;
  #lastId: OperationId = 0;
  #refused = 0;

  constructor(options: OperationsOptions) {
    const { scheduler, random, policy, storage, events, searches } = options;
    this.#random = random;
    this.#storage = storage;
    this.#events = events;
    this.#searches = searches;
    this.#unixMs = options.unixMs;
    this.#listens = new Listens({
      scheduler,
      random,
      verify: (value) => policy.verifySignature(value),
      stored: ({ key, query }) => storage.get(key, query).map(({ value }) => value),
      start: (listen, then) => {
        for (const family of searches.values())
          family.open(listen.key, then)?.addListen(listen, then);
      },
      stop: (listen) => {
        for (const family of searches.values()) family.get(listen.key)?.removeListen(listen);
      },
      report: (operation, value, expired) =>
        events.push({ type: 'listen.value', operation, value, expired }),
    });
  }

  // ---- what the program asks for

  /** @see Dht.get */
  get(key: InfoHash, query: Query | undefined, now: Millis): OperationId {
    const get = new GetOperation(
      ++this.#lastId,
      key,
      query === undefined ? undefined : { where: query.where, select: [] },
      this.#searches.keys(),
      now,
    );
    this.#gets.set(get.id, get);
    const admitted = this.#isAdmitted();
    const own = this.#storage.get(key, get.query);
    this.#reportGot(
      get,
      own.map(({ value }) => value),
    );
    for (const [family, searches] of this.#searches) {
      const search = admitted ? searches.open(key, now) : undefined;
      if (search === undefined) this.#getDone(get, family);
      else search.addGet(get, now);
    }
    return get.id;
  }

  /** For an operation that needs no search. */
  newId(): OperationId {
    return ++this.#lastId;
  }

  /** @see Dht.put */
  put(key: InfoHash, value: Value, permanent: boolean, now: Millis): OperationId {
    const id = ++this.#lastId;
    const unixMs = this.#unixMs(now);
    const put = new PutOperation(
      {
        key,
        value: value.id === 0n ? { ...value, id: this.#newValueId() } : value,
        permanent,
        created: unixMs === undefined ? undefined : Math.floor(unixMs / 1000),
        families: this.#searches.keys(),
        onStored: () => this.#events.push({ type: 'put.stored', operation: id }),
        onDone: (acknowledged) => {
          if (!permanent) this.#puts.delete(id);
          this.#events.push({ type: 'put.done', operation: id, acknowledged });
        },
      },
      now,
    );
    this.cancelPut(key, put.value.id, now);
    this.#puts.set(id, put);
    // A sender that does not keep to the limit loses its neighbours: they never answer (opendht.md 6.4).
    const fits =
      this.#isAdmitted() &&
      countedSize(put.value) <= PROTOCOL.maxValueBytes &&
      put.packed.length <= PROTOCOL.maxPackedBytes;
    if (fits) this.#storeOwn(put, now);
    for (const [family, searches] of this.#searches) {
      const search = fits ? searches.open(key, now) : undefined;
      if (search === undefined) put.done(family, now);
      else search.addPut(put, now);
    }
    if (!fits) this.#puts.delete(id);
    return id;
  }

  #newValueId(): bigint {
    const [high, low] = [this.#random.uint32(), this.#random.uint32()];
    return (BigInt(high) << 32n) | BigInt(low) || 1n;
  }

  #storeOwn(put: PutOperation, now: Millis): void {
    const expiresAt = put.permanent ? Number.POSITIVE_INFINITY : now + put.lifetimeMs;
    const same = this.#storage.same(put.key, put.value);
    if (same !== undefined && same.source === undefined) this.#storage.expireAt(same, expiresAt);
    else this.#storage.put(put.key, put.value, undefined, expiresAt, now);
  }

  /** @see Dht.cancelPut */
  cancelPut(key: InfoHash, valueId: bigint, now: Millis): void {
    for (const [id, put] of this.#puts) {
      if (!put.permanent || put.value.id !== valueId || !put.key.equals(key)) continue;
      put.end(now);
      this.#puts.delete(id);
      for (const searches of this.#searches.values()) searches.get(key)?.removePut(put);
      const stored = this.#storage.find(key, valueId);
      if (stored !== undefined && stored.source === undefined)
        this.#storage.expireAt(stored, now + lifetimeMs(stored.value));
    }
  }

  /** @see Dht.listen */
  listen(key: InfoHash, query: Query | undefined, now: Millis): OperationId {
    const id = ++this.#lastId;
    if (this.#isAdmitted()) this.#listens.add(id, key, query, now);
    return id;
  }

  /** Is there room for the operation that was just begun? Without, it comes to nothing at once. */
  #isAdmitted(): boolean {
    const underWay = this.#gets.size + this.#puts.size + this.#listens.size;
    if (underWay <= LIMITS.operations) return true;
    this.#refused++;
    return false;
  }

  /** @see Dht.cancel */
  cancel(id: OperationId, now: Millis): void {
    const get = this.#gets.get(id);
    if (get !== undefined) {
      this.#gets.delete(id);
      for (const searches of this.#searches.values()) searches.get(get.key)?.removeGet(get);
    }
    this.#listens.cancel(id, now);
    this.#events.forget(id);
  }

  // ---- what comes of it

  /** What a search of `family` tells of the operations in it. */
  searchHost(
    family: Family,
  ): Pick<
    SearchHost,
    'openSocket' | 'closeSocket' | 'onValues' | 'onGetDone' | 'onStored' | 'onPutDone'
  > {
    return {
      openSocket: (listen, node) => this.#listens.openSocket(listen, node),
      closeSocket: (sid) => this.#listens.closeSocket(sid),
      onValues: (get, values) => this.#reportGot(get, values),
      onGetDone: (get) => this.#getDone(get, family),
      onStored: (put) => put.stored(),
      onPutDone: (put, now) => put.done(family, now),
    };
  }

  #reportGot(get: GetOperation, values: readonly Value[]): void {
    for (const value of values) {
      if (get.accept(value)) this.#events.push({ type: 'get.value', operation: get.id, value });
    }
  }

  #getDone(get: GetOperation, family: Family): void {
    get.open.delete(family);
    if (get.open.size > 0 || !this.#gets.delete(get.id)) return;
    this.#events.push({ type: 'get.done', operation: get.id });
  }

  /** Is somebody in the program listening on `key`? */
  isListening(key: InfoHash): boolean {
    return this.#listens.isOn(key);
  }

  /** A push came for one of our listens. */
  onUpdate(message: UpdateQuery, values: readonly Value[], node: Node, now: Millis): void {
    const listen = this.#listens.onUpdate(message, values, node, now);
    if (listen === undefined) return;
    const search = this.#searches.get(node.family)?.get(listen.key);
    search?.tokenFrom(node, message.token, now);
  }

  /** Our own storage is a storing node too. */
  onStorageChange(change: StorageChange, { key, value }: StoredValue, now: Millis): void {
    this.#listens.onStorageChange(change, key, value, now);
  }

  stats() {
    return {
      operationsRefused: this.#refused,
      gets: this.#gets.size,
      puts: this.#puts.size,
      ...this.#listens.stats(),
    };
  }
}
