import type { Millis } from '../../agent/base/clock.ts';
import { LookupProbe } from '../sim/lookup-probe.ts';
import { NAT_TYPES, type NatType } from '../sim/nat.ts';
import { plainValue, type SimNode, World } from '../sim/world.ts';
import { FAR_APART } from './grown.ts';
import { percentile } from './lookups.ts';

/** What a node behind one kind of NAT can do. */
export interface BehindNat {
  readonly type: NatType | 'none';
  /** Storing nodes that acknowledged its put. */
  readonly acknowledged: number;
  /** Its value is found from elsewhere, and it finds one of elsewhere. */
  readonly isFound: boolean;
  readonly finds: boolean;
  /** After ten quiet minutes it hears of a value that another one behind a NAT of its kind puts. */
  readonly hears: boolean;
  /** Of newcomers that want what is closest to its id, how many get an answer of it: 0 to 1. */
  readonly serves: number;
}

export interface NatOptions {
  readonly seed: number;
  /** Nodes with an address of their own. */
  readonly open: number;
  /** How long mappings live without use. */
  readonly idleMs: Millis;
}

/** Two nodes behind each kind of NAT, each behind one of its own, among open ones. */
export function behindNats({ seed, open, idleMs }: NatOptions): BehindNat[] {
  const world = new World({ seed, network: FAR_APART });
  world.addMany(open);
  const pairs = ([...NAT_TYPES, 'none'] as const).map((type) => {
    const add = () => world.addOne(type === 'none' ? {} : { nat: world.addNat({ type, idleMs }) });
    return { type, one: add(), other: add() };
  });
  world.run(120_000);
  const openNodes = world.nodes.filter(({ nat }) => nat === undefined);

  const finds = (reader: SimNode, key: ReturnType<World['randomHash']>): boolean => {
    const get = reader.get(key);
    world.runUntil(() => reader.isDone(get), 30_000);
    return reader.values(get).length > 0;
  };
  return pairs.map(({ type, one, other }) => {
    const [theirs, elsewhere, quiet] = [world.randomHash(), world.randomHash(), world.randomHash()];
    const put = one.put(theirs, plainValue(1n, 'from behind'));
    world.pick(openNodes).put(elsewhere, plainValue(2n, 'from outside'));
    const listen = one.listen(quiet);
    world.runUntil(() => one.isDone(put), 30_000);
    const [done] = one.of(put).slice(-1);
    const isFound = finds(world.pick(openNodes), theirs);
    const found = finds(one, elsewhere);
    world.run(600_000);
    other.put(quiet, plainValue(3n, 'ring'));
    const hears = world.runUntil(() => one.values(listen).length > 0, 5000);
    return {
      type,
      acknowledged: done?.type === 'put.done' ? done.acknowledged : 0,
      isFound,
      finds: found,
      hears,
      serves: shareServed(world, one),
    };
  });
}

/** Newcomers look for the id of `node`. It has never spoken to them: does it answer? */
function shareServed(world: World, node: SimNode): number {
  const askers = 10;
  let served = 0;
  for (let i = 0; i < askers; i++) {
    const asker = world.addOne();
    // Before the maintenance of either has brought them together.
    world.run(1500);
    const probe = new LookupProbe(asker, node.id);
    world.taps.add(probe);
    const get = asker.get(node.id);
    world.runUntil(() => asker.isDone(get), 30_000);
    world.taps.delete(probe);
    if (probe.found.some((id) => id.equals(node.id))) served++;
    asker.kill();
  }
  return served / askers;
}

export interface MixedRing {
  /** Shares of puts that somebody acknowledged, and of gets that found what was put. */
  readonly put: number;
  readonly found: number;
  /** Median and slowest get. */
  readonly medianMs: Millis;
  readonly worstMs: Millis;
}

/** A ring in which only a part has an address of its own, the others are behind symmetric NATs. Values go all ways. */
export function mixedRing(seed: number, nodes: number, openShare: number): MixedRing {
  const world = new World({ seed, network: FAR_APART });
  const open = Math.round(nodes * openShare);
  world.addMany(open);
  for (let i = open; i < nodes; i++) {
    world.addOne({ nat: world.addNat({ type: 'symmetric', idleMs: 60_000 }) });
    world.run(200);
  }
  world.run(120_000);
  const times: Millis[] = [];
  const count = 40;
  let stored = 0;
  let found = 0;
  for (let i = 0; i < count; i++) {
    const [publisher, reader] = [world.pick(world.nodes), world.pick(world.nodes)];
    const key = world.randomHash();
    const put = publisher.put(key, plainValue(1n, 'x'));
    world.runUntil(() => publisher.isDone(put), 30_000);
    if (publisher.of(put).some(({ type }) => type === 'put.stored')) stored++;
    const start = world.now;
    const get = reader.get(key);
    world.runUntil(() => reader.isDone(get), 30_000);
    times.push(world.now - start);
    if (reader.values(get).length > 0) found++;
  }
  const [medianMs, worstMs] = [percentile(times, 0.5), Math.max(...times)];
  return { put: stored / count, found: found / count, medianMs, worstMs };
}
