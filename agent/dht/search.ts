import type { Millis } from '../base/clock.ts';
import { Candidates } from './candidates.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Node } from './node.ts';
import type { GetOperation, ListenOperation, PutOperation } from './operation.ts';
import type { Answer, PendingRequest, RequestHandlers } from './request.ts';
import type { OutgoingQuery } from './rpc.ts';
import type { Job } from './scheduler.ts';
import { SearchGets } from './search-gets.ts';
import type { SearchHost, SendRequest } from './search-host.ts';
import { SearchListens } from './search-listens.ts';
import { isUsableToken, type SearchNode } from './search-node.ts';
import { SearchPuts } from './search-puts.ts';

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
  readonly #gets: SearchGets;
  readonly #puts: SearchPuts;
  readonly #listens: SearchListens;
  /** All nodes are gone: nobody is asked until one answers or something new is wanted (opendht.md 16). */
  #isLost = false;
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
    this.#gets = new SearchGets(key, host);
    const send: SendRequest = (...request) => this.#request(...request);
    this.#puts = new SearchPuts(key, host, send);
    this.#listens = new SearchListens(key, host, send);
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
    this.resume(now);
  }

  addGet(get: GetOperation, now: Millis): void {
    this.#gets.add(get);
    this.resume(now);
  }

  removeGet(get: GetOperation): void {
    this.#gets.remove(get, this.#candidates.all);
  }

  addPut(put: PutOperation, now: Millis): void {
    this.#puts.add(put);
    this.resume(now);
  }

  removePut(put: PutOperation): void {
    this.#puts.remove(put, this.#candidates.all);
  }

  addListen(listen: ListenOperation, now: Millis): void {
    this.#listens.add(listen);
    this.resume(now);
  }

  removeListen(listen: ListenOperation): void {
    this.#listens.remove(listen, this.#candidates.all);
  }

  /** Let go of everything: the search is forgotten. */
  close(): void {
    this.#job?.cancel();
    this.#candidates.clear();
  }

  #release(known: SearchNode): void {
    this.#listens.stopAt(known);
    for (const request of [...known.requests()]) this.#host.rpc.cancel(request);
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
    this.#listens.stopAt(known);
  }

  /** `node` refused this token. @returns whether it is the one that we had from it */
  forgetToken(node: Node, token: Uint8Array, now: Millis): boolean {
    return this.#candidates.of(node)?.forgetToken(token, now) ?? false;
  }

  /** A push came from `node` for one of our listens, or a reply with a token: it may be used. */
  tokenFrom(node: Node, token: Uint8Array | undefined, now: Millis): void {
    if (isUsableToken(token)) this.#candidates.of(node)?.setToken(token, now);
  }

  /** There is somebody again, or something new to ask for. */
  resume(now: Millis): void {
    this.#isLost = false;
    this.step(now);
  }

  step(now: Millis): void {
    if (this.#isLost) return;
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
      this.#puts.announce(this.#candidates.prompt(now), now);
      this.#listens.listen(this.#candidates.prompt(now), now);
      this.#report(now);
    }
    this.#stepping = false;
    if (!this.isIdle && !this.#isLost) this.#schedule(now);
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
      const get = this.#gets.unanswered(known);
      if (get === undefined && known.token(now) !== undefined) continue;
      this.#lookUp(known, get, now);
      underWay++;
    }
  }

  #lookUp(known: SearchNode, get: GetOperation | undefined, now: Millis): void {
    const query: OutgoingQuery =
      get === undefined ? { type: 'find', target: this.key } : this.#gets.query(known, get);
    known.lookup = this.#request(known, query, now, {
      onHeader: (answer, then) => this.#onFound(known, answer, then),
      onAnswer: (answer, then) => {
        known.lookup = undefined;
        this.#onFound(known, answer, then);
        if (get !== undefined) this.#gets.onAnswer(known, get, answer, then);
      },
      onError: () => {
        known.lookup = undefined;
        if (get !== undefined) this.#gets.onError(known, get);
      },
      onExpired: (then) => {
        known.lookup = undefined;
        if (get !== undefined) this.#gets.onExpired(known, get, then);
      },
    });
  }

  #onFound(known: SearchNode, { reply, nodes }: Answer, now: Millis): void {
    if (!isUsableToken(reply.token)) {
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

  // ---- what is done

  #report(now: Millis): void {
    const closest = this.#candidates.closest();
    if (closest.length === 0 && this.#host.isBootstrapping()) {
      this.#giveUpWaiting(now);
      return;
    }
    if (this.#isWithoutNodes(now)) {
      this.#lose(now);
      return;
    }
    this.#gets.report(closest, this.#candidates.all, now);
    this.#puts.report(closest, this.#candidates.all, now);
    if (
      this.#findingSince !== undefined &&
      closest.every((known) => known.token(now) !== undefined)
    ) {
      this.#findingSince = undefined;
      this.#host.onFound(now);
    }
  }

  /**
   * All nodes are gone, or the closest 25 are and none behind them gave a token: ids that others made up around the key do
   * not end a search that knows a living node.
   */
  #isWithoutNodes(now: Millis): boolean {
    const { all } = this.#candidates;
    if (all.length === 0) return false;
    return all.every((known, i) =>
      i < PROTOCOL.badNodesInRow ? known.node.expired : known.token(now) === undefined,
    );
  }

  /** Gets and puts end; listens and permanent puts wait for the next connection. */
  #lose(now: Millis): void {
    this.#isLost = true;
    this.#gets.giveUp(now, this.#candidates.all, now);
    this.#puts.giveUp(now, this.#candidates.all, now);
    this.#findingSince = undefined;
    this.#host.onLost(now);
  }

  /** Nobody is known, and the bootstrap is taking too long. */
  #giveUpWaiting(now: Millis): void {
    const since = now - LIMITS.searchPatienceMs;
    this.#gets.giveUp(since, this.#candidates.all, now);
    this.#puts.giveUp(since, this.#candidates.all, now);
    if (this.#findingSince !== undefined && this.#findingSince <= since)
      this.#findingSince = undefined;
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
      at(this.#puts.nextAt(known, now));
      at(this.#listens.nextAt(known, now));
    }
    if (this.#host.isBootstrapping()) {
      for (const get of this.#gets.all) at(get.startedAt + LIMITS.searchPatienceMs);
      for (const put of this.#puts.all) at(put.startedAt + LIMITS.searchPatienceMs);
    }
    this.#job = this.#host.scheduler.schedule(next, (then) => this.step(then));
  }
}
