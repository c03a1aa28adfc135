import type { Millis } from '../base/clock.ts';
import type { InfoHash } from './infohash.ts';
import { PROTOCOL } from './limits.ts';
import { ERROR_CODE } from './message.ts';
import type { ListenOperation } from './operation.ts';
import type { OutgoingQuery } from './rpc.ts';
import type { SearchHost, SendRequest } from './search-host.ts';
import { isUsableToken, type ListenState, type SearchNode } from './search-node.ts';

/** The listens of a search: at the closest 4 nodes, renewed all along with the sid they have there (opendht.md 9). */
export class SearchListens {
  readonly #key: InfoHash;
  readonly #host: SearchHost;
  readonly #send: SendRequest;
  readonly #listens = new Set<ListenOperation>();

  constructor(key: InfoHash, host: SearchHost, send: SendRequest) {
    this.#key = key;
    this.#host = host;
    this.#send = send;
  }

  get size(): number {
    return this.#listens.size;
  }

  add(listen: ListenOperation): void {
    this.#listens.add(listen);
  }

  remove(listen: ListenOperation, nodes: readonly SearchNode[]): void {
    this.#listens.delete(listen);
    for (const known of nodes) this.#stop(known, listen);
  }

  /** The node is gone, or no longer one of the search's. */
  stopAt(known: SearchNode): void {
    for (const listen of [...known.listens.keys()]) this.#stop(known, listen);
  }

  #stop(known: SearchNode, listen: ListenOperation): void {
    const state = known.listens.get(listen);
    if (state === undefined) return;
    if (state.request !== undefined) this.#host.rpc.cancel(state.request);
    known.listens.delete(listen);
    this.#host.closeSocket(state.sid);
  }

  /** When the next listen after `now` is to be renewed at `known`; Infinity when there is none. */
  nextAt(known: SearchNode, now: Millis): Millis {
    let next = Number.POSITIVE_INFINITY;
    for (const { request, confirmedAt } of known.listens.values()) {
      const at = confirmedAt + this.#host.listenRefreshMs;
      if (request === undefined && at > now && at < next) next = at;
    }
    return next;
  }

  /** Listen at the first 4 of these nodes that gave a token. */
  listen(nodes: readonly SearchNode[], now: Millis): void {
    if (this.#listens.size === 0) return;
    let count = 0;
    for (const known of nodes) {
      const token = known.token(now);
      if (token === undefined) continue;
      for (const listen of this.#listens) {
        const state = known.listens.get(listen) ?? this.#openListen(known, listen);
        if (state === undefined) continue;
        if (state.request === undefined && now >= state.confirmedAt + this.#host.listenRefreshMs)
          this.#sendListen(known, listen, state, token, now);
      }
      if (++count === PROTOCOL.listenNodes) return;
    }
  }

  #openListen(known: SearchNode, listen: ListenOperation): ListenState | undefined {
    const sid = this.#host.openSocket(listen, known.node);
    if (sid === undefined) return undefined;
    const state: ListenState = {
      sid,
      request: undefined,
      confirmedAt: Number.NEGATIVE_INFINITY,
    };
    known.listens.set(listen, state);
    return state;
  }

  #sendListen(
    known: SearchNode,
    listen: ListenOperation,
    state: ListenState,
    token: Uint8Array,
    now: Millis,
  ): void {
    const query: OutgoingQuery = {
      type: 'listen',
      style: 1,
      key: this.#key,
      token,
      sid: state.sid,
      query: listen.query,
    };
    state.request = this.#send(known, query, now, {
      onAnswer: ({ reply }, then) => {
        state.request = undefined;
        state.confirmedAt = then;
        known.node.authFailures = 0;
        if (isUsableToken(reply.token)) known.setToken(reply.token, then);
      },
      onError: (code, then) => {
        state.request = undefined;
        if (code !== ERROR_CODE.unauthorized) {
          // Not to be tried again at once: it would be answered the same.
          state.confirmedAt = then;
        } else {
          this.#host.onTokenRefused(known.node, token, then);
        }
      },
      onExpired: () => {
        state.request = undefined;
      },
    });
  }
}
