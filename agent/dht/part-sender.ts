import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Envelope } from './message.ts';
import { encodeMessage } from './message-encode.ts';
import type { Job, Scheduler } from './scheduler.ts';

/** Do these packed values travel in their message? If not, it carries their sizes and they follow in parts. */
export function fitInline(values: readonly Uint8Array[]): boolean {
  return values.length < PROTOCOL.inlineValues && totalBytes(values) < PROTOCOL.inlineBytes;
}

export function totalBytes(values: readonly Uint8Array[]): number {
  let sum = 0;
  for (const value of values) sum += value.length;
  return sum;
}

interface Run {
  readonly to: Address;
  readonly tid: number;
  readonly values: readonly Uint8Array[];
  readonly bytes: number;
}

/**
 * Sends values in parts, all of value 0 in rising offset, then value 1, and so on (opendht.md 6.2). Nothing is
 * acknowledged, so a burst that overflows the receive buffer is lost: after some parts there is a pause.
 */
export class PartSender {
  readonly #scheduler: Scheduler;
  readonly #envelope: Pick<Envelope, 'network' | 'client'>;
  readonly #send: (to: Address, packet: Uint8Array) => void;
  #runs: Run[] = [];
  /** Where the first run stands. */
  #index = 0;
  #offset = 0;
  #bytes = 0;
  #credit: number = LIMITS.partBurst;
  #resume: Job | undefined;
  /** Messages whose parts were not sent because too much was waiting. */
  dropped = 0;

  constructor(
    scheduler: Scheduler,
    envelope: Pick<Envelope, 'network' | 'client'>,
    send: (to: Address, packet: Uint8Array) => void,
  ) {
    this.#scheduler = scheduler;
    this.#envelope = envelope;
    this.#send = send;
  }

  get queuedBytes(): number {
    return this.#bytes;
  }

  send(to: Address, tid: number, values: readonly Uint8Array[], now: Millis): void {
    const bytes = totalBytes(values);
    if (this.#bytes + bytes > LIMITS.partQueueBytes) {
      this.dropped++;
      return;
    }
    this.#bytes += bytes;
    this.#runs.push({ to, tid, values, bytes });
    this.#pump(now);
  }

  #pump(now: Millis): void {
    while (this.#credit > 0) {
      const run = this.#runs[0];
      if (run === undefined) break;
      this.#sendOne(run);
      this.#credit--;
    }
    if (this.#credit === LIMITS.partBurst) return;
    this.#resume ??= this.#scheduler.schedule(now + LIMITS.partPauseMs, (then) => {
      this.#resume = undefined;
      this.#credit = LIMITS.partBurst;
      this.#pump(then);
    });
  }

  #sendOne({ to, tid, values, bytes }: Run): void {
    const value = values[this.#index] as Uint8Array;
    const offset = this.#offset;
    const end = Math.min(offset + PROTOCOL.partBytes, value.length);
    this.#send(
      to,
      encodeMessage({
        type: 'part',
        ...this.#envelope,
        tid,
        pieces: [{ index: this.#index, offset, data: value.subarray(offset, end) }],
      }),
    );
    this.#offset = end;
    if (end < value.length) return;
    this.#offset = 0;
    this.#index++;
    if (this.#index < values.length) return;
    this.#index = 0;
    this.#bytes -= bytes;
    this.#runs.shift();
  }
}
