import type { Millis } from '../../agent/base/clock.ts';
import { plainValue, type SimNode, World } from '../sim/world.ts';
import { FAR_APART } from './grown.ts';

export interface PartitionOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly apartMs: Millis;
  /** While they are apart all nodes but the two entries are replaced: nobody remembers the other side. */
  readonly strangers?: boolean;
  /** Between the end of the partition and the gets. Nobody does anything meanwhile that would bring the two together. */
  readonly healMs: Millis;
}

/** Shares of gets that found their value. */
export interface Healing {
  /** While apart, a value of the own side, and of the other. */
  readonly ownSideApart: number;
  readonly otherSideApart: number;
  /** Afterwards, from each side for values of each side. */
  readonly healed: number;
}

const MINUTE = 60_000;

/** Two halves live apart for long, values are put on both sides, then the wall is gone. */
export function partition(options: PartitionOptions): Healing {
  const { seed, nodes: count, apartMs, healMs, strangers = false } = options;
  const world = new World({ seed, network: FAR_APART });
  // Everybody was told of the same two nodes, as one is of public ones. Each side has one of them.
  const entries = [world.add(), world.add()] as const;
  const sides: readonly [SimNode[], SimNode[]] = [[entries[0]], [entries[1]]];
  entries[1].bootstrap(entries[0]);
  const join = (side: number) => {
    const node = world.add();
    sides[side]?.push(node);
    world.network.moveToSide(node.address, isApart ? side : 0);
    node.bootstrap(...entries);
    world.run(200);
  };
  let isApart = false;
  for (let i = 2; i < count; i++) join(i % 2);
  world.run(MINUTE);
  isApart = true;
  for (const { address } of sides[1]) world.network.moveToSide(address, 1);
  world.run(apartMs / 2);
  if (strangers) {
    for (const [side, nodes] of sides.entries()) {
      for (const old of nodes.splice(1)) {
        old.kill();
        join(side);
      }
    }
  }
  world.run(apartMs / 2);

  // Permanent: they are to be found for longer than their lifetime of ten minutes.
  const values = Array.from({ length: 20 }, (_, i) => {
    const key = world.randomHash();
    const side = i % 2;
    world.pick(sides[side] ?? []).put(key, plainValue(BigInt(i + 1), 'here'), true);
    return { key, side };
  });
  world.run(MINUTE);
  const shareFound = (readerSide: (valueSide: number) => number): number => {
    const found = values.filter(({ key, side }) => {
      const reader = world.pick(sides[readerSide(side)] ?? []);
      const get = reader.get(key);
      world.runUntil(() => reader.isDone(get), 30_000);
      return reader.values(get).length > 0;
    });
    return found.length / values.length;
  };
  const own = (side: number) => side;
  const other = (side: number) => 1 - side;
  const [ownSideApart, otherSideApart] = [shareFound(own), shareFound(other)];

  for (const { address } of sides[1]) world.network.moveToSide(address, 0);
  world.run(healMs);
  return { ownSideApart, otherSideApart, healed: (shareFound(own) + shareFound(other)) / 2 };
}
