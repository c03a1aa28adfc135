import type { Dht } from '../../agent/dht/dht.ts';
import { LIMITS } from '../../agent/dht/limits.ts';

/** One thing that a stranger can make a node keep. */
export interface Cap {
  readonly name: string;
  readonly size: number;
  readonly limit: number;
  /** What one of it costs in memory at most, the maps that hold it included. */
  readonly bytesEach: number;
}

/**
 * Everything in the statistics of a node that strangers can raise, with its cap. What our own gets and listens hold has
 * caps for each operation and counts with the program that begins them.
 */
export function capsOf({ rpc, server, storage }: ReturnType<Dht['stats']>): Cap[] {
  const cap = (name: string, size: number, limit: number, bytesEach: number): Cap => ({
    name,
    size,
    limit,
    bytesEach,
  });
  return [
    cap('nodes of IPv4', rpc.nodes4, LIMITS.nodes, 1200),
    cap('nodes of IPv6', rpc.nodes6, LIMITS.nodes, 1200),
    cap('requests under way', rpc.pending, LIMITS.requests, 2200),
    cap('bytes of requests', rpc.requestBytes, LIMITS.requestBytes, 1),
    cap('half-received messages', rpc.assemblies, LIMITS.assemblies, 1500),
    cap('bytes of half-received messages', rpc.assemblyBytes, LIMITS.assemblyBytes, 1),
    cap('bytes of parts to be sent', rpc.partQueueBytes, LIMITS.partQueueBytes, 1),
    cap('blacklist', rpc.blacklist, LIMITS.blacklist, 200),
    cap('listeners', server.listeners, LIMITS.listeners, 2500),
    // Own values are the program's; what is stored is kept twice, as it came in and as it goes out.
    cap('stored values', storage.values - storage.ownValues, LIMITS.storageValues, 1000),
    cap('bytes of stored values', storage.bytes, LIMITS.storageBytes, 2),
  ];
}

/** The caps that do not hold, as text. */
export function brokenCaps(stats: ReturnType<Dht['stats']>): string[] {
  return capsOf(stats)
    .filter(({ size, limit }) => !(size <= limit))
    .map(({ name, size, limit }) => `${name}: ${size}, the cap is ${limit}`);
}

/** What a node can be made to keep by all strangers together, bytes. */
export function sumOfCaps(stats: ReturnType<Dht['stats']>): number {
  return capsOf(stats).reduce((sum, { limit, bytesEach }) => sum + limit * bytesEach, 0);
}
