import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { plainValue, World } from '../sim/world.ts';

export interface SoakDay {
  readonly day: number;
  /** Of the whole process, after a collection: the engines and what the simulation itself keeps. */
  readonly heapBytes: number;
  /** What the busy node keeps. */
  readonly kept: number;
  readonly searches: number;
  readonly jobs: number;
  readonly nodes: number;
}

/**
 * One busy node among a few: each minute it puts, gets and listens under keys of their own, keeps some values permanently
 * for a while, and stops again. Every hour one of its neighbours is replaced by one with a new id.
 */
export function* soak(seed: number, nodes: number, days: number): Generator<SoakDay> {
  const world = new World({ seed });
  const busy = world.add();
  world.addMany(nodes - 1);
  world.run(60_000);
  for (let day = 1; day <= days; day++) {
    for (let hour = 0; hour < 24; hour++) {
      for (let minute = 0; minute < 60; minute++) {
        const [key, other] = [world.randomHash(), world.randomHash()];
        const value = plainValue(BigInt(minute + 1), new Uint8Array(500));
        const put = busy.put(key, value, minute % 10 === 0);
        const listen = busy.listen(other);
        const get = busy.get(key);
        world.run(60_000);
        busy.cancel(listen);
        world.turn(busy, (now) => busy.dht.cancelPut(key, value.id, now));
        for (const operation of [put, listen, get]) busy.forget(operation);
      }
      world.pick(world.nodes.filter((node) => node !== busy)).kill();
      world.addOne();
    }
    const { storage, searches4, jobs, rpc } = busy.dht.stats();
    yield {
      day,
      heapBytes: collectedHeap(),
      kept: storage.values,
      searches: searches4,
      jobs,
      nodes: rpc.nodes4,
    };
  }
}

/** The collector is not at hand unless asked for; a test must not depend on flags of the command line. */
export function collectedHeap(): number {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  collect();
  return process.memoryUsage().heapUsed;
}
