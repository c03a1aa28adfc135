import type { DhtGetResult, DhtValue } from './control/dht-protocol.ts';
import { CONTROL_LIMITS } from './control/limits.ts';
import type { ControlPeer } from './control/server.ts';
import type { DhtOperation } from './dht/client.ts';
import type { Value } from './dht/value.ts';

/** Bytes of values that wait for clients, of all of them together. */
export interface WaitingBytes {
  bytes: number;
  dropped: number;
}

export interface DhtStreamOptions {
  readonly stream: number;
  readonly client: ControlPeer;
  readonly waiting: WaitingBytes;
  /** Never rejects. */
  readonly describe: (value: Value) => Promise<DhtValue>;
  /** Once, when it is over: the search has ended and all is told, or `close` was called. */
  readonly onOver: (result: DhtGetResult) => void;
}

/** What a value costs beside its bytes while it waits. */
const OVERHEAD_BYTES = 400;

/**
 * A get or listen of a client of the control socket. Values are looked at one after the other, in order, and only as fast as
 * the client reads; what does not fit into the memory for those that wait is dropped and counted.
 */
export class DhtStream {
  readonly #options: DhtStreamOptions;
  readonly #queue: { readonly value: Value; readonly expired: boolean }[] = [];
  #operation: DhtOperation | undefined;
  #isTelling = false;
  #isEnding = false;
  #isOver = false;
  #values = 0;
  #dropped = 0;

  constructor(options: DhtStreamOptions) {
    this.#options = options;
  }

  /** What finds the values. It may have found all of them already. */
  follow(operation: DhtOperation): void {
    this.#operation = operation;
    if (this.#isOver) operation.cancel();
  }

  push(value: Value, expired: boolean): void {
    if (this.#isOver) return;
    const { waiting } = this.#options;
    if (waiting.bytes + bytesOf(value) > CONTROL_LIMITS.dhtWaitingBytes) {
      this.#dropped++;
      waiting.dropped++;
      return;
    }
    waiting.bytes += bytesOf(value);
    this.#queue.push({ value, expired });
    this.resume();
  }

  /** No more will be found. */
  end(): void {
    this.#isEnding = true;
    this.resume();
  }

  /** Go on, if the client reads. */
  resume(): void {
    if (!this.#isTelling) void this.#tell();
  }

  /** Stop at once. Idempotent. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const { value } of this.#queue.splice(0)) this.#options.waiting.bytes -= bytesOf(value);
    this.#operation?.cancel();
    this.#options.onOver({ values: this.#values, dropped: this.#dropped });
  }

  async #tell(): Promise<void> {
    const { client, stream, waiting, describe } = this.#options;
    this.#isTelling = true;
    while (!this.#isOver && client.unsentBytes < CONTROL_LIMITS.dhtUnsentBytes) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      const value = await describe(next.value);
      waiting.bytes -= bytesOf(next.value);
      if (this.#isOver) break;
      this.#values++;
      client.notify('dht.value', { stream, value, expired: next.expired });
    }
    this.#isTelling = false;
    if (this.#isEnding && this.#queue.length === 0) this.close();
  }
}

function bytesOf(value: Value): number {
  return OVERHEAD_BYTES + (value.kind === 'plain' ? value.data.length : value.cypher.length);
}
