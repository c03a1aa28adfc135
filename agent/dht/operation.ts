import type { Millis } from '../base/clock.ts';
import type { Family } from './addresses.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS } from './limits.ts';
import type { ListenCache } from './listen-cache.ts';
import { matches } from './query.ts';
import type { Query, Value } from './value.ts';
import { contentKey, packValue } from './value-codec.ts';
import { lifetimeMs } from './value-types.ts';

/** What the program asked for and waits for, across both families. Searches do the work. */

/** Names an operation in events. */
export type OperationId = number;

/** Look up the values under a key. */
export class GetOperation {
  readonly id: OperationId;
  readonly key: InfoHash;
  readonly query: Query | undefined;
  readonly startedAt: Millis;
  /** Families whose search is not done yet. */
  readonly open: Set<Family>;
  /** What was told of, by id: not the values, which are the program's now. */
  readonly #seen = new Map<bigint, string[]>();
  readonly #givers = new Map<bigint, number>();
  #count = 0;

  constructor(
    id: OperationId,
    key: InfoHash,
    query: Query | undefined,
    families: Iterable<Family>,
    now: Millis,
  ) {
    this.id = id;
    this.key = key;
    this.query = query;
    this.open = new Set(families);
    this.startedAt = now;
  }

  /** One node gave values with these ids. */
  countGiver(ids: ReadonlySet<bigint>): void {
    for (const id of ids) {
      const count = this.#givers.get(id) ?? 0;
      if (count > 0 || this.#givers.size < LIMITS.valuesPerOperation)
        this.#givers.set(id, count + 1);
    }
  }

  /** How many nodes gave a value with this id. */
  givers(id: bigint): number {
    return this.#givers.get(id) ?? 0;
  }

  /** @returns true when `value` is wanted and new. Filters are applied here too: a node may have ignored them. */
  accept(value: Value): boolean {
    if (this.query !== undefined && !matches(this.query, value)) return false;
    const seen = this.#seen.get(value.id) ?? [];
    const content = contentKey(value);
    if (seen.includes(content)) return false;
    if (this.#count >= LIMITS.valuesPerOperation || seen.length >= LIMITS.variantsPerValue)
      return false;
    this.#count++;
    seen.push(content);
    this.#seen.set(value.id, seen);
    return true;
  }
}

export interface PutOptions {
  readonly key: InfoHash;
  readonly value: Value;
  readonly permanent: boolean;
  /** Unix seconds, when the wall clock is known. */
  readonly created: number | undefined;
  readonly families: Iterable<Family>;
  /** One more storing node acknowledged. */
  readonly onStored: () => void;
  /** The first round is over in every family. Once for each put. */
  readonly onDone: (acknowledged: number, now: Millis) => void;
}

/** Store a value at the closest nodes; again and again when it is permanent. */
export class PutOperation {
  readonly key: InfoHash;
  readonly value: Value;
  readonly packed: Uint8Array;
  readonly permanent: boolean;
  /** Unix seconds; not sent for permanent puts, whose life starts anew each time. */
  readonly created: number | undefined;
  readonly startedAt: Millis;
  readonly lifetimeMs: Millis;
  /** Families whose first round is not done yet. */
  readonly #open: Set<Family>;
  readonly #onStored: () => void;
  readonly #onDone: (acknowledged: number, now: Millis) => void;
  #acknowledged = 0;

  constructor(options: PutOptions, now: Millis) {
    this.key = options.key;
    this.value = options.value;
    this.packed = packValue(options.value);
    this.permanent = options.permanent;
    this.created = options.permanent ? undefined : options.created;
    this.startedAt = now;
    this.lifetimeMs = lifetimeMs(options.value);
    this.#open = new Set(options.families);
    this.#onStored = options.onStored;
    this.#onDone = options.onDone;
  }

  stored(): void {
    this.#acknowledged++;
    this.#onStored();
  }

  /** The first round in `family` is over. */
  done(family: Family, now: Millis): void {
    if (this.#open.delete(family) && this.#open.size === 0) this.#onDone(this.#acknowledged, now);
  }

  /** No family is waited for any more. */
  end(now: Millis): void {
    for (const family of [...this.#open]) this.done(family, now);
  }
}

/** Hear of changes under a key. One for each key and query, however many in the program want it. */
export class ListenOperation {
  readonly key: InfoHash;
  readonly query: Query | undefined;
  readonly cache: ListenCache;
  readonly subscribers = new Set<OperationId>();

  constructor(key: InfoHash, query: Query | undefined, cache: ListenCache) {
    this.key = key;
    this.query = query;
    this.cache = cache;
  }

  wants(value: Value): boolean {
    return this.query === undefined || matches(this.query, value);
  }
}
