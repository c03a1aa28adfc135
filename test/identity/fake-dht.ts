import type { DhtClient, DhtOperation, PutOptions, PutResult } from '../../agent/dht/client.ts';
import type { InfoHash } from '../../agent/dht/infohash.ts';
import type { Query, Value } from '../../agent/dht/value.ts';
import { shortKeyId } from '../../agent/identity/keys.ts';

/**
 * The DHT as one table in memory: what is put is there for all that share the network, listeners hear of it at once.
 * It checks nothing, as a hostile network would not.
 */
export class FakeNetwork {
  readonly values = new Map<string, Value[]>();
  readonly listeners = new Set<Listener>();
  readonly permanent = new Set<string>();
  /** Keys for which gets wait until `release`. */
  readonly #held = new Map<string, (() => void)[]>();
  gets = 0;

  client(): DhtClient {
    return {
      get: (key, query, onValue, onDone) => this.#get(key, query, onValue, onDone),
      put: (key, value, options, onFirstAck) => this.#put(key, value, options, onFirstAck),
      cancelPut: (key, valueId) => {
        this.permanent.delete(`${key.hex} ${valueId}`);
      },
      listen: (key, query, onValue) => this.#listen(key, query, onValue),
    };
  }

  /** Put a value there as anybody can. Values of the same id stand side by side, as on several nodes. */
  add(key: InfoHash, value: Value): void {
    this.values.set(key.hex, [...(this.values.get(key.hex) ?? []), value]);
    for (const listener of this.listeners)
      if (listener.key === key.hex && matches(value, listener.query))
        listener.onValue(value, false);
  }

  /** The last node that had `value` drops it. */
  expire(key: InfoHash, value: Value): void {
    this.values.set(
      key.hex,
      this.at(key).filter((other) => other !== value),
    );
    for (const listener of this.listeners)
      if (listener.key === key.hex && matches(value, listener.query)) listener.onValue(value, true);
  }

  at(key: InfoHash): readonly Value[] {
    return this.values.get(key.hex) ?? [];
  }

  hold(key: InfoHash): void {
    this.#held.set(key.hex, []);
  }

  release(key: InfoHash): void {
    const waiting = this.#held.get(key.hex) ?? [];
    this.#held.delete(key.hex);
    for (const run of waiting) run();
  }

  #get(
    key: InfoHash,
    query: Query | undefined,
    onValue: (value: Value) => void,
    onDone: () => void,
  ): DhtOperation {
    this.gets++;
    let isCancelled = false;
    const run = () => {
      for (const value of this.at(key)) if (!isCancelled && matches(value, query)) onValue(value);
      if (!isCancelled) onDone();
    };
    const waiting = this.#held.get(key.hex);
    if (waiting === undefined) queueMicrotask(run);
    else waiting.push(run);
    return {
      cancel: () => {
        isCancelled = true;
      },
    };
  }

  #put(
    key: InfoHash,
    value: Value,
    options: PutOptions = {},
    onFirstAck: () => void = () => {},
  ): Promise<PutResult> {
    if (options.permanent) this.permanent.add(`${key.hex} ${value.id}`);
    const others = this.at(key).filter((other) => other.id !== value.id);
    this.values.set(key.hex, others);
    this.add(key, value);
    onFirstAck();
    return Promise.resolve({ acknowledged: 1 });
  }

  #listen(
    key: InfoHash,
    query: Query | undefined,
    onValue: (value: Value, expired: boolean) => void,
  ): DhtOperation {
    const listener = { key: key.hex, query, onValue };
    this.listeners.add(listener);
    for (const value of this.at(key)) if (matches(value, query)) onValue(value, false);
    return { cancel: () => this.listeners.delete(listener) };
  }
}

interface Listener {
  readonly key: string;
  readonly query: Query | undefined;
  readonly onValue: (value: Value, expired: boolean) => void;
}

function matches(value: Value, query: Query | undefined): boolean {
  return (query?.where ?? []).every((filter) => {
    if (filter.field === 'id') return value.id === filter.value;
    if (value.kind !== 'plain') return false;
    if (filter.field === 'type') return value.type === filter.value;
    if (filter.field === 'userType') return value.userType === filter.value;
    return value.signed !== undefined && shortKeyId(value.signed.owner).equals(filter.value);
  });
}
