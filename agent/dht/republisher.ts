import type { Millis } from '../base/clock.ts';
import type { Family } from './addresses.ts';
import { compareDistance, type InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import { PutOperation } from './operation.ts';
import type { RoutingTable } from './routing-table.ts';
import type { Scheduler } from './scheduler.ts';
import type { Searches } from './searches.ts';
import type { Storage, StoredValue } from './storage.ts';
import { lifetimeMs } from './value-types.ts';

export interface RepublisherOptions {
  readonly self: InfoHash;
  readonly scheduler: Scheduler;
  readonly storage: Storage;
  readonly tables: ReadonlyMap<Family, RoutingTable>;
  readonly searches: ReadonlyMap<Family, Searches>;
  /** Wall clock ms at monotonic `now`; undefined as long as nobody told us: nothing is handed over without dates. */
  readonly unixMs: (now: Millis) => number | undefined;
  /** Somebody listens here on `key`, so its values stay. */
  readonly isListenedTo: (key: InfoHash) => boolean;
}

interface HandOver {
  readonly stored: StoredValue;
  readonly families: readonly Family[];
  /** We are one of the right nodes for it ourselves: it stays here as well. */
  readonly stays: boolean;
}

/**
 * Hands the values of others to the nodes that are closer to their keys by now (opendht.md 17, "Maintenance"): every 10
 * minutes those that it is no longer one of the right nodes for, and all of them before it goes. A value keeps the end of
 * its life, and is forgotten here only when enough others have it. Our own values are announced by their puts.
 *
 * More than the reference does: it also puts a value to the closest nodes when one of them is there only since the value
 * was last put, by whomever. A holder that stays would else tell none of its new neighbours, and the value would die with
 * the last holder. Who does it first spares the others (Maymounkov & Mazières §2.5).
 */
export class Republisher {
  readonly #options: RepublisherOptions;
  /** Not begun. */
  #queue: HandOver[] = [];
  #underWay = 0;
  #pumping = false;
  #onLeft: (() => void) | undefined;
  handedOver = 0;
  /** Told to new neighbours. */
  shared = 0;
  /** Kept, since too few took them; the next round tries again. */
  failed = 0;
  /** Left for a later round, or for nobody at the end: one round takes so many and no more. */
  postponed = 0;

  constructor(options: RepublisherOptions) {
    this.#options = options;
  }

  /** Values that wait or are on their way. */
  get size(): number {
    return this.#queue.length + this.#underWay;
  }

  start(now: Millis): void {
    this.#options.scheduler.schedule(now + PROTOCOL.republishMs, (then) => {
      if (this.size === 0) this.#begin(this.#due(then), then);
      this.start(then);
    });
  }

  /** Hand over everything: the node goes. `onLeft` is called once, when that is done or takes too long. */
  leave(onLeft: () => void, now: Millis): void {
    this.#onLeft = onLeft;
    const connected = this.#families(now);
    const all: HandOver[] = [];
    for (const stored of this.#options.storage.foreign())
      if (connected.length > 0) all.push({ stored, families: connected, stays: false });
    this.#options.scheduler.schedule(now + LIMITS.leaveMs, () => this.#left());
    this.#begin(all, now);
  }

  #left(): void {
    const onLeft = this.#onLeft;
    this.#onLeft = undefined;
    onLeft?.();
  }

  /** Those where there are nodes to hand something to. */
  #families(now: Millis): Family[] {
    return [...this.#options.tables]
      .filter(([, table]) => table.count(now).good > 0)
      .map(([family]) => family);
  }

  /**
   * The values whose closest 8 nodes we are none of any more, or have new ones among them, and that live long enough to be
   * worth it.
   */
  #due(now: Millis): HandOver[] {
    const { storage, isListenedTo } = this.#options;
    const families = this.#families(now);
    if (families.length === 0) return [];
    const found: HandOver[] = [];
    for (const stored of storage.foreign()) {
      const { key, expiresAt, putAt } = stored;
      if (expiresAt <= now + PROTOCOL.republishLeastLifeMs) continue;
      const stays = isListenedTo(key) || families.some((family) => this.#isClose(key, family, now));
      const isTold =
        putAt > now - PROTOCOL.republishMs ||
        !families.some((family) => this.#hasNewcomer(stored, family, now));
      if (!stays || !isTold) found.push({ stored, families, stays });
    }
    return found;
  }

  /** Is one of its closest nodes there only since it was last put? */
  #hasNewcomer({ key, putAt }: StoredValue, family: Family, now: Millis): boolean {
    const closest = this.#options.tables.get(family)?.closestGood(key, PROTOCOL.targetNodes, now);
    return closest?.some(({ thereSince }) => thereSince > putAt) ?? false;
  }

  #isClose(key: InfoHash, family: Family, now: Millis): boolean {
    const { self, tables } = this.#options;
    const closest = tables.get(family)?.closestGood(key, PROTOCOL.targetNodes, now) ?? [];
    const eighth = closest[PROTOCOL.targetNodes - 1];
    return eighth === undefined || compareDistance(key, self, eighth.id) < 0;
  }

  #begin(found: HandOver[], now: Millis): void {
    this.#queue = found.slice(0, LIMITS.republishValues);
    this.postponed += found.length - this.#queue.length;
    this.#pump(now);
  }

  #pump(now: Millis): void {
    // A put that cannot even begin is done at once.
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#underWay < LIMITS.republishAtOnce) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      this.#handOver(next, now);
    }
    this.#pumping = false;
    if (this.size === 0) this.#left();
  }

  #handOver({ stored, families, stays }: HandOver, now: Millis): void {
    const { storage, searches, unixMs } = this.#options;
    const { key, value, expiresAt } = stored;
    const wallMs = unixMs(now);
    // It may have expired or been replaced while it waited.
    if (wallMs === undefined || storage.find(key, value.id) !== stored) return;
    const createdMs = wallMs + (expiresAt - now) - lifetimeMs(value);
    const onDone = (acknowledged: number, then: Millis) => {
      this.#underWay--;
      if (acknowledged < LIMITS.republishAcks) {
        this.failed++;
      } else if (stays) {
        this.shared++;
        stored.putAt = then;
      } else {
        this.handedOver++;
        storage.forget(stored);
      }
      this.#pump(then);
    };
    const put = new PutOperation(
      {
        key,
        value,
        permanent: false,
        created: Math.floor(createdMs / 1000),
        families,
        onStored: () => {},
        onDone,
      },
      now,
    );
    this.#underWay++;
    for (const family of families) {
      const search = searches.get(family)?.open(key, now);
      if (search === undefined) put.done(family, now);
      else search.addPut(put, now);
    }
  }

  stats() {
    return {
      republishing: this.size,
      handedOver: this.handedOver,
      sharedWithNewcomers: this.shared,
      handOversFailed: this.failed,
      handOversPostponed: this.postponed,
    };
  }
}
