import type { DhtClient } from '../../agent/dht/client.ts';
import type { DhtEvent } from '../../agent/dht/events.ts';
import type { SimNode, World } from '../sim/world.ts';

type OnEvent = (event: DhtEvent) => void;

/**
 * The operations of a simulated node as a `DhtClient`, so that the crypto layer runs on real engines: events of the node go
 * to whoever began the operation when `settle` lets the world go on.
 */
export class WorldClient implements DhtClient {
  readonly #node: SimNode;
  readonly #world: World;
  readonly #following = new Map<number, { readonly onEvent: OnEvent; seen: number }>();

  constructor(world: World, node: SimNode) {
    this.#world = world;
    this.#node = node;
  }

  get: DhtClient['get'] = (key, query, onValue, onDone) =>
    this.#follow(this.#node.get(key, query), (event) => {
      if (event.type === 'get.value') onValue(event.value);
      if (event.type === 'get.done') onDone();
    });

  put: DhtClient['put'] = (key, value, options = {}, onFirstAck = () => {}) =>
    new Promise((resolve) => {
      this.#follow(this.#node.put(key, value, options.permanent), (event) => {
        if (event.type === 'put.stored') onFirstAck();
        if (event.type === 'put.done') resolve({ acknowledged: event.acknowledged });
      });
    });

  cancelPut: DhtClient['cancelPut'] = (key, valueId) => {
    this.#world.turn(this.#node, (now) => this.#node.dht.cancelPut(key, valueId, now));
  };

  listen: DhtClient['listen'] = (key, query, onValue) =>
    this.#follow(this.#node.listen(key, query), (event) => {
      if (event.type === 'listen.value') onValue(event.value, event.expired);
    });

  #follow(operation: number, onEvent: OnEvent) {
    this.#following.set(operation, { onEvent, seen: 0 });
    const cancel = () => {
      this.#following.delete(operation);
      this.#node.cancel(operation);
    };
    return { cancel };
  }

  /** Hand out what happened since the last time. */
  dispatch(): void {
    for (const [operation, following] of this.#following) {
      const events = this.#node.of(operation);
      const { seen } = following;
      following.seen = events.length;
      for (const event of events.slice(seen))
        if (this.#following.has(operation)) following.onEvent(event);
    }
  }
}

/** Let virtual time pass, and real time for the keys, until `promise` is there. */
export async function settled<T>(
  world: World,
  clients: readonly WorldClient[],
  promise: Promise<T>,
): Promise<T> {
  let isSettled = false;
  const mark = () => {
    isSettled = true;
  };
  promise.then(mark, mark);
  for (let turn = 0; turn < 2000 && !isSettled; turn++) {
    await pass(world, clients, 50);
  }
  if (!isSettled) throw new Error('nothing came of it in 100 s');
  return promise;
}

/** Let `ms` of virtual time pass, and what waits for keys go on. */
export async function pass(
  world: World,
  clients: readonly WorldClient[],
  ms: number,
): Promise<void> {
  world.run(ms);
  for (const client of clients) client.dispatch();
  await new Promise((resolve) => setImmediate(resolve));
}
