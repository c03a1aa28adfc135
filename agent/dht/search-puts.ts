import type { Millis } from '../base/clock.ts';
import type { InfoHash } from './infohash.ts';
import { PROTOCOL } from './limits.ts';
import { ERROR_CODE } from './message.ts';
import type { PutOperation } from './operation.ts';
import type { RequestHandlers } from './request.ts';
import type { OutgoingQuery } from './rpc.ts';
import type { SearchHost, SendRequest } from './search-host.ts';
import { isUsableToken, type PutState, type SearchNode } from './search-node.ts';

/** The puts of a search: at each of the closest nodes once, and again before their end for those that are permanent. */
export class SearchPuts {
  readonly #key: InfoHash;
  readonly #host: SearchHost;
  readonly #send: SendRequest;
  readonly #puts = new Set<PutOperation>();
  /** Those whose first round is over. */
  readonly #settled = new WeakSet<PutOperation>();

  constructor(key: InfoHash, host: SearchHost, send: SendRequest) {
    this.#key = key;
    this.#host = host;
    this.#send = send;
  }

  get size(): number {
    return this.#puts.size;
  }

  get all(): Iterable<PutOperation> {
    return this.#puts;
  }

  add(put: PutOperation): void {
    this.#puts.add(put);
  }

  remove(put: PutOperation, nodes: readonly SearchNode[]): void {
    this.#puts.delete(put);
    for (const known of nodes) {
      const request = known.puts.get(put)?.request;
      if (request !== undefined) this.#host.rpc.cancel(request);
      known.puts.delete(put);
    }
  }

  /** Put whatever is not yet at these nodes, renew what is about to expire there. */
  announce(nodes: readonly SearchNode[], now: Millis): void {
    if (this.#puts.size === 0) return;
    for (const known of nodes) {
      const token = known.token(now);
      if (token === undefined) continue;
      for (const put of this.#puts) {
        const state = known.puts.get(put);
        if (state === undefined) this.#put(known, put, token, now);
        else if (now >= this.#renewalAt(put, state)) this.#renew(known, put, state, now);
      }
    }
  }

  /** When the next thing after `now` is to be renewed at `known`; Infinity when nothing is. */
  nextAt(known: SearchNode, now: Millis): Millis {
    let next = Number.POSITIVE_INFINITY;
    for (const [put, state] of known.puts) {
      const at = this.#renewalAt(put, state);
      if (at > now && at < next) next = at;
    }
    return next;
  }

  /** When a permanent value is announced again at a node that has it. */
  #renewalAt(put: PutOperation, { request, acknowledgedAt }: PutState): Millis {
    if (!put.permanent || request !== undefined || acknowledgedAt === undefined)
      return Number.POSITIVE_INFINITY;
    return acknowledgedAt + put.lifetimeMs - PROTOCOL.reannounceMarginMs;
  }

  #put(known: SearchNode, put: PutOperation, token: Uint8Array, now: Millis): void {
    const state: PutState = { request: undefined, acknowledgedAt: undefined, failed: false };
    const query: OutgoingQuery = { type: 'put', key: this.#key, created: put.created, token };
    const handlers = this.#storing(known, put, state, token, () => {});
    state.request = this.#send(known, query, now, handlers, [put.packed]);
    if (state.request !== undefined) known.puts.set(put, state);
  }

  #storing(
    known: SearchNode,
    put: PutOperation,
    state: PutState,
    token: Uint8Array,
    onNotFound: (now: Millis) => void,
  ): RequestHandlers {
    return {
      onAnswer: (_, now) => {
        state.request = undefined;
        known.node.authFailures = 0;
        const first = state.acknowledgedAt === undefined;
        state.acknowledgedAt = now;
        if (!this.#puts.has(put)) known.puts.delete(put);
        if (first) this.#host.onStored(put, now);
      },
      onError: (code, now) => {
        state.request = undefined;
        if (!this.#puts.has(put)) known.puts.delete(put);
        if (code === ERROR_CODE.unauthorized) {
          known.puts.delete(put);
          this.#host.onTokenRefused(known.node, token, now);
        } else if (code === ERROR_CODE.notFound) {
          onNotFound(now);
        } else {
          state.failed = true;
        }
      },
      onExpired: () => {
        known.puts.delete(put);
      },
    };
  }

  /** Before its end, see whether the node still has the value: if so refresh it, else put it (opendht.md 16). */
  #renew(known: SearchNode, put: PutOperation, state: PutState, now: Millis): void {
    const again = () => {
      // The next step puts it as if for the first time.
      known.puts.delete(put);
    };
    const query: OutgoingQuery = {
      type: 'get',
      key: this.#key,
      query: { select: ['id', 'seq'], where: [{ field: 'id', value: put.value.id }] },
    };
    const seq = put.value.kind === 'plain' ? (put.value.signed?.seq ?? 0) : 0;
    state.request = this.#send(known, query, now, {
      onAnswer: ({ reply }, then) => {
        state.request = undefined;
        known.setToken(isUsableToken(reply.token) ? reply.token : undefined, then);
        const token = known.token(then);
        const has = reply.fields?.rows.some(
          (row) => row.id === put.value.id && (row.seq ?? 0) >= seq,
        );
        if (has !== true || token === undefined) {
          again();
          return;
        }
        const refresh: OutgoingQuery = {
          type: 'refresh',
          key: this.#key,
          valueId: put.value.id,
          token,
        };
        const handlers = this.#storing(known, put, state, token, again);
        state.request = this.#send(known, refresh, then, handlers);
      },
      onError: again,
      onExpired: again,
    });
  }

  /** Which first rounds are over, when `closest` are the closest nodes of `all`? */
  report(closest: readonly SearchNode[], all: readonly SearchNode[], now: Millis): void {
    for (const put of this.#puts) {
      if (this.#settled.has(put)) continue;
      if (closest.every((known) => isSettled(known.puts.get(put)))) this.#settle(put, all, now);
    }
  }

  /** Nobody was found for those that began at `since` or before. */
  giveUp(since: Millis, nodes: readonly SearchNode[], now: Millis): void {
    for (const put of this.#puts)
      if (put.startedAt <= since && !this.#settled.has(put)) this.#settle(put, nodes, now);
  }

  /** The first round of a put is over. One that is permanent stays. */
  #settle(put: PutOperation, nodes: readonly SearchNode[], now: Millis): void {
    this.#settled.add(put);
    if (!put.permanent) {
      this.#puts.delete(put);
      // Requests to silent nodes go on: one that only lost a datagram shall have the value too.
      for (const known of nodes)
        if (known.puts.get(put)?.request === undefined) known.puts.delete(put);
    }
    this.#host.onPutDone(put, now);
  }
}

function isSettled(state: PutState | undefined): boolean {
  if (state === undefined) return false;
  return state.failed || state.acknowledgedAt !== undefined;
}
