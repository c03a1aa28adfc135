import type { InfoHash } from './infohash.ts';
import type { Query, Value } from './value.ts';

/** What a put came to. Positive answers prove little (opendht.md 1): a storing node may have refused in silence. */
export interface PutResult {
  /** Storing nodes that acknowledged. 0: nobody could be asked, or all were lost. */
  readonly acknowledged: number;
}

export interface PutOptions {
  /** Keep the value alive (re-announce before it expires) until `cancelPut` or the end of the process. */
  readonly permanent?: boolean;
}

/** A running get or listen. */
export interface DhtOperation {
  /** Stop it. Nothing is called any more afterwards. Idempotent. */
  cancel(): void;
}

/**
 * The three operations of the DHT as the rest of the program uses them. The driver in `udp.ts` implements it on the
 * engine; the simulated world does the same without sockets.
 */
export interface DhtClient {
  /**
   * Look up values under `key`. `onValue` gets each value once, as soon as the first node gives it (a search waits up to
   * 10 s for dead nodes: act on the first good value); then `onDone` exactly once unless cancelled.
   */
  get(
    key: InfoHash,
    query: Query | undefined,
    onValue: (value: Value) => void,
    onDone: () => void,
  ): DhtOperation;
  /**
   * Store `value` at the closest nodes. Resolves when all asked nodes answered or were lost; for a permanent put after
   * its first round. `onFirstAck` fires as soon as one storing node has it. Never rejects.
   */
  put(
    key: InfoHash,
    value: Value,
    options?: PutOptions,
    onFirstAck?: () => void,
  ): Promise<PutResult>;
  /** Forget a permanent put: no more re-announcing. The value dies with its lifetime. */
  cancelPut(key: InfoHash, valueId: bigint): void;
  /**
   * Hear of each value under `key` that is there or comes: `expired` false when first seen or changed to a higher seq,
   * true when the last holder dropped it. Lives across disconnections.
   */
  listen(
    key: InfoHash,
    query: Query | undefined,
    onValue: (value: Value, expired: boolean) => void,
  ): DhtOperation;
}
