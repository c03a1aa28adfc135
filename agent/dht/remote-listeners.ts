import type { Millis } from '../base/clock.ts';
import { type AddressKey, sourceKey } from './addresses.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Node } from './node.ts';
import type { Query } from './value.ts';

/** A node that wants to hear of changes under a key (opendht.md 9). */
export interface RemoteListener {
  readonly key: InfoHash;
  node: Node;
  readonly sid: number;
  query: Query | undefined;
  /** Pushes are replies, as before `update` existed. */
  oldStyle: boolean;
  renewedAt: Millis;
  readonly source: AddressKey;
}

const keyOf = (node: Node, sid: number): string => `${node.id.key}${sid}`;

/** Who listens here, by key. Bounded in all, for each key and for each source; the longest not renewed goes. */
export class RemoteListeners {
  /** All, the longest not renewed first. */
  readonly #all = new Set<RemoteListener>();
  readonly #byKey = new Map<string, Map<string, RemoteListener>>();
  readonly #bySource = new Map<AddressKey, Set<RemoteListener>>();
  evicted = 0;

  get size(): number {
    return this.#all.size;
  }

  has(key: InfoHash): boolean {
    return this.#byKey.has(key.key);
  }

  of(key: InfoHash): Iterable<RemoteListener> {
    return this.#byKey.get(key.key)?.values() ?? [];
  }

  /** @returns true when the listener is new and does not know what is stored */
  renew(
    key: InfoHash,
    node: Node,
    sid: number,
    query: Query | undefined,
    oldStyle: boolean,
    now: Millis,
  ): boolean {
    const known = this.#byKey.get(key.key)?.get(keyOf(node, sid));
    if (known === undefined) {
      this.#add({
        key,
        node,
        sid,
        query,
        oldStyle,
        renewedAt: now,
        source: sourceKey(node.address.ip),
      });
      return true;
    }
    if (known.node !== node) {
      known.node.uses--;
      node.uses++;
      known.node = node;
    }
    known.query = query;
    known.oldStyle = oldStyle;
    known.renewedAt = now;
    this.#makeNewest(known);
    return false;
  }

  #add(listener: RemoteListener): void {
    const { key, node, sid, source } = listener;
    let under = this.#byKey.get(key.key);
    if (under !== undefined && under.size >= LIMITS.listenersPerKey)
      this.#evictFirst(under.values());
    const own = this.#bySource.get(source);
    if (own !== undefined && own.size >= LIMITS.listenersPerSource) this.#evictFirst(own);
    if (this.#all.size >= LIMITS.listeners) this.#evictFirst(this.#all);

    under = this.#byKey.get(key.key);
    if (under === undefined) {
      under = new Map();
      this.#byKey.set(key.key, under);
    }
    under.set(keyOf(node, sid), listener);
    node.uses++;
    this.#makeNewest(listener);
  }

  #makeNewest(listener: RemoteListener): void {
    this.#all.delete(listener);
    this.#all.add(listener);
    const under = this.#byKey.get(listener.key.key);
    const key = keyOf(listener.node, listener.sid);
    if (under?.delete(key)) under.set(key, listener);
    let own = this.#bySource.get(listener.source);
    if (own === undefined) {
      own = new Set();
      this.#bySource.set(listener.source, own);
    }
    own.delete(listener);
    own.add(listener);
  }

  #evictFirst(listeners: Iterable<RemoteListener>): void {
    for (const listener of listeners) {
      this.evicted++;
      this.#remove(listener);
      return;
    }
  }

  #remove(listener: RemoteListener): void {
    const { key, node, sid, source } = listener;
    this.#all.delete(listener);
    node.uses--;
    const under = this.#byKey.get(key.key);
    under?.delete(keyOf(node, sid));
    if (under?.size === 0) this.#byKey.delete(key.key);
    const own = this.#bySource.get(source);
    own?.delete(listener);
    if (own?.size === 0) this.#bySource.delete(source);
  }

  /** Forget those that did not renew. */
  sweep(now: Millis): void {
    for (const listener of this.#all) {
      if (listener.renewedAt > now - PROTOCOL.listenerKeptMs) return;
      this.#remove(listener);
    }
  }
}
