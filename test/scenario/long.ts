import { parseArgs } from 'node:util';
import { bigWorld, mean, measureLookups, percentile } from './lookups.ts';
import { behindNats, mixedRing } from './nat.ts';
import { partition } from './partition.ts';
import { collectedHeap, soak } from './soak.ts';
import { survival } from './survival.ts';
import { sybilAttack } from './sybil.ts';

/**
 * The long runs of the simulated world: `npm run sim -- NAME [--seed N] [--nodes N] [--hours N] [--days N]`. They print
 * numbers and assert nothing; docs/benchmarks.md and docs/dht-in-a-bad-world.md keep them.
 */

interface Settings {
  readonly seed: number;
  readonly nodes: number | undefined;
  readonly hours: number;
  readonly days: number;
}

const MINUTE = 60_000;
const print = (...columns: readonly (string | number | boolean)[]) =>
  process.stdout.write(`${columns.join(' | ')}\n`);
const round = (number: number, digits = 2) => Number(number.toFixed(digits));

const RUNS: Readonly<Record<string, (settings: Settings) => void>> = {
  lookups({ seed, nodes }) {
    print(
      'nodes',
      'hops mean',
      'p99',
      'messages mean',
      'p99',
      'ms mean',
      'p99',
      'closest found',
      'KB heap a node',
    );
    for (const count of nodes === undefined ? [100, 1000, 10_000] : [nodes]) {
      const before = collectedHeap();
      const world = bigWorld(seed, count);
      const kilobytes = (collectedHeap() - before) / 1024 / count;
      const lookups = measureLookups(world, 300);
      const columns = (['hops', 'messages', 'ms'] as const).flatMap((name) => {
        const numbers = lookups.map((lookup) => lookup[name]);
        return [round(mean(numbers)), round(percentile(numbers, 0.99))];
      });
      const accuracy = mean(lookups.map((lookup) => lookup.accuracy));
      print(count, ...columns, `${round(100 * accuracy)} %`, round(kilobytes, 0));
    }
  },

  survival({ seed, nodes = 100, hours }) {
    const begin = { seed, nodes, hours, replacedPerHour: 0.5, values: 20 };
    const stories = {
      'permanent, the publisher stays': { permanent: true },
      'put once': { permanent: false },
      'put once, all nodes republish': { permanent: false, node: { republish: true } },
    };
    print('story', 'hour', 'found', 'copies');
    for (const [name, story] of Object.entries(stories))
      for (const { hour, found, copies } of survival({ ...begin, ...story }))
        print(name, hour, `${round(100 * found, 0)} %`, round(copies, 1));
  },

  partition({ seed, nodes = 40 }) {
    print(
      'apart, min',
      'all replaced meanwhile',
      'min after',
      'own side while apart',
      'other side',
      'healed',
    );
    for (const apart of [5, 45, 180])
      for (const strangers of [false, true])
        for (const after of [5, 15, 35]) {
          const [apartMs, healMs] = [apart * MINUTE, after * MINUTE];
          const result = partition({ seed, nodes, apartMs, healMs, strangers });
          print(apart, strangers, after, ...Object.values(result).map((share) => round(share)));
        }
  },

  nat({ seed, nodes = 60 }) {
    print('mapping, s', 'NAT', 'acknowledged', 'found', 'finds', 'hears', 'serves');
    for (const seconds of [5, 30, 120])
      for (const row of behindNats({ seed, open: nodes, idleMs: seconds * 1000 }))
        print(seconds, ...Object.values(row));
    print('open', 'puts', 'found', 'get median ms', 'worst ms');
    for (const share of [1, 0.8, 0.5, 0.3, 0.15]) {
      const { put, found, medianMs, worstMs } = mixedRing(seed, nodes, share);
      print(`${100 * share} %`, put, found, round(medianMs, 0), round(worstMs, 0));
    }
  },

  sybil({ seed, nodes = 100 }) {
    print('comes', 'answers', 'sybils', 'found', 'heard', 'other keys', 'forgeries believed');
    for (const comesLate of [false, true])
      for (const attack of ['nothing', 'garbage', 'no token'] as const)
        for (const sybils of [4, 8, 16, 32]) {
          const damages = [0, 1, 2].map((more) =>
            sybilAttack({ seed: seed + more, honest: nodes, sybils, attack, comesLate }),
          );
          const columns = (['found', 'heard', 'othersFound', 'forgeriesBelieved'] as const).map(
            (name) => `${round(100 * mean(damages.map((damage) => damage[name])), 0)} %`,
          );
          print(comesLate ? 'half an hour before' : 'first', attack, sybils, ...columns);
        }
  },

  soak({ seed, nodes = 6, days }) {
    print('day', 'heap MB', 'values', 'searches', 'jobs', 'known nodes');
    for (const { day, heapBytes, kept, searches, jobs, nodes: known } of soak(seed, nodes, days))
      print(day, round(heapBytes / 2 ** 20, 1), kept, searches, jobs, known);
  },
};

const number = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  options: { seed: number, nodes: number, hours: number, days: number },
  allowPositionals: true,
});
const [name = ''] = positionals;
const run = RUNS[name];
if (run === undefined) {
  process.stderr.write(`no long run "${name}"; there are ${Object.keys(RUNS).join(', ')}\n`);
  process.exit(2);
}
const seed = Number(values.seed ?? process.env['SIM_SEED'] ?? 1);
const { nodes, hours, days } = values;
process.stdout.write(`${name}, seed ${seed}\n`);
run({
  seed,
  nodes: nodes === undefined ? undefined : Number(nodes),
  hours: Number(hours ?? 24),
  days: Number(days ?? 7),
});
