import { LIMITS } from './limits.ts';

/** For people: what of `Dht.stats` is the size of something bounded, beside its bound. */

export interface Size {
  readonly name: string;
  readonly size: number;
  readonly cap: number;
}

/** Caps by the path of the size in `Dht.stats()`. */
export const CAPS: Readonly<Record<string, number>> = {
  'storage.bytes': LIMITS.storageBytes,
  'storage.values': LIMITS.storageValues,
  'storage.ownValues': LIMITS.ownValues,
  'server.listeners': LIMITS.listeners,
  buckets4: LIMITS.buckets,
  buckets6: LIMITS.buckets,
  'rpc.nodes4': LIMITS.nodes,
  'rpc.nodes6': LIMITS.nodes,
  searches4: LIMITS.searches,
  searches6: LIMITS.searches,
  // They share one cap.
  gets: LIMITS.operations,
  puts: LIMITS.operations,
  listens: LIMITS.operations,
  lingeringListens: LIMITS.lingeringListens,
  sockets: LIMITS.sockets,
  heardBytes: LIMITS.heardBytes,
  events: LIMITS.events,
  republishing: LIMITS.republishValues,
  'rpc.pending': LIMITS.requests,
  'rpc.requestBytes': LIMITS.requestBytes,
  'rpc.assemblies': LIMITS.assemblies,
  'rpc.assemblyBytes': LIMITS.assemblyBytes,
  'rpc.partQueueBytes': LIMITS.partQueueBytes,
  'rpc.partDestinations': LIMITS.partDestinations,
  'rpc.outputs': LIMITS.outputs,
  'rpc.rateSources': LIMITS.rateSources,
  'server.checkSources': LIMITS.rateSources,
  'rpc.reportedAddresses4': LIMITS.reportedAddresses,
  'rpc.reportedAddresses6': LIMITS.reportedAddresses,
  'rpc.blacklist': LIMITS.blacklist,
};

/**
 * @param stats `Dht.stats()` with the paths of its numbers for keys: `rpc.nodes4`
 * @returns the sizes beside their caps, and whatever else was counted
 */
export function sizesAndCounters(stats: Readonly<Record<string, number>>): {
  readonly sizes: Size[];
  readonly counters: Record<string, number>;
} {
  const sizes = Object.entries(CAPS).flatMap(([name, cap]) => {
    const size = stats[name];
    return size === undefined ? [] : [{ name, size, cap }];
  });
  const counters = Object.entries(stats).filter(([name]) => !Object.hasOwn(CAPS, name));
  return { sizes, counters: Object.fromEntries(counters) };
}
