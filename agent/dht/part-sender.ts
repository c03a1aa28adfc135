import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import type { EngineOutput } from '../base/engine.ts';
import { type AddressKey, addressKey } from './addresses.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Envelope } from './message.ts';
import { encodeInPlace } from './message-encode.ts';
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

/** A message whose values are being sent. */
interface Run {
  readonly tid: number;
  readonly values: readonly Uint8Array[];
  readonly bytes: number;
  /** The next part: of which value, and from where on. */
  index: number;
  offset: number;
}

interface Destination {
  readonly to: Address;
  readonly runs: Run[];
  /** Datagrams that it may get before the next pause. */
  credit: number;
  /** Packed bytes that wait for it. */
  bytes: number;
  /** It stands in the row of those that get their parts now. */
  isReady: boolean;
}

/**
 * Sends values in parts, all of value 0 in rising offset, then value 1, and so on (opendht.md 6.2). Nothing is
 * acknowledged, so a burst that overflows a receive buffer is lost: after some parts to one address there is a pause, and
 * after some more to all together, which is what our own line takes. A part is written when it is fetched.
 */
export class PartSender {
  readonly #scheduler: Scheduler;
  readonly #envelope: Pick<Envelope, 'network' | 'client'>;
  /** Those that get parts or got some since the last pause. */
  readonly #destinations = new Map<AddressKey, Destination>();
  #ready: Destination[] = [];
  /** Whose turn it is in `#ready`. */
  #next = 0;
  #bytes = 0;
  #credit: number = LIMITS.partBurstTotal;
  #resume: Job | undefined;
  /** Messages whose parts were not sent because too much was waiting. */
  dropped = 0;

  constructor(scheduler: Scheduler, envelope: Pick<Envelope, 'network' | 'client'>) {
    this.#scheduler = scheduler;
    this.#envelope = envelope;
  }

  get queuedBytes(): number {
    return this.#bytes;
  }

  get destinations(): number {
    return this.#destinations.size;
  }

  send(to: Address, tid: number, values: readonly Uint8Array[], now: Millis): void {
    const bytes = totalBytes(values);
    const key = addressKey(to);
    let destination = this.#destinations.get(key);
    const isCrowded =
      destination === undefined
        ? this.#destinations.size >= LIMITS.partDestinations
        : destination.bytes + bytes > LIMITS.partBytesPerDestination;
    if (this.#bytes + bytes > LIMITS.partQueueBytes || isCrowded) {
      this.dropped++;
      return;
    }
    if (destination === undefined) {
      destination = { to, runs: [], credit: LIMITS.partBurst, bytes: 0, isReady: false };
      this.#destinations.set(key, destination);
    }
    this.#bytes += bytes;
    destination.bytes += bytes;
    destination.runs.push({ tid, values, bytes, index: 0, offset: 0 });
    this.#enter(destination);
    this.#resume ??= this.#scheduler.schedule(now + LIMITS.partPauseMs, this.#goOn);
  }

  #enter(destination: Destination): void {
    if (destination.isReady) return;
    destination.isReady = true;
    this.#ready.push(destination);
  }

  /** The pause is over: everybody who waits gets a burst, those first who got none before it. */
  readonly #goOn = (now: Millis): void => {
    const waiting = this.#ready.slice(this.#next);
    this.#ready = [];
    this.#next = 0;
    this.#credit = LIMITS.partBurstTotal;
    for (const destination of waiting) destination.isReady = false;
    for (const [key, destination] of this.#destinations) {
      destination.credit = LIMITS.partBurst;
      if (destination.runs.length === 0) this.#destinations.delete(key);
    }
    for (const destination of waiting) this.#enter(destination);
    for (const destination of this.#destinations.values()) this.#enter(destination);
    this.#resume =
      this.#destinations.size === 0
        ? undefined
        : this.#scheduler.schedule(now + LIMITS.partPauseMs, this.#goOn);
  };

  /** The next part that may go now; its packet is good until the next call. */
  poll(): (EngineOutput<never> & { type: 'send' }) | undefined {
    while (this.#credit > 0) {
      const destination = this.#ready[this.#next];
      if (destination === undefined) return undefined;
      const run = destination.runs[0];
      if (run !== undefined && destination.credit > 0) {
        destination.credit--;
        this.#credit--;
        return { type: 'send', to: destination.to, packet: this.#nextPart(destination, run) };
      }
      destination.isReady = false;
      this.#next++;
    }
    return undefined;
  }

  #nextPart(destination: Destination, run: Run): Uint8Array {
    const { tid, index, offset } = run;
    const value = run.values[index] as Uint8Array;
    const end = Math.min(offset + PROTOCOL.partBytes, value.length);
    run.offset = end < value.length ? end : 0;
    if (end === value.length) run.index++;
    if (run.index === run.values.length) {
      destination.runs.shift();
      this.#bytes -= run.bytes;
      destination.bytes -= run.bytes;
    }
    const pieces = [{ index, offset, data: value.subarray(offset, end) }];
    return encodeInPlace({ type: 'part', ...this.#envelope, tid, pieces });
  }
}
