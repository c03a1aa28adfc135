import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Node } from './node.ts';
import type { Answer } from './request.ts';
import type { Rpc } from './rpc.ts';
import type { Job, Scheduler } from './scheduler.ts';

export interface BootstrapHost {
  isConnected(): boolean;
  /** Connected to as many as a bucket has: nobody need be looked for. */
  isSettled(now: Millis): boolean;
  /** A round begins: names may have got other addresses since the last one. */
  onRound(): void;
  /** A node answered at one of the addresses. */
  onAnswer(node: Node, now: Millis): void;
  /** The last ping of a round was answered or given up. */
  onIdle(now: Millis): void;
}

/**
 * The way in: ping the configured addresses, again and again while we are connected to nobody (opendht.md 15.5).
 *
 * The reference leaves it at that. Then two nodes that began by finding each other, and nobody else, stay an island, and
 * two halves of a DHT that could not reach each other for long may stay two. So the rounds go on while few are known, and
 * the addresses are pinged now and then even when many are.
 */
export class Bootstrap {
  readonly #rpc: Rpc;
  readonly #scheduler: Scheduler;
  readonly #host: BootstrapHost;
  #addresses: readonly Address[] = [];
  /** Asked some at a time, in turn. */
  #remembered: Address[] = [];
  /** Some of the addresses are names, which are looked up again in each round. */
  #hasNames = false;
  #awaitsNames = false;
  #pending = 0;
  #rounds = 0;
  #lastRound: Millis = Number.NEGATIVE_INFINITY;
  #job: Job | undefined;

  constructor(rpc: Rpc, scheduler: Scheduler, host: BootstrapHost) {
    this.#rpc = rpc;
    this.#scheduler = scheduler;
    this.#host = host;
  }

  /** Pings are under way, or names are being looked up: somebody may answer yet. */
  get isPending(): boolean {
    return this.#pending > 0 || this.#awaitsNames;
  }

  /** Names are being looked up: `set` comes when that is done, with what was found. */
  awaitNames(): void {
    this.#hasNames = true;
    this.#awaitsNames = true;
  }

  /** Use these from now on; they are pinged at once. */
  set(addresses: readonly Address[], now: Millis): void {
    this.#awaitsNames = false;
    this.#addresses = addresses.slice(0, LIMITS.bootstrapAddresses);
    this.#rounds = 0;
    this.#round(now);
    if (!this.isPending) this.#host.onIdle(now);
  }

  /**
   * Nodes that were there once. Some of them are pinged in each round as well, others in the next: a node whose bootstrap
   * is down finds its way back through them.
   */
  remember(addresses: readonly Address[], now: Millis): void {
    this.#remembered = addresses.slice(0, LIMITS.stateNodes);
    this.#rounds = 0;
    this.#round(now);
  }

  /** The connection is lost: begin again with short pauses, yet never ping the same addresses in a tight circle. */
  restart(now: Millis): void {
    this.#rounds = 0;
    const earliest = this.#lastRound + PROTOCOL.bootstrapFirstMs;
    if (now >= earliest) this.#round(now);
    else this.#roundAt(earliest);
  }

  #roundAt(moment: Millis): void {
    this.#job?.cancel();
    this.#job = this.#scheduler.schedule(moment, (now) => {
      const due = this.#lastRound + LIMITS.bootstrapCheckMs;
      if (this.#host.isSettled(now) && now < due) {
        this.#roundAt(due);
        return;
      }
      if (!this.#host.isConnected()) this.#host.onRound();
      this.#round(now);
    });
  }

  #round(now: Millis): void {
    this.#job?.cancel();
    this.#job = undefined;
    const addresses = this.#host.isConnected()
      ? this.#addresses
      : [...this.#addresses, ...this.#takeRemembered()];
    // Without a line at the start no name was found: they are asked for again.
    if (addresses.length === 0 && !this.#hasNames) return;
    const pause = Math.min(PROTOCOL.bootstrapFirstMs * 2 ** this.#rounds, LIMITS.bootstrapMaxMs);
    this.#rounds++;
    this.#lastRound = now;
    this.#roundAt(now + pause);
    for (const address of addresses) this.#ping(address, now);
  }

  #takeRemembered(): Address[] {
    const taken = this.#remembered.splice(0, LIMITS.rememberedPings);
    this.#remembered.push(...taken);
    return taken;
  }

  #ping(address: Address, now: Millis): void {
    const done = (then: Millis) => {
      this.#pending--;
      if (this.#pending === 0) this.#host.onIdle(then);
    };
    const handlers = {
      onAnswer: ({ node }: Answer, then: Millis) => {
        this.#host.onAnswer(node, then);
        done(then);
      },
      onError: (_: unknown, then: Millis) => done(then),
      onExpired: done,
    };
    if (this.#rpc.pingAddress(address, handlers, now) !== undefined) this.#pending++;
  }
}
