import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import { DecodeError } from '../base/errors.ts';
import {
  type AddressKey,
  type Family,
  familyOf,
  isMartian,
  type ListedNode,
  sourceIp,
  sourceKey,
} from './addresses.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS } from './limits.ts';
import type { RoutingTable } from './routing-table.ts';
import type { Rpc } from './rpc.ts';
import type { DatedValue, KeptValue, StateToKeep } from './state-file.ts';
import type { Storage, StoredValue } from './storage.ts';
import type { Value } from './value.ts';
import { unpackValue } from './value-codec.ts';
import { admit, announcedAddress, lifetimeMs, type ValuePolicy } from './value-types.ts';

/** Pays for stored values whose file does not say who brought them: 0.0.0.0, which nobody can be. */
const UNKNOWN_SOURCE: AddressKey = 0;

/** About what the file needs for a value beside its content: key, source, dates, headers. */
const BYTES_PER_VALUE = 100;

export interface RestartOptions {
  readonly self: InfoHash;
  readonly rpc: Rpc;
  readonly tables: ReadonlyMap<Family, RoutingTable>;
  readonly storage: Storage;
  readonly policy: ValuePolicy;
}

/** What a node takes over a restart: the nodes that it knows to be there, and what it stores for others. */
export class Restart {
  readonly #options: RestartOptions;

  constructor(options: RestartOptions) {
    this.#options = options;
  }

  /** Good nodes, the own buckets of both families first: who is near us is hardest to find again. */
  nodes(now: Millis): ListedNode[] {
    const tables = [...this.#options.tables.values()];
    const buckets = [
      ...tables.map((table) => table.buckets.at(-1)),
      ...tables.flatMap((table) => table.buckets.slice(0, -1).reverse()),
    ];
    return buckets
      .flatMap((bucket) => bucket?.nodes ?? [])
      .filter((node) => node.isGood(now))
      .slice(0, LIMITS.stateNodes)
      .map(({ id, address }) => ({ id, address }));
  }

  /**
   * Values of others, as many as fit into the file. Our own are not among them: the program announces those again.
   * What is in it is decided now; each is dated when it is asked for.
   * @param unixMs wall clock at monotonic `now`
   */
  values(unixMs: number, now: Millis): Pick<StateToKeep, 'keys' | 'values'> {
    const chosen: StoredValue[] = [];
    let bytes = LIMITS.stateNodes * BYTES_PER_VALUE;
    let keys = 0;
    for (const stored of this.#options.storage.foreign()) {
      bytes += stored.packed.length + BYTES_PER_VALUE;
      if (bytes > LIMITS.stateBytes || chosen.length === LIMITS.stateValues) break;
      if (chosen.at(-1)?.key !== stored.key && !chosen.at(-1)?.key.equals(stored.key)) keys++;
      chosen.push(stored);
    }
    const clock = unixMs - now;
    return {
      keys,
      values: {
        *[Symbol.iterator]() {
          for (const stored of chosen) yield dated(stored, clock);
        },
      },
    };
  }

  /** Known from now on, but not confirmed: given out to nobody before they answer. */
  restoreNodes(nodes: readonly ListedNode[], now: Millis): Address[] {
    const { self, rpc, tables } = this.#options;
    const addresses: Address[] = [];
    for (const { id, address } of nodes) {
      const table = tables.get(familyOf(address));
      const node = rpc.nodes(familyOf(address));
      if (table === undefined || node === undefined || id.equals(self)) continue;
      if (id.isZero || isMartian(address)) continue;
      table.insert(node.listed(id, address, now), now);
      addresses.push(address);
    }
    return addresses;
  }

  /**
   * Store what was stored before, if the network could have brought it: the same rules hold (opendht.md 11), and nobody gets
   * more than the lifetime of its type from now on, whatever the file says.
   * @param unixMs undefined as long as nobody told us: the value then has a whole lifetime, like a put without date
   * @returns whether it is stored now
   */
  restoreValue(kept: KeptValue, unixMs: number | undefined, now: Millis): boolean {
    const { storage, policy } = this.#options;
    const value = unpacked(kept.packed);
    if (value === undefined || value.id === 0n) return false;
    const left = remainingMs(kept, value, unixMs);
    if (left <= 0) return false;
    // What came in since the start is newer.
    if (storage.find(kept.key, value.id) !== undefined) return false;
    const source = kept.source === undefined ? UNKNOWN_SOURCE : sourceKey(kept.source);
    const from = announcedAddress(value) ?? { ip: kept.source ?? new Uint8Array(4), port: 0 };
    // An IP announcement is believed because it came from the address it names.
    if (sourceKey(from.ip) !== source) return false;
    const admitted = admit(kept.key, value, from, policy);
    return admitted !== undefined && storage.put(kept.key, admitted, source, now + left, now);
  }
}

function dated({ key, value, packed, source, expiresAt }: StoredValue, clock: Millis): DatedValue {
  const expiresUnixMs = Math.round(expiresAt + clock);
  return {
    key,
    packed,
    source: source === undefined || source === UNKNOWN_SOURCE ? undefined : sourceIp(source),
    createdUnixMs: expiresUnixMs - lifetimeMs(value),
    expiresUnixMs,
  };
}

function unpacked(packed: Uint8Array): Value | undefined {
  try {
    return unpackValue(packed);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

function remainingMs(
  { expiresUnixMs }: KeptValue,
  value: Value,
  unixMs: number | undefined,
): Millis {
  const lifetime = lifetimeMs(value);
  if (expiresUnixMs === undefined || unixMs === undefined) return lifetime;
  return Math.min(expiresUnixMs - unixMs, lifetime);
}
