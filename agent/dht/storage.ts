import type { Millis } from '../base/clock.ts';
import type { AddressKey } from './addresses.ts';
import { type InfoHash, prefix32 } from './infohash.ts';
import { LIMITS } from './limits.ts';
import { matches } from './query.ts';
import type { Job, Scheduler } from './scheduler.ts';
import type { Query, Value } from './value.ts';
import { packValue, sameValue, unpackValue } from './value-codec.ts';
import { lifetimeMs } from './value-types.ts';

/** One value kept under one key. */
export interface StoredValue {
  readonly key: InfoHash;
  readonly value: Value;
  /** As it goes out, in our own order of entries. */
  readonly packed: Uint8Array;
  /** Who pays for it; undefined for our own. */
  readonly source: AddressKey | undefined;
  /** When somebody put it here last, as new or again. */
  putAt: Millis;
  expiresAt: Millis;
  job: Job | undefined;
}

export type StorageChange = 'new' | 'refreshed' | 'expired';

export interface StorageLimits {
  readonly bytes: number;
  readonly bytesPerKey: number;
  readonly values: number;
  readonly valuesPerKey: number;
  readonly ownValues: number;
}

export const DEFAULT_STORAGE_LIMITS: StorageLimits = {
  bytes: LIMITS.storageBytes,
  bytesPerKey: LIMITS.storageBytesPerKey,
  values: LIMITS.storageValues,
  valuesPerKey: LIMITS.storageValuesPerKey,
  ownValues: LIMITS.ownValues,
};

/** Once full, so much is made free at once that the search for victims pays: 1/64. */
const FREED_SHARE = 1 / 64;

interface StoredKey {
  readonly key: InfoHash;
  readonly values: Map<bigint, StoredValue>;
  bytes: number;
}

interface SourceShare {
  readonly values: Set<StoredValue>;
  bytes: number;
}

/**
 * The values that are kept here, for others and our own (opendht.md 17). Full, it takes from the source with the most
 * bytes the value that expires next. Our own count for nothing and are never taken.
 */
export class Storage {
  readonly #scheduler: Scheduler;
  readonly #limits: StorageLimits;
  readonly #onChange: (change: StorageChange, stored: StoredValue, now: Millis) => void;
  readonly #keys = new Map<string, StoredKey>();
  /** How many keys begin with these 32 bits. */
  readonly #prefixes = new Map<number, number>();
  readonly #sources = new Map<AddressKey, SourceShare>();
  #bytes = 0;
  #count = 0;
  #own = 0;
  /** Taken before their time, for want of place. */
  evicted = 0;
  refused = 0;
  /** Grows with every value of others that comes or gets more time: whoever keeps a copy has to follow. */
  changes = 0;

  constructor(
    scheduler: Scheduler,
    limits: StorageLimits,
    onChange: (change: StorageChange, stored: StoredValue, now: Millis) => void,
  ) {
    this.#scheduler = scheduler;
    this.#limits = limits;
    this.#onChange = onChange;
  }

  has(key: InfoHash): boolean {
    return this.#keys.has(key.key);
  }

  /** Quick and never wrong about "no": is there perhaps a value under the key that begins at `at`? */
  mayHave(bytes: Uint8Array, at: number): boolean {
    return this.#prefixes.has(prefix32(bytes, at));
  }

  find(key: InfoHash, id: bigint): StoredValue | undefined {
    return this.#keys.get(key.key)?.values.get(id);
  }

  /** The values under `key` that pass the filters of `query`. */
  get(key: InfoHash, query: Query | undefined): StoredValue[] {
    const stored = this.#keys.get(key.key);
    if (stored === undefined) return [];
    const values = [...stored.values.values()];
    return query === undefined || query.where.length === 0
      ? values
      : values.filter(({ value }) => matches(query, value));
  }

  /**
   * Keep `value`, in place of one with its id. Whether it may is decided before (`admit`, `mayReplace`).
   * @param source undefined for our own values
   * @returns false when there is no place for it, ever
   */
  put(
    key: InfoHash,
    value: Value,
    source: AddressKey | undefined,
    expiresAt: Millis,
    now: Millis,
  ): boolean {
    const packed = packValue(value);
    const old = this.find(key, value.id);
    if (source === undefined && old?.source !== undefined) this.#remove(old);
    if (
      packed.length > this.#limits.bytesPerKey ||
      (source === undefined && old === undefined && this.#own >= this.#limits.ownValues)
    ) {
      this.refused++;
      return false;
    }
    if (old !== undefined) this.#remove(old);
    const stored: StoredValue = {
      // One key for all its values, and one copy of their bytes: most of what a small value costs is around it.
      key: this.#keys.get(key.key)?.key ?? key,
      value: unpackValue(packed, false),
      packed,
      source,
      putAt: now,
      expiresAt,
      job: undefined,
    };
    this.#add(stored);
    this.#watch(stored);
    this.#onChange('new', stored, now);
    if (source !== undefined) this.#makeRoom(stored, now);
    return true;
  }

  /**
   * Let it live its lifetime anew.
   * @param age of the value by its creation time: one that was handed around does not live for ever
   */
  refresh(stored: StoredValue, age: Millis, now: Millis): void {
    stored.putAt = now;
    stored.expiresAt = Math.max(stored.expiresAt, now - age + lifetimeMs(stored.value));
    if (stored.source !== undefined) this.changes++;
    this.#onChange('refreshed', stored, now);
  }

  /** Give our own value the end of its life that it did not have. */
  expireAt(stored: StoredValue, expiresAt: Millis): void {
    stored.expiresAt = expiresAt;
    stored.job?.cancel();
    this.#watch(stored);
  }

  /** It is elsewhere now, and nobody here is told of its end. */
  forget(stored: StoredValue): void {
    this.#remove(stored);
  }

  /** What is kept for others, those of one key one after the other. */
  *foreign(): Generator<StoredValue> {
    for (const { values } of this.#keys.values())
      for (const stored of values.values()) if (stored.source !== undefined) yield stored;
  }

  /** @returns the stored value when `value` is already there */
  same(key: InfoHash, value: Value): StoredValue | undefined {
    const stored = this.find(key, value.id);
    return stored !== undefined && sameValue(stored.value, value) ? stored : undefined;
  }

  #watch(stored: StoredValue): void {
    if (stored.expiresAt === Number.POSITIVE_INFINITY) return;
    stored.job = this.#scheduler.schedule(stored.expiresAt, (now) => {
      if (stored.expiresAt > now) this.#watch(stored);
      else this.#expire(stored, now);
    });
  }

  #expire(stored: StoredValue, now: Millis): void {
    this.#remove(stored);
    this.#onChange('expired', stored, now);
  }

  #add(stored: StoredValue): void {
    const { key, value, packed, source } = stored;
    let under = this.#keys.get(key.key);
    if (under === undefined) {
      under = { key, values: new Map(), bytes: 0 };
      this.#keys.set(key.key, under);
      const prefix = prefix32(key.bytes, 0);
      this.#prefixes.set(prefix, (this.#prefixes.get(prefix) ?? 0) + 1);
    }
    under.values.set(value.id, stored);
    this.#count++;
    if (source === undefined) {
      this.#own++;
      return;
    }
    this.changes++;
    under.bytes += packed.length;
    this.#bytes += packed.length;
    let share = this.#sources.get(source);
    if (share === undefined) {
      share = { values: new Set(), bytes: 0 };
      this.#sources.set(source, share);
    }
    share.values.add(stored);
    share.bytes += packed.length;
  }

  #remove(stored: StoredValue): void {
    stored.job?.cancel();
    const { key, value, packed, source } = stored;
    const under = this.#keys.get(key.key);
    if (under?.values.get(value.id) !== stored) return;
    under.values.delete(value.id);
    if (under.values.size === 0) this.#forgetKey(key);
    this.#count--;
    if (source === undefined) {
      this.#own--;
      return;
    }
    under.bytes -= packed.length;
    this.#bytes -= packed.length;
    const share = this.#sources.get(source);
    if (share === undefined) return;
    share.values.delete(stored);
    share.bytes -= packed.length;
    if (share.values.size === 0) this.#sources.delete(source);
  }

  #forgetKey(key: InfoHash): void {
    this.#keys.delete(key.key);
    const prefix = prefix32(key.bytes, 0);
    const left = (this.#prefixes.get(prefix) ?? 1) - 1;
    if (left === 0) this.#prefixes.delete(prefix);
    else this.#prefixes.set(prefix, left);
  }

  /** Who takes most of what is short loses: bytes when bytes are short, values when their number is. */
  #makeRoom(latest: StoredValue, now: Millis): void {
    const { bytes, bytesPerKey, values, valuesPerKey } = this.#limits;
    const under = this.#keys.get(latest.key.key);
    if (under !== undefined) {
      this.#evictWhile(
        () => under.bytes > bytesPerKey,
        () => victimUnder(under, bytesOf),
        now,
      );
      this.#evictWhile(
        () => under.values.size > valuesPerKey,
        () => victimUnder(under, countOf),
        now,
      );
    }
    const kept = 1 - FREED_SHARE;
    const victim = (weigh: Weigh) => soonest(heaviest(this.#sources.values(), weigh)?.values ?? []);
    if (this.#bytes > bytes)
      this.#evictWhile(
        () => this.#bytes > bytes * kept,
        () => victim(bytesOf),
        now,
      );
    if (this.#foreign > values)
      this.#evictWhile(
        () => this.#foreign > values * kept,
        () => victim(countOf),
        now,
      );
  }

  #evictWhile(isFull: () => boolean, victimOf: () => StoredValue | undefined, now: Millis): void {
    while (isFull()) {
      const victim = victimOf();
      if (victim === undefined) return;
      this.#evict(victim, now);
    }
  }

  get #foreign(): number {
    return this.#count - this.#own;
  }

  #evict(stored: StoredValue, now: Millis): void {
    this.evicted++;
    this.#expire(stored, now);
  }

  stats() {
    return {
      keys: this.#keys.size,
      values: this.#count,
      ownValues: this.#own,
      bytes: this.#bytes,
      sources: this.#sources.size,
      changes: this.changes,
      evicted: this.evicted,
      refused: this.refused,
    };
  }
}

/** The value that has to go from one key: of the source with the most there, the one that expires next. */
function victimUnder(under: StoredKey, weigh: Weigh): StoredValue | undefined {
  const shares = new Map<AddressKey, SourceShare>();
  for (const stored of under.values.values()) {
    if (stored.source === undefined) continue;
    const share = shares.get(stored.source) ?? { values: new Set(), bytes: 0 };
    share.values.add(stored);
    share.bytes += stored.packed.length;
    shares.set(stored.source, share);
  }
  return soonest(heaviest(shares.values(), weigh)?.values ?? []);
}

type Weigh = (share: SourceShare) => number;

const bytesOf: Weigh = ({ bytes }) => bytes;
const countOf: Weigh = ({ values }) => values.size;

function heaviest(shares: Iterable<SourceShare>, weigh: Weigh): SourceShare | undefined {
  let most: SourceShare | undefined;
  for (const share of shares) if (most === undefined || weigh(share) > weigh(most)) most = share;
  return most;
}

function soonest(values: Iterable<StoredValue>): StoredValue | undefined {
  let first: StoredValue | undefined;
  for (const stored of values)
    if (first === undefined || stored.expiresAt < first.expiresAt) first = stored;
  return first;
}
