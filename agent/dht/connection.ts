import type { Millis } from '../base/clock.ts';
import type { Family } from './addresses.ts';
import type { Bootstrap } from './bootstrap.ts';
import type { ConnectionState, DhtState, EventQueue } from './events.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS } from './limits.ts';
import type { Maintenance } from './maintenance.ts';
import type { RoutingTable } from './routing-table.ts';
import type { Rpc } from './rpc.ts';
import type { Searches } from './searches.ts';

/** Staying in touch in one family. */
export interface FamilyState {
  readonly table: RoutingTable;
  readonly maintenance: Maintenance;
}

export interface ConnectionOptions {
  readonly self: InfoHash;
  readonly rpc: Rpc;
  readonly events: EventQueue;
  readonly families: ReadonlyMap<Family, FamilyState>;
  readonly searches: ReadonlyMap<Family, Searches>;
  readonly bootstrap: Bootstrap;
  /** Our address does not change, so a search that loses its nodes says nothing about our line. */
  readonly publicStable: boolean;
}

/** Are we in touch with the network (opendht.md 15.3), and what is done when that changes? */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #lostAt = new Map<Family, Millis>();
  #state: ConnectionState = 'disconnected';

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** As it was last told. */
  get lastState(): ConnectionState {
    return this.#state;
  }

  /** Good nodes now, and what that makes us. */
  state(now: Millis): DhtState {
    const { families, bootstrap } = this.#options;
    const of = (family: Family) =>
      families.get(family)?.table.count(now) ?? { good: 0, dubious: 0 };
    const [v4, v6] = [of(4), of(6)];
    const state: ConnectionState =
      v4.good + v6.good > 0
        ? 'connected'
        : v4.dubious + v6.dubious > 0 || bootstrap.isPending
          ? 'connecting'
          : 'disconnected';
    return { state, peers4: v4.good, peers6: v6.good };
  }

  /** Something happened that may have changed it. */
  update(now: Millis): void {
    // With each answer of a new node: as long as one is good, nobody need be counted.
    if (this.#state === 'connected')
      for (const { table } of this.#options.families.values()) if (table.hasGood(now)) return;
    const current = this.state(now);
    const before = this.#state;
    if (current.state === before) return;
    this.#state = current.state;
    this.#options.events.push({ type: 'state', ...current });
    if (current.state === 'connected') this.#findNeighbours(now);
    else if (before === 'connected') this.#options.bootstrap.restart(now);
  }

  /** Newly connected: get to know the nodes around us, and make ourselves known to them. */
  #findNeighbours(now: Millis): void {
    const { self, searches } = this.#options;
    for (const ofFamily of searches.values()) {
      ofFamily.open(self, now)?.find(now);
      for (const search of ofFamily) search.resume(now);
    }
  }

  /** A search lost all its nodes: perhaps it is our line that is gone. */
  searchLost(family: Family, now: Millis): void {
    if (this.#options.publicStable) return;
    const lostAt = this.#lostAt.get(family) ?? Number.NEGATIVE_INFINITY;
    if (now < lostAt + LIMITS.lostPauseMs) return;
    this.#lostAt.set(family, now);
    this.changed(family, now);
  }

  /** @see Dht.connectivityChanged */
  changed(family: Family, now: Millis): void {
    const { rpc, families } = this.#options;
    rpc.reported[family].clear();
    rpc.giveAnotherChance(family);
    families.get(family)?.maintenance.connectivityChanged(now);
    this.update(now);
  }
}
