import type { OperationId } from '../../agent/dht/operation.ts';
import { Churn } from '../sim/churn.ts';
import type { NetworkOptions } from '../sim/network.ts';
import { plainValue, type SimNode, World } from '../sim/world.ts';

/**
 * What a listen promises, whatever the network does meanwhile:
 *
 *   A value whose put was acknowledged by at least one node after the listen was confirmed, while that node and the
 *   listening node live, is told exactly once as there, within a minute, and exactly once as expired, one lifetime after a
 *   storing node last spoke of it: two lifetimes after the put at the latest, for a push does not say how old a value is.
 */
export interface ListenReport {
  /** Puts that at least one node acknowledged: those that the promise speaks of, times the listeners. */
  readonly promised: number;
  readonly missed: number;
  readonly toldTwice: number;
  /** Not told, told twice, or before its time, as expired. */
  readonly expiredWrongly: number;
}

export interface ListenOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly puts: number;
  readonly network: Partial<NetworkOptions>;
  readonly replacedPerHour: number;
}

const LIFETIME_MS = 600_000;

interface Published {
  readonly by: SimNode;
  readonly put: OperationId;
  readonly id: bigint;
}

export function listening(options: ListenOptions): ListenReport {
  const { seed, nodes, puts, network, replacedPerHour } = options;
  const world = new World({ seed });
  const listeners = world.addMany(3);
  world.addMany(nodes - 3);
  world.run(30_000);
  world.network.options = { ...world.network.options, ...network };
  const churn = new Churn(world, { replacedPerHour, keep: listeners });
  const key = world.randomHash();
  const listens = listeners.map((listener) => ({ listener, operation: listener.listen(key) }));
  world.run(20_000); // confirmed by now, at whatever loss

  const published: Published[] = [];
  for (let i = 0; i < puts; i++) {
    const by = world.pick(world.nodes);
    // Some of them fit into a datagram, others come in parts.
    const data = new Uint8Array(world.pick([20, 1500, 6000])).fill(i);
    published.push({ by, put: by.put(key, plainValue(BigInt(i + 1), data)), id: BigInt(i + 1) });
    world.run(world.random.fraction() * 15_000);
  }
  world.run(60_000);
  const stored = published.filter(({ by, put }) =>
    by.of(put).some(({ type }) => type === 'put.stored'),
  );
  const told = (id: bigint, expired: boolean) =>
    listens.map(
      ({ listener, operation }) =>
        listener
          .of(operation)
          .filter((event) => event.type === 'listen.value' && event.value.id === id)
          .filter((event) => 'expired' in event && event.expired === expired).length,
    );
  const heard = stored.flatMap(({ id }) => told(id, false));
  const tooEarly = stored.flatMap(({ id }) => told(id, true)).filter((count) => count > 0);
  world.run(2 * LIFETIME_MS + 120_000);
  churn.stop();
  const expired = stored.flatMap(({ id }) => told(id, true));
  return {
    promised: heard.length,
    missed: heard.filter((count) => count === 0).length,
    toldTwice: heard.filter((count) => count > 1).length,
    expiredWrongly: tooEarly.length + expired.filter((count) => count !== 1).length,
  };
}
