import type { Millis } from '../base/clock.ts';
import type { InfoHash } from './infohash.ts';
import type { Node } from './node.ts';
import type { GetOperation, ListenOperation, PutOperation } from './operation.ts';
import type { PendingRequest, RequestHandlers } from './request.ts';
import type { OutgoingQuery, Rpc } from './rpc.ts';
import type { Scheduler } from './scheduler.ts';
import type { SearchNode } from './search-node.ts';
import type { Value } from './value.ts';

/** What a search needs of the node around it, and tells it. */
export interface SearchHost {
  readonly rpc: Rpc;
  readonly scheduler: Scheduler;
  /** The up to `count` known nodes closest to `key`, closest first. */
  closestKnown(key: InfoHash, count: number): readonly Node[];
  /** Nobody is known yet, but bootstrap nodes were asked. */
  isBootstrapping(): boolean;
  /** Pause between two listens at a node. */
  readonly listenRefreshMs: Millis;
  /** A new sid for pushes of `node` to `listen`; undefined when there are too many. */
  openSocket(listen: ListenOperation, node: Node): number | undefined;
  closeSocket(sid: number): void;
  onValues(get: GetOperation, values: readonly Value[], now: Millis): void;
  /** No more values will come. */
  onGetDone(get: GetOperation, now: Millis): void;
  onStored(put: PutOperation, now: Millis): void;
  /** All nodes of the first round answered or were lost. Once for each put. */
  onPutDone(put: PutOperation, now: Millis): void;
  onFound(now: Millis): void;
  /** `node` answered with 401. */
  onTokenRefused(node: Node, token: Uint8Array, now: Millis): void;
  /** The nodes of the search are gone, all of them: perhaps our line is. */
  onLost(now: Millis): void;
}

/** Ask a node on behalf of a search, which goes on after each answer. undefined: too many requests are under way. */
export type SendRequest = (
  known: SearchNode,
  query: OutgoingQuery,
  now: Millis,
  handlers: RequestHandlers,
  values?: readonly Uint8Array[],
) => PendingRequest | undefined;
