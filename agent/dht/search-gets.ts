import type { Millis } from '../base/clock.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Reply } from './message.ts';
import type { GetOperation } from './operation.ts';
import type { Answer } from './request.ts';
import type { OutgoingQuery } from './rpc.ts';
import type { SearchHost } from './search-host.ts';
import type { SearchNode } from './search-node.ts';

/**
 * The gets of a search. Each node is asked for everything at once. One that has more than fits into a reply, or whose
 * values do not arrive, is asked which ids it has, and then for what is missing, one by one (opendht.md 5.3).
 */
export class SearchGets {
  readonly #key: InfoHash;
  readonly #host: SearchHost;
  readonly #gets = new Set<GetOperation>();

  constructor(key: InfoHash, host: SearchHost) {
    this.#key = key;
    this.#host = host;
  }

  get size(): number {
    return this.#gets.size;
  }

  get all(): Iterable<GetOperation> {
    return this.#gets;
  }

  add(get: GetOperation): void {
    this.#gets.add(get);
  }

  remove(get: GetOperation, nodes: readonly SearchNode[]): void {
    this.#gets.delete(get);
    for (const known of nodes) {
      known.answered.delete(get);
      known.rests.delete(get);
    }
  }

  /** What `known` was not asked yet, or not to the end. */
  unanswered(known: SearchNode): GetOperation | undefined {
    for (const get of this.#gets) if (!known.answered.has(get)) return get;
    return undefined;
  }

  /** The next thing to ask `known` for. */
  query(known: SearchNode, get: GetOperation): OutgoingQuery {
    const rest = known.rests.get(get);
    if (rest === undefined) return { type: 'get', key: this.#key, query: get.query };
    const where = get.query?.where ?? [];
    const [id] = rest.missing ?? [];
    const query =
      id === undefined
        ? ({ select: ['id'], where } as const)
        : ({ select: [], where: [...where, { field: 'id', value: id }] } as const);
    return { type: 'get', key: this.#key, query };
  }

  onAnswer(known: SearchNode, get: GetOperation, { reply, values }: Answer, now: Millis): void {
    if (!this.#gets.has(get)) return;
    const rest = known.rests.get(get);
    const given = new Set(values.map(({ id }) => id));
    get.countGiver(given);
    this.#host.onValues(get, values, now);
    if (rest === undefined) {
      if (mayBeCut(reply)) known.rests.set(get, { since: now, given, missing: undefined });
      else known.answered.add(get);
      return;
    }
    if (rest.missing === undefined) {
      const ids = new Set(reply.fields?.rows.flatMap(({ id }) => (id === undefined ? [] : [id])));
      rest.missing = [...ids]
        .filter((id) => !rest.given.has(id))
        .slice(0, LIMITS.valuesPerOperation);
    } else {
      rest.missing.shift();
    }
    // What two nodes gave is no single node's forgery: it need not be asked of every other one.
    while (rest.missing[0] !== undefined && get.givers(rest.missing[0]) >= LIMITS.giversPerValue)
      rest.missing.shift();
    if (rest.missing.length === 0 || now >= rest.since + LIMITS.restPatienceMs)
      this.#finishAt(known, get);
  }

  /** It answers, yet not this: nothing more to learn from it. */
  onError(known: SearchNode, get: GetOperation): void {
    if (this.#gets.has(get)) this.#finishAt(known, get);
  }

  /** If it is there and its answer was too much for the way, it may say the same in smaller pieces. */
  onExpired(known: SearchNode, get: GetOperation, now: Millis): void {
    if (!this.#gets.has(get)) return;
    const rest = known.rests.get(get);
    if (known.node.expired) known.rests.delete(get);
    else if (rest !== undefined) {
      // Lost on the way three times: the others first, then this one again while there is time.
      const id = rest.missing?.shift();
      if (id !== undefined) rest.missing?.push(id);
      if (id === undefined || now >= rest.since + LIMITS.restPatienceMs) this.#finishAt(known, get);
    } else known.rests.set(get, { since: now, given: new Set(), missing: undefined });
  }

  #finishAt(known: SearchNode, get: GetOperation): void {
    known.rests.delete(get);
    known.answered.add(get);
  }

  /** Which gets are done, when `closest` are the closest nodes of `all`? */
  report(closest: readonly SearchNode[], all: readonly SearchNode[], now: Millis): void {
    for (const get of this.#gets)
      if (closest.every((known) => known.answered.has(get))) this.#finish(get, all, now);
  }

  /** Nobody is left for those that began at `since` or before. */
  giveUp(since: Millis, all: readonly SearchNode[], now: Millis): void {
    for (const get of this.#gets) if (get.startedAt <= since) this.#finish(get, all, now);
  }

  #finish(get: GetOperation, all: readonly SearchNode[], now: Millis): void {
    this.remove(get, all);
    this.#host.onGetDone(get, now);
  }
}

/** Nodes like ours leave out what would make a reply too large, and of any node we take no more than `messageBytes`. */
function mayBeCut({ values = [] }: Reply): boolean {
  let bytes = 0;
  for (const value of values) bytes += typeof value === 'number' ? value : value.length;
  return bytes > LIMITS.replyBytes - PROTOCOL.maxPackedBytes;
}
