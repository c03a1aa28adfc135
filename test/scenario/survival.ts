import { Churn } from '../sim/churn.ts';
import type { NodeOptions } from '../sim/world.ts';
import { plainValue, World } from '../sim/world.ts';
import { FAR_APART } from './grown.ts';

export interface SurvivalOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly hours: number;
  /** Of all nodes, in each hour. */
  readonly replacedPerHour: number;
  /** How many values, each under a key of its own. */
  readonly values: number;
  /** Permanent puts of nodes that stay; else each is put once and its publisher is replaced like all others. */
  readonly permanent: boolean;
  /** What every node is. */
  readonly node?: NodeOptions;
}

export interface SurvivalHour {
  readonly hour: number;
  /** Of the values, those that a get from a random node found. */
  readonly found: number;
  /** Nodes that hold a value for others, mean. */
  readonly copies: number;
}

/** Trust requests live 7 days (opendht.md 11): it is the nodes that die here, not the values. */
const SEVEN_DAYS = 4;

/** Values are put, nodes are replaced: what is still found, hour by hour? */
export function survival(options: SurvivalOptions): SurvivalHour[] {
  const { seed, nodes, hours, replacedPerHour, values, permanent, node = {} } = options;
  const world = new World({ seed, network: FAR_APART });
  world.addMany(nodes, node);
  world.run(60_000);
  const publishers = world.nodes.slice(0, 4);
  const stored = Array.from({ length: values }, (_, i) => {
    const key = world.randomHash();
    const value = plainValue(BigInt(i + 1), `value ${i}`, permanent ? 0 : SEVEN_DAYS);
    world.pick(permanent ? publishers : world.nodes).put(key, value, permanent);
    return { key, value };
  });
  world.run(60_000);
  const churn = new Churn(world, {
    replacedPerHour,
    keep: permanent ? publishers : [],
    newcomer: node,
  });
  const report: SurvivalHour[] = [];
  for (let hour = 1; hour <= hours; hour++) {
    world.run(3_600_000);
    let found = 0;
    for (const { key, value } of stored) {
      const reader = world.pick(world.nodes.filter((other) => !publishers.includes(other)));
      const get = reader.get(key);
      world.runUntil(() => !reader.alive || reader.isDone(get), 30_000);
      if (reader.values(get).some(({ id }) => id === value.id)) found++;
    }
    const copies = world.nodes.reduce((sum, { dht }) => {
      const { storage } = dht.stats();
      return sum + storage.values - storage.ownValues;
    }, 0);
    report.push({ hour, found: found / values, copies: copies / values });
  }
  churn.stop();
  return report;
}
