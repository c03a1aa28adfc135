import type { Millis } from '../base/clock.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Node } from './node.ts';
import { Search } from './search.ts';
import type { SearchHost } from './search-host.ts';

/** The searches of one family, one for each key. Idle ones are kept for a while, and make room for others. */
export class Searches implements Iterable<Search> {
  readonly #host: SearchHost;
  readonly #searches = new Map<string, Search>();
  /** Not begun because all others were in use. */
  refused = 0;
  /** Idle ones that made room for others. */
  dropped = 0;

  constructor(host: SearchHost) {
    this.#host = host;
  }

  get size(): number {
    return this.#searches.size;
  }

  [Symbol.iterator](): Iterator<Search> {
    return this.#searches.values();
  }

  get(key: InfoHash): Search | undefined {
    return this.#searches.get(key.key);
  }

  /** The search for `key`, new or not; undefined when there are too many. */
  open(key: InfoHash, now: Millis): Search | undefined {
    const known = this.get(key);
    if (known !== undefined) return known;
    if (this.#searches.size >= LIMITS.searches && !this.#dropIdle()) {
      this.refused++;
      return undefined;
    }
    const search = new Search(key, this.#host, now);
    this.#searches.set(key.key, search);
    return search;
  }

  #dropIdle(): boolean {
    for (const search of this.#searches.values()) {
      if (!search.isIdle) continue;
      this.#drop(search);
      this.dropped++;
      return true;
    }
    return false;
  }

  #drop(search: Search): void {
    search.close();
    this.#searches.delete(search.key.key);
  }

  /**
   * `node` refused a token with 401. The same one serves all keys, so all searches need another (opendht.md 7); it counts
   * as one failure, however many requests were under way with it. A node that goes on refusing is given up.
   */
  tokenRefused(node: Node, token: Uint8Array, now: Millis): void {
    let wasInUse = false;
    for (const search of this) if (search.forgetToken(node, token, now)) wasInUse = true;
    if (!wasInUse) return;
    node.authFailures++;
    if (node.authFailures > PROTOCOL.authFailures) this.#host.rpc.expire(node, now);
  }

  /** Forget those that have been idle for long. */
  sweep(now: Millis): void {
    for (const search of this.#searches.values())
      if (search.isIdle && search.lastUsed <= now - PROTOCOL.searchIdleMs) this.#drop(search);
  }
}
