import type { Millis } from '../base/clock.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS } from './limits.ts';
import type { OperationId } from './operation.ts';
import type { Value } from './value.ts';

export type ConnectionState = 'disconnected' | 'connecting' | 'connected';

export interface DhtState {
  readonly state: ConnectionState;
  /** Good nodes of each family. */
  readonly peers4: number;
  readonly peers6: number;
}

export interface PingAnswer {
  /** Node id. */
  readonly id: InfoHash;
  /** From the first of up to three sendings to the answer. */
  readonly roundTripMs: Millis;
}

/** What a node tells the program it runs in. */
export type DhtEvent =
  | { readonly type: 'get.value'; readonly operation: OperationId; readonly value: Value }
  /** The last event of a get. */
  | { readonly type: 'get.done'; readonly operation: OperationId }
  /** One more storing node acknowledged. */
  | { readonly type: 'put.stored'; readonly operation: OperationId }
  /** All nodes of the first round answered or were lost; once for each put. */
  | {
      readonly type: 'put.done';
      readonly operation: OperationId;
      readonly acknowledged: number;
    }
  | {
      readonly type: 'listen.value';
      readonly operation: OperationId;
      readonly value: Value;
      readonly expired: boolean;
    }
  /** Once for each ping, with the id of who answered it, if anybody did. */
  | { readonly type: 'ping.done'; readonly operation: OperationId; readonly answer?: PingAnswer }
  | ({ readonly type: 'state' } & DhtState)
  /** All that could be handed over before the end was: see `Dht.leave`. */
  | { readonly type: 'left' }
  /** Still nobody there: names of bootstrap nodes should be resolved again. */
  | { readonly type: 'bootstrap' };

/**
 * Events on their way to the program, in order. One that does not fetch them loses values and acknowledgements beyond a
 * bound, yet hears of every end: of those there is one for each operation.
 */
export class EventQueue {
  #events: DhtEvent[] = [];
  #next = 0;
  dropped = 0;

  get size(): number {
    return this.#events.length - this.#next;
  }

  push(event: DhtEvent): void {
    if (this.size >= LIMITS.events && !isEnd(event)) this.dropped++;
    else this.#events.push(event);
  }

  shift(): DhtEvent | undefined {
    const event = this.#events[this.#next];
    if (event === undefined) {
      if (this.#next > 0) this.#events = [];
      this.#next = 0;
      return undefined;
    }
    this.#next++;
    return event;
  }

  /** Nobody wants to hear of this operation any more. */
  forget(operation: OperationId): void {
    this.#events = this.#events
      .slice(this.#next)
      .filter((event) => !('operation' in event) || event.operation !== operation);
    this.#next = 0;
  }
}

function isEnd({ type }: DhtEvent): boolean {
  return type === 'get.done' || type === 'put.done' || type === 'ping.done' || type === 'left';
}
