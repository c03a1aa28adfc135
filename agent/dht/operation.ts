import type { Millis } from '../base/clock.ts';
import type { Family } from './addresses.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS } from './limits.ts';
import type { ListenCache } from './listen-cache.ts';
import { matches } from './query.ts';
import type { Query, Value } from './value.ts';
import { packValue, sameValue } from './value-codec.ts';
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
  readonly #seen = new Map<bigint, Value[]>();
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
    if (seen.some((other) => sameValue(other, value))) return false;
    if (this.#count >= LIMITS.valuesPerOperation || seen.length >= LIMITS.variantsPerValue)
      return false;
    this.#count++;
    seen.push(value);
    this.#seen.set(value.id, seen);
    return true;
  }
}

/** Store a value at the closest nodes; again and again when it is permanent. */
export class PutOperation {
  readonly id: OperationId;
  readonly key: InfoHash;
  readonly value: Value;
  readonly packed: Uint8Array;
  readonly permanent: boolean;
  /** Unix seconds; not sent for permanent puts, whose life starts anew each time. */
  readonly created: number | undefined;
  readonly startedAt: Millis;
  readonly lifetimeMs: Millis;
  /** Families whose first round is not done yet. */
  readonly open: Set<Family>;
  acknowledged = 0;

  constructor(
    id: OperationId,
    key: InfoHash,
    value: Value,
    permanent: boolean,
    created: number | undefined,
    families: Iterable<Family>,
    now: Millis,
  ) {
    this.id = id;
    this.key = key;
    this.value = value;
    this.packed = packValue(value);
    this.permanent = permanent;
    this.created = permanent ? undefined : created;
    this.open = new Set(families);
    this.startedAt = now;
    this.lifetimeMs = lifetimeMs(value);
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
