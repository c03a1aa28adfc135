import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import type { Reply } from './message.ts';
import type { Node } from './node.ts';
import type { Job } from './scheduler.ts';
import type { Value } from './value.ts';

/** A reply with its content read: the nodes it lists are known by now, its values are whole. */
export interface Answer {
  readonly reply: Reply;
  readonly node: Node;
  readonly nodes: readonly Node[];
  readonly values: readonly Value[];
}

/** What becomes of a request: exactly one of `onAnswer`, `onError`, `onExpired`, unless it is cancelled. */
export interface RequestHandlers {
  /** The reply is here, yet its values are still coming in parts: nodes and token are already good. */
  readonly onHeader?: (answer: Answer, now: Millis) => void;
  readonly onAnswer?: (answer: Answer, now: Millis) => void;
  /** The node answered with an error (opendht.md 7). */
  readonly onError?: (code: number, now: Millis) => void;
  /** Three attempts went without an answer, or the node was given up otherwise. */
  readonly onExpired?: (now: Millis) => void;
}

/** A query that waits for its reply (opendht.md 15.2). */
export interface PendingRequest {
  readonly tid: number;
  /** Unknown for the first ping to an address. */
  readonly node: Node | undefined;
  /** Where it goes; follows the node. */
  readonly address: Address;
  readonly packet: Uint8Array;
  /** Packed values that follow the packet in parts. */
  readonly values: readonly Uint8Array[];
  readonly handlers: RequestHandlers;
  /** First sending. */
  readonly sentAt: Millis;
  attempts: number;
  /** The reply is here and its values are coming in parts. */
  isAnswering: boolean;
  delayMs: Millis;
  /** When it is sent again or given up. */
  nextAt: Millis;
  job: Job | undefined;
}
