import type { Millis } from '../../agent/base/clock.ts';
import { compareDistance, type InfoHash } from '../../agent/dht/infohash.ts';
import { PROTOCOL } from '../../agent/dht/limits.ts';
import { LookupProbe } from '../sim/lookup-probe.ts';
import { type SimNode, World } from '../sim/world.ts';
import { FAR_APART } from './grown.ts';

export interface Lookup {
  readonly hops: number;
  readonly messages: number;
  readonly ms: Millis;
  /** Of the 8 nodes that are truly closest, how many were among the closest 8 that answered: 0 to 1. */
  readonly accuracy: number;
}

/** `count` connected nodes, 10 to 95 ms apart, that joined within seconds of each other. Growing is not what is measured. */
export function bigWorld(seed: number, count: number): World {
  const world = new World({ seed, network: FAR_APART });
  world.addMany(count, {}, Math.max(5, 2000 / count));
  world.run(5000);
  return world;
}

/** `count` gets of keys that hold nothing, each from a random node, one after the other. */
export function measureLookups(world: World, count: number): Lookup[] {
  return Array.from({ length: count }, () => {
    const asker = world.pick(world.nodes);
    const key = world.randomHash();
    const probe = new LookupProbe(asker, key);
    world.taps.add(probe);
    const start = world.now;
    const get = asker.get(key);
    if (!world.runUntil(() => asker.isDone(get), 60_000)) throw new Error('a get took a minute');
    world.taps.delete(probe);
    asker.forget(get);
    const { hops, messages, found } = probe;
    const ms = world.now - start;
    return { hops, messages, ms, accuracy: shareOf(found, closest(world, key, asker)) };
  });
}

/** The ids of the nodes other than `asker` that are closest to `key`. */
export function closest(world: World, key: InfoHash, asker?: SimNode): InfoHash[] {
  return world.nodes
    .filter((node) => node !== asker)
    .map(({ id }) => id)
    .sort((a, b) => compareDistance(key, a, b))
    .slice(0, PROTOCOL.targetNodes);
}

function shareOf(found: readonly InfoHash[], wanted: readonly InfoHash[]): number {
  return wanted.filter((id) => found.some((other) => other.equals(id))).length / wanted.length;
}

export const mean = (numbers: readonly number[]): number =>
  numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

/** The value below which `share` of the numbers lie. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
