import type { Millis } from '../base/clock.ts';
import { Candidates } from './candidates.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import { ERROR_CODE } from './message.ts';
import type { Node } from './node.ts';
import type { GetOperation, ListenOperation, PutOperation } from './operations.ts';
import type { Answer, PendingRequest, RequestHandlers } from './request.ts';
import type { OutgoingQuery, Rpc } from './rpc.ts';
import type { Job, Scheduler } from './scheduler.ts';
import type { ListenState, PutState, SearchNode } from './search-node.ts';
import type { Value } from './value.ts';

/** What a search needs of the node around it, and tells it. */
export interface SearchHost {
  readonly rpc: Rpc;
  readonly scheduler: Scheduler;
  /** The up to `count` known nodes closest to `key`, closest first. */
  closestKnown(key: InfoHash, count: number): readonly Node[];
  /** Nobody is known yet, but bootstrap nodes were asked. */
  isBootstrapping(): boolean;
  /** A new sid for pushes of `node` to `listen`. */
  openSocket(listen: ListenOperation, node: Node): number;
  closeSocket(sid: number): void;
  onValues(get: GetOperation, values: readonly Value[], now: Millis): void;
  /** No more values will come. */
  onGetDone(get: GetOperation, now: Millis): void;
  onStored(put: PutOperation, now: Millis): void;
  /** All nodes of the first round answered or were lost. Once for each put. */
  onPutDone(put: PutOperation, now: Millis): void;
  onFound(now: Millis): void;
}

/**
 * One search: the way to the nodes closest to a key in one family, and what is done there (opendht.md 16). All gets, puts
 * and listens on the key share it.
 *
 * Everything happens in `#step`, which looks at the nodes from the closest on, starts whatever is due, reports what is
 * done and says when to look again. A put or a listen starts at a node as soon as that node is synced and among the
 * closest that answer. A node that is late is asked no less, but the next one is asked as well, so that a neighbourhood
 * that has just died costs tenths of seconds and not the many seconds until its requests expire.
 */
export class Search {
  readonly key: InfoHash;
  readonly #host: SearchHost;
  readonly #candidates: Candidates;
  readonly #gets = new Set<GetOperation>();
  readonly #puts = new Set<PutOperation>();
  /** Puts whose first round is over. */
  readonly #settled = new WeakSet<PutOperation>();
  readonly #listens = new Set<ListenOperation>();
  /** When somebody asked for the nodes themselves. */
  #findingSince: Millis | undefined;
  #job: Job | undefined;
  #stepping = false;
  /** Too many requests were under way in the whole node. */
  #wasRefused = false;
  lastUsed: Millis;

  constructor(key: InfoHash, host: SearchHost, now: Millis) {
    this.key = key;
    this.#host = host;
    this.lastUsed = now;
    this.#candidates = new Candidates(
      key,
      () => host.rpc.lateMs,
      (known) => this.#release(known),
    );
  }

  get isIdle(): boolean {
    return (
      this.#gets.size === 0 &&
      this.#puts.size === 0 &&
      this.#listens.size === 0 &&
      this.#findingSince === undefined
    );
  }

  /** Look for the nodes closest to the key, and no more. */
  find(now: Millis): void {
    this.#findingSince = now;
    this.step(now);
  }

  addGet(get: GetOperation, now: Millis): void {
    this.#gets.add(get);
    this.step(now);
  }

  removeGet(get: GetOperation): void {
    this.#gets.delete(get);
    for (const known of this.#candidates.all) known.answered.delete(get);
  }

  addPut(put: PutOperation, now: Millis): void {
    this.#puts.add(put);
    this.step(now);
  }

  removePut(put: PutOperation): void {
    this.#puts.delete(put);
    for (const known of this.#candidates.all) {
      this.#cancel(known.puts.get(put)?.request);
      known.puts.delete(put);
    }
  }

  addListen(listen: ListenOperation, now: Millis): void {
    this.#listens.add(listen);
    this.step(now);
  }

  removeListen(listen: ListenOperation): void {
    this.#listens.delete(listen);
    for (const known of this.#candidates.all) this.#stopListen(known, listen);
  }

  #cancel(request: PendingRequest | undefined): void {
    if (request !== undefined) this.#host.rpc.cancel(request);
  }

  #stopListen(known: SearchNode, listen: ListenOperation): void {
    const state = known.listens.get(listen);
    if (state === undefined) return;
    this.#cancel(state.request);
    known.listens.delete(listen);
    this.#host.closeSocket(state.sid);
  }

  /** Let go of everything: the search is forgotten. */
  close(): void {
    this.#job?.cancel();
    this.#candidates.clear();
  }

  #release(known: SearchNode): void {
    for (const request of [...known.requests()]) this.#cancel(request);
    for (const listen of [...known.listens.keys()]) this.#stopListen(known, listen);
  }

  /** A node that may be among the closest. */
  offer(node: Node, now: Millis): void {
    this.#candidates.offer(node, now);
  }

  /** The node's requests have failed; what we had there is gone. */
  nodeExpired(node: Node, now: Millis): void {
    const known = this.#candidates.of(node);
    if (known === undefined) return;
    known.setToken(undefined, now);
    for (const listen of [...known.listens.keys()]) this.#stopListen(known, listen);
  }

  /** A push came from `node` for one of our listens, or a reply with a token: it may be used. */
  tokenFrom(node: Node, token: Uint8Array | undefined, now: Millis): void {
    if (!usable(token)) return;
    this.#candidates.of(node)?.setToken(token, now);
  }

  step(now: Millis): void {
    // Handlers may call back in; the step that is under way sees what they changed.
    if (this.#stepping) return;
    this.#stepping = true;
    this.#job?.cancel();
    this.#job = undefined;
    this.#wasRefused = false;
    if (!this.isIdle) {
      this.lastUsed = now;
      // Too few that answer: take more of the nodes that are known.
      if (this.#candidates.prompt(now).length < PROTOCOL.targetNodes) {
        for (const node of this.#host.closestKnown(this.key, LIMITS.searchKnown))
          this.#candidates.offer(node, now);
      }
      this.#ask(now);
      this.#announce(now);
      this.#listen(now);
      this.#report(now);
    }
    this.#stepping = false;
    if (!this.isIdle) this.#schedule(now);
  }

  // ---- what is started

  /** Ask the closest nodes that did not say yet what we want to know. */
  #ask(now: Millis): void {
    const { lateMs } = this.#host.rpc;
    let underWay = 0;
    for (const { lookup } of this.#candidates.all)
      if (lookup !== undefined && now < lookup.sentAt + lateMs) underWay++;
    for (const known of this.#candidates.prompt(now)) {
      if (underWay >= PROTOCOL.searchAlpha) return;
      if (known.lookup !== undefined) continue;
      const get = this.#unanswered(known);
      if (get === undefined && known.token(now) !== undefined) continue;
      this.#lookUp(known, get, now);
      underWay++;
    }
  }

  #unanswered(known: SearchNode): GetOperation | undefined {
    for (const get of this.#gets) if (!known.answered.has(get)) return get;
    return undefined;
  }

  #lookUp(known: SearchNode, get: GetOperation | undefined, now: Millis): void {
    const query: OutgoingQuery =
      get === undefined
        ? { type: 'find', target: this.key }
        : { type: 'get', key: this.key, query: get.query };
    known.lookup = this.#request(known, query, now, {
      onHeader: (answer, then) => this.#onFound(known, answer, then),
      onAnswer: (answer, then) => {
        known.lookup = undefined;
        this.#onFound(known, answer, then);
        if (get === undefined || !this.#gets.has(get)) return;
        known.answered.add(get);
        this.#host.onValues(get, answer.values, then);
      },
      onError: () => {
        known.lookup = undefined;
        // It answers, yet not this: nothing more to learn from it.
        if (get !== undefined) known.answered.add(get);
      },
      onExpired: () => {
        known.lookup = undefined;
      },
    });
  }

  #onFound(known: SearchNode, { reply, nodes }: Answer, now: Millis): void {
    if (!usable(reply.token)) {
      // Who answers without a token is broken or lies (opendht.md 18.2).
      this.#host.rpc.blacklist(known.node, now);
      return;
    }
    known.setToken(reply.token, now);
    for (const node of nodes) this.offer(node, now);
  }

  /** A request of this search: afterwards it goes on. */
  #request(
    known: SearchNode,
    query: OutgoingQuery,
    now: Millis,
    handlers: RequestHandlers,
    values?: readonly Uint8Array[],
  ): PendingRequest | undefined {
    const thenStep =
      <A extends unknown[]>(handler: ((...args: A) => void) | undefined) =>
      (...args: A) => {
        handler?.(...args);
        this.step(args.at(-1) as Millis);
      };
    const request = this.#host.rpc.request(
      known.node,
      query,
      {
        onHeader: thenStep(handlers.onHeader),
        onAnswer: thenStep(handlers.onAnswer),
        onError: thenStep(handlers.onError),
        onExpired: thenStep(handlers.onExpired),
      },
      now,
      values,
    );
    this.#wasRefused ||= request === undefined;
    return request;
  }

  #announce(now: Millis): void {
    if (this.#puts.size === 0) return;
    for (const known of this.#candidates.prompt(now)) {
      const token = known.token(now);
      if (token === undefined) continue;
      for (const put of this.#puts) {
        const state = known.puts.get(put);
        if (state === undefined) this.#put(known, put, token, now);
        else if (now >= this.#renewalAt(put, state)) this.#renew(known, put, state, now);
      }
    }
  }

  /** When a permanent value is announced again at a node that has it. */
  #renewalAt(put: PutOperation, { request, acknowledgedAt }: PutState): Millis {
    if (!put.permanent || request !== undefined || acknowledgedAt === undefined)
      return Number.POSITIVE_INFINITY;
    return acknowledgedAt + put.lifetimeMs - PROTOCOL.reannounceMarginMs;
  }

  #put(known: SearchNode, put: PutOperation, token: Uint8Array, now: Millis): void {
    const state: PutState = { request: undefined, acknowledgedAt: undefined, failed: false };
    const query: OutgoingQuery = { type: 'put', key: this.key, created: put.created, token };
    const handlers = this.#storing(known, put, state, () => {});
    state.request = this.#request(known, query, now, handlers, [put.packed]);
    if (state.request !== undefined) known.puts.set(put, state);
  }

  #storing(
    known: SearchNode,
    put: PutOperation,
    state: PutState,
    onNotFound: (now: Millis) => void,
  ): RequestHandlers {
    return {
      onAnswer: (_, now) => {
        state.request = undefined;
        known.node.authFailures = 0;
        const first = state.acknowledgedAt === undefined;
        state.acknowledgedAt = now;
        if (first) this.#host.onStored(put, now);
      },
      onError: (code, now) => {
        state.request = undefined;
        if (code === ERROR_CODE.unauthorized) {
          if (this.#tokenRefused(known, now)) state.failed = true;
          else known.puts.delete(put);
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
      key: this.key,
      query: { select: ['id', 'seq'], where: [{ field: 'id', value: put.value.id }] },
    };
    const seq = put.value.kind === 'plain' ? (put.value.signed?.seq ?? 0) : 0;
    state.request = this.#request(known, query, now, {
      onAnswer: ({ reply }, then) => {
        state.request = undefined;
        known.setToken(usable(reply.token) ? reply.token : undefined, then);
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
          key: this.key,
          valueId: put.value.id,
          token,
        };
        const handlers = this.#storing(known, put, state, again);
        state.request = this.#request(known, refresh, then, handlers);
      },
      onError: again,
      onExpired: again,
    });
  }

  /** @returns whether that was once too often, and the node is taken for gone */
  #tokenRefused(known: SearchNode, now: Millis): boolean {
    known.setToken(undefined, now);
    known.node.authFailures++;
    if (known.node.authFailures <= PROTOCOL.authFailures) return false;
    this.#host.rpc.expire(known.node, now);
    return true;
  }

  #listen(now: Millis): void {
    if (this.#listens.size === 0) return;
    let nodes = 0;
    for (const known of this.#candidates.prompt(now)) {
      const token = known.token(now);
      if (token === undefined) continue;
      for (const listen of this.#listens) {
        const state = known.listens.get(listen) ?? this.#openListen(known, listen);
        if (state.request === undefined && now >= state.confirmedAt + PROTOCOL.listenRefreshMs)
          this.#sendListen(known, listen, state, token, now);
      }
      if (++nodes === PROTOCOL.listenNodes) return;
    }
  }

  #openListen(known: SearchNode, listen: ListenOperation): ListenState {
    const sid = this.#host.openSocket(listen, known.node);
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
      key: this.key,
      token,
      sid: state.sid,
      query: listen.query,
    };
    state.request = this.#request(known, query, now, {
      onAnswer: ({ reply }, then) => {
        state.request = undefined;
        state.confirmedAt = then;
        known.node.authFailures = 0;
        if (usable(reply.token)) known.setToken(reply.token, then);
      },
      onError: (code, then) => {
        state.request = undefined;
        if (code === ERROR_CODE.unauthorized) this.#tokenRefused(known, then);
        // Not to be tried again at once: it would be answered the same.
        else state.confirmedAt = then;
      },
      onExpired: () => {
        state.request = undefined;
      },
    });
  }

  // ---- what is done

  #report(now: Millis): void {
    const closest = this.#candidates.closest();
    if (closest.length === 0 && this.#host.isBootstrapping()) {
      this.#giveUpWaiting(now);
      return;
    }
    for (const get of this.#gets)
      if (closest.every((known) => known.answered.has(get))) this.#finishGet(get, now);
    for (const put of this.#puts) {
      if (this.#settled.has(put)) continue;
      if (closest.every((known) => isSettled(known.puts.get(put)))) this.#settle(put, now);
    }
    if (
      this.#findingSince !== undefined &&
      closest.every((known) => known.token(now) !== undefined)
    ) {
      this.#findingSince = undefined;
      this.#host.onFound(now);
    }
  }

  /** Nobody is known, and the bootstrap is taking too long. */
  #giveUpWaiting(now: Millis): void {
    const since = now - LIMITS.searchPatienceMs;
    for (const get of this.#gets) if (get.startedAt <= since) this.#finishGet(get, now);
    for (const put of this.#puts)
      if (put.startedAt <= since && !this.#settled.has(put)) this.#settle(put, now);
    if (this.#findingSince !== undefined && this.#findingSince <= since)
      this.#findingSince = undefined;
  }

  #finishGet(get: GetOperation, now: Millis): void {
    this.removeGet(get);
    this.#host.onGetDone(get, now);
  }

  /** The first round of a put is over. One that is permanent stays. */
  #settle(put: PutOperation, now: Millis): void {
    this.#settled.add(put);
    if (!put.permanent) this.removePut(put);
    this.#host.onPutDone(put, now);
  }

  /** Look again when the next thing is due. */
  #schedule(now: Millis): void {
    const { lateMs } = this.#host.rpc;
    // Replies and expiries come by themselves. The longest sleep only bounds what is lost by a mistake here.
    let next = now + (this.#wasRefused ? LIMITS.refusedPauseMs : PROTOCOL.tokenFreshMs);
    const at = (moment: Millis) => {
      if (moment > now && moment < next) next = moment;
    };
    for (const known of this.#candidates.all) {
      if (known.node.expired) continue;
      for (const request of known.requests()) {
        at(request.sentAt + lateMs);
        at(request.nextAt + 1); // after it was sent again
      }
      at(known.staleAt);
      for (const [put, state] of known.puts) at(this.#renewalAt(put, state));
      for (const state of known.listens.values())
        if (state.request === undefined) at(state.confirmedAt + PROTOCOL.listenRefreshMs);
    }
    if (this.#host.isBootstrapping()) {
      for (const get of this.#gets) at(get.startedAt + LIMITS.searchPatienceMs);
      for (const put of this.#puts) at(put.startedAt + LIMITS.searchPatienceMs);
    }
    this.#job = this.#host.scheduler.schedule(next, (then) => this.step(then));
  }
}

function isSettled(state: PutState | undefined): boolean {
  if (state === undefined) return false;
  return state.failed || state.acknowledgedAt !== undefined;
}

function usable(token: Uint8Array | undefined): token is Uint8Array {
  return token !== undefined && token.length > 0 && token.length <= PROTOCOL.maxTokenBytes;
}
