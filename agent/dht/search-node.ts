import { equalBytes } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { PROTOCOL } from './limits.ts';
import type { Node } from './node.ts';
import type { GetOperation, ListenOperation, PutOperation } from './operation.ts';
import type { PendingRequest } from './request.ts';

/** How far a put got at one node. */
export interface PutState {
  request: PendingRequest | undefined;
  acknowledgedAt: Millis | undefined;
  /** The node refused with an error that asking again does not mend. */
  failed: boolean;
}

/** What a node could not say in one answer to a get. */
export interface GetRest {
  readonly since: Millis;
  /** Ids of the values that it gave already. */
  readonly given: ReadonlySet<bigint>;
  /** Ids that are left to be asked for; undefined before it said which ones it has. */
  missing: bigint[] | undefined;
}

/** A listen at one node. */
export interface ListenState {
  /** Names our listen in the node's pushes. */
  readonly sid: number;
  request: PendingRequest | undefined;
  confirmedAt: Millis;
}

/** One node as a search sees it. */
export class SearchNode {
  readonly node: Node;
  #token: Uint8Array | undefined;
  #tokenAt: Millis = Number.NEGATIVE_INFINITY;
  /** The find or get that is under way. */
  lookup: PendingRequest | undefined;
  readonly answered = new Set<GetOperation>();
  /** Of gets that need more than one answer. */
  readonly rests = new Map<GetOperation, GetRest>();
  readonly puts = new Map<PutOperation, PutState>();
  readonly listens = new Map<ListenOperation, ListenState>();

  constructor(node: Node) {
    this.node = node;
  }

  setToken(token: Uint8Array | undefined, now: Millis): void {
    this.#token = token;
    this.#tokenAt = token === undefined ? Number.NEGATIVE_INFINITY : now;
  }

  /** The token, while it is fresh. A node with one is *synced* (opendht.md 16). */
  token(now: Millis): Uint8Array | undefined {
    return now < this.staleAt ? this.#token : undefined;
  }

  /**
   * It refused `token`: another one is needed.
   * @returns false when that one is not in use any more
   */
  forgetToken(token: Uint8Array, now: Millis): boolean {
    if (this.#token === undefined || !equalBytes(this.#token, token)) return false;
    this.setToken(undefined, now);
    return true;
  }

  get staleAt(): Millis {
    return this.#tokenAt + PROTOCOL.tokenFreshMs;
  }

  /** What this search waits for from it. */
  *requests(): Generator<PendingRequest> {
    if (this.lookup !== undefined) yield this.lookup;
    for (const { request } of this.puts.values()) if (request !== undefined) yield request;
    for (const { request } of this.listens.values()) if (request !== undefined) yield request;
  }

  /** Gone, or silent for a whole attempt: not counted among the closest (opendht.md 16). */
  get isBad(): boolean {
    if (this.node.expired) return true;
    if (this.node.requests.size === 0) return false; // as nearly always
    for (const { attempts, isAnswering } of this.requests())
      if (attempts > 1 && !isAnswering) return true;
    return false;
  }

  /** An answer is overdue: still hoped for, but no longer waited for. */
  isLate(lateMs: Millis, now: Millis): boolean {
    if (this.node.requests.size === 0) return false;
    for (const { sentAt, isAnswering } of this.requests())
      if (now >= sentAt + lateMs && !isAnswering) return true;
    return false;
  }
}

/** Longer ones are not kept (opendht.md 8). */
export function isUsableToken(token: Uint8Array | undefined): token is Uint8Array {
  return token !== undefined && token.length > 0 && token.length <= PROTOCOL.maxTokenBytes;
}
