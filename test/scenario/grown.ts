import type { NetworkOptions } from '../sim/network.ts';
import { plainValue, type SimNode, World, type WorldOptions } from '../sim/world.ts';

/** Where stories begin: worlds of connected nodes. */

/** A bad evening: late, in another order, twice; how much is lost is the story's to say. */
export const BAD: NetworkOptions = {
  latencyMs: 20,
  spreadMs: 0,
  jitterMs: 60,
  loss: 0,
  duplicates: 0.1,
  stragglers: 0.05,
  stragglerMs: 400,
  uplinkBytesPerS: Number.POSITIVE_INFINITY,
  queueMs: 500,
};

/** Nodes all over a continent: 10 to 90 ms apart. */
export const FAR_APART: Partial<NetworkOptions> = { latencyMs: 10, spreadMs: 80, jitterMs: 5 };

/** A world of `count` connected nodes. */
export function grown(
  seed: number,
  count: number,
  options: WorldOptions = {},
): { world: World; nodes: SimNode[] } {
  const world = new World({ seed, ...options });
  const nodes = world.addMany(count);
  world.run(20_000);
  return { world, nodes };
}

export const node = (nodes: readonly SimNode[], index: number): SimNode => {
  const found = nodes[index];
  if (found === undefined) throw new Error(`no node ${index}`);
  return found;
};

/** A value of about a call's size. */
export const kilobytes = (id: bigint, size = 1800) =>
  plainValue(id, new Uint8Array(size).fill(Number(id)));
