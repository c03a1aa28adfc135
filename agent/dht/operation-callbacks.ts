import type { PutResult } from './client.ts';
import type { DhtEvent, PingAnswer } from './events.ts';
import type { OperationId } from './operation.ts';
import type { Value } from './value.ts';

interface GetCallbacks {
  readonly onValue: (value: Value) => void;
  readonly onDone: () => void;
}

interface PutCallbacks {
  onFirstAck: (() => void) | undefined;
  readonly resolve: (result: PutResult) => void;
}

export type OnListened = (value: Value, expired: boolean) => void;

/** Whom to tell of what comes of each operation under way. As many as the engine admits. */
export class OperationCallbacks {
  readonly gets = new Map<OperationId, GetCallbacks>();
  readonly puts = new Map<OperationId, PutCallbacks>();
  readonly pings = new Map<OperationId, (answer: PingAnswer | undefined) => void>();
  readonly listens = new Map<OperationId, OnListened>();

  onEvent(event: Extract<DhtEvent, { readonly operation: OperationId }>): void {
    switch (event.type) {
      case 'get.value':
        this.gets.get(event.operation)?.onValue(event.value);
        break;
      case 'get.done': {
        const get = this.gets.get(event.operation);
        this.gets.delete(event.operation);
        get?.onDone();
        break;
      }
      case 'put.stored': {
        const put = this.puts.get(event.operation);
        const onFirstAck = put?.onFirstAck;
        if (put !== undefined) put.onFirstAck = undefined;
        onFirstAck?.();
        break;
      }
      case 'put.done':
        this.puts.get(event.operation)?.resolve({ acknowledged: event.acknowledged });
        this.puts.delete(event.operation);
        break;
      case 'ping.done':
        this.pings.get(event.operation)?.(event.answer);
        this.pings.delete(event.operation);
        break;
      case 'listen.value':
        this.listens.get(event.operation)?.(event.value, event.expired);
        break;
      default:
        event satisfies never;
    }
  }

  /** Nothing will come any more: gets are done, puts have what they have. */
  endAll(): void {
    const gets = [...this.gets.values()];
    const puts = [...this.puts.values()];
    const pings = [...this.pings.values()];
    this.gets.clear();
    this.puts.clear();
    this.pings.clear();
    this.listens.clear();
    for (const { onDone } of gets) onDone();
    for (const { resolve } of puts) resolve({ acknowledged: 0 });
    for (const resolve of pings) resolve(undefined);
  }
}
