import type { Dht } from '../../agent/dht/dht.ts';
import { CAPS, sizesAndCounters } from '../../agent/dht/sizes.ts';
import { flatten } from '../../agent/flatten.ts';

/**
 * What one of everything that strangers can make a node keep costs at most, the maps that hold it included, bytes. What our
 * own gets, puts and listens hold has caps for each of them and counts with the program that begins them.
 */
const BYTES_EACH: Readonly<Record<string, number>> = {
  'rpc.nodes4': 1200,
  'rpc.nodes6': 1200,
  'rpc.pending': 2200,
  'rpc.requestBytes': 1,
  'rpc.assemblies': 1500,
  'rpc.assemblyBytes': 1,
  'rpc.partQueueBytes': 1,
  'rpc.blacklist': 200,
  // With a query of the longest kind: 70 filters.
  'server.listeners': 8000,
  'storage.values': 1000,
  'storage.bytes': 1,
};

/** The sizes that are over their caps, as text. */
export function brokenCaps(stats: ReturnType<Dht['stats']>): string[] {
  return brokenSizes(flatten(stats));
}

/** @param stats with the paths of its numbers for keys, as the control socket gives them */
export function brokenSizes(stats: Readonly<Record<string, number>>): string[] {
  return sizesAndCounters(stats)
    .sizes.filter(({ size, cap }) => size > cap)
    .map(({ name, size, cap }) => `${name}: ${size}, the cap is ${cap}`);
}

/** What a node of one or both families can be made to keep by all strangers together, bytes. */
export function sumOfCaps(): number {
  return Object.entries(BYTES_EACH).reduce((sum, [name, each]) => {
    const cap = CAPS[name];
    if (cap === undefined) throw new Error(`${name} has no cap`);
    return sum + cap * each;
  }, 0);
}
