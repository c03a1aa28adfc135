import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Node } from './node.ts';
import { totalBytes } from './part-sender.ts';
import type { PendingRequest, RequestHandlers } from './request.ts';
import type { Scheduler } from './scheduler.ts';

export interface RequestsOptions {
  readonly random: Random;
  readonly scheduler: Scheduler;
  /** Send the packet and, after it, the values in parts. */
  readonly transmit: (request: PendingRequest, now: Millis) => void;
  /** `node` does not answer: it is expired now, and its requests are about to fail. */
  readonly onNodeExpired: (node: Node, now: Millis) => void;
}

/** The requests under way: repeated until answered, given up after three attempts (opendht.md 15.2). */
export class Requests {
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #transmit: (request: PendingRequest, now: Millis) => void;
  readonly #onNodeExpired: (node: Node, now: Millis) => void;
  readonly #pending = new Map<number, PendingRequest>();
  #bytes = 0;
  #smoothedRtt: Millis | undefined;
  #rttVariation: Millis = 0;
  started = 0;
  expired = 0;
  /** Not sent because too many were under way. */
  refused = 0;

  constructor(options: RequestsOptions) {
    this.#random = options.random;
    this.#scheduler = options.scheduler;
    this.#transmit = options.transmit;
    this.#onNodeExpired = options.onNodeExpired;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Of values that are to follow in parts. */
  get bytes(): number {
    return this.#bytes;
  }

  get(tid: number): PendingRequest | undefined {
    return this.#pending.get(tid);
  }

  isPending(request: PendingRequest): boolean {
    return this.#pending.get(request.tid) === request;
  }

  /** Is there room for one more, with `values` in parts? */
  hasRoom(values: readonly Uint8Array[]): boolean {
    const room =
      this.#pending.size < LIMITS.requests &&
      this.#bytes + totalBytes(values) <= LIMITS.requestBytes;
    if (!room) this.refused++;
    return room;
  }

  /** Unpredictable: nothing else tells a forged reply from a true one. */
  newTid(): number {
    for (;;) {
      const tid = this.#random.uint32();
      if (tid !== 0 && !this.#pending.has(tid)) return tid;
    }
  }

  start(
    tid: number,
    node: Node | undefined,
    address: Address,
    packet: Uint8Array,
    values: readonly Uint8Array[],
    handlers: RequestHandlers,
    now: Millis,
  ): PendingRequest {
    const request: PendingRequest = {
      tid,
      node,
      get address() {
        return node?.address ?? address;
      },
      packet,
      values,
      handlers,
      sentAt: now,
      attempts: 0,
      isAnswering: false,
      delayMs: PROTOCOL.requestBaseMs,
      nextAt: now,
      job: undefined,
    };
    this.started++;
    this.#bytes += totalBytes(values);
    this.#pending.set(tid, request);
    node?.requests.add(request);
    this.#attempt(request, now);
    return request;
  }

  #attempt(request: PendingRequest, now: Millis): void {
    if (request.attempts === PROTOCOL.requestAttempts) {
      this.#giveUp(request, now);
      return;
    }
    request.attempts++;
    request.delayMs = 2 * request.delayMs + this.#random.fraction() * PROTOCOL.requestJitterMs;
    request.nextAt = now + request.delayMs;
    request.job = this.#scheduler.schedule(request.nextAt, (then) => this.#attempt(request, then));
    this.#transmit(request, now);
  }

  #giveUp(request: PendingRequest, now: Millis): void {
    this.expired++;
    const { node } = request;
    this.finish(request);
    // A node that was heard meanwhile is there: only this request came to nothing.
    if (node !== undefined && node.lastHeard < request.sentAt) this.expire(node, now);
    request.handlers.onExpired?.(now);
  }

  /** Take `node` for gone: all that waits for it fails at once. */
  expire(node: Node, now: Millis): void {
    node.expire(now);
    const requests = [...node.requests];
    for (const request of requests) this.finish(request);
    this.#onNodeExpired(node, now);
    for (const request of requests) request.handlers.onExpired?.(now);
  }

  /** Answered, given up or no longer wanted. No handler is called. Idempotent. */
  finish(request: PendingRequest): void {
    if (!this.isPending(request)) return;
    this.#pending.delete(request.tid);
    request.job?.cancel();
    request.node?.requests.delete(request);
    this.#bytes -= totalBytes(request.values);
  }

  /** An answer came: how long did it take? Estimated as RFC 6298 §2 does. */
  measure(request: PendingRequest, now: Millis): void {
    if (request.attempts !== 1) return; // RFC 6298 §3: not of what was sent twice
    const rtt = now - request.sentAt;
    if (this.#smoothedRtt === undefined) {
      this.#smoothedRtt = rtt;
      this.#rttVariation = rtt / 2;
      return;
    }
    this.#rttVariation += (Math.abs(this.#smoothedRtt - rtt) - this.#rttVariation) / 4;
    this.#smoothedRtt += (rtt - this.#smoothedRtt) / 8;
  }

  /** How long an answer may take before one stops counting on it. */
  get lateMs(): Millis {
    const { lateMinMs, lateMaxMs } = LIMITS;
    if (this.#smoothedRtt === undefined) return (lateMinMs + lateMaxMs) / 2;
    return Math.min(lateMaxMs, Math.max(lateMinMs, this.#smoothedRtt + 4 * this.#rttVariation));
  }
}
