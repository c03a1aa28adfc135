import { BoundedMap } from '../base/bounded.ts';
import type { Millis, Moment } from '../base/clock.ts';
import { TokenBucket } from '../base/token-bucket.ts';
import type { SecurityEvent } from '../events.ts';
import {
  CLOCK_TOLERANCE_MS,
  MAX_WATCHED_PEERS,
  OFFER_BURST,
  OFFER_REFILL_MS,
  SIGNAL_LIFETIME_MS,
  START_TOLERANCE_MS,
} from './limits.ts';
import type { DeviceRef } from './ring-group.ts';
import type { Signal } from './signal.ts';
import { Strangers } from './strangers.ts';

/** Who may ring, and what they are called. `contact/` decides it. */
export interface CallPolicy {
  decide(accountId: string): 'answer' | 'ring' | 'refuse';
  /** Contact name, or `unknown`. */
  nameOf(accountId: string): string;
}

/** What to do about a signal that belongs to no call. */
export type Admittance =
  | { readonly kind: 'admit'; readonly autoAnswer: boolean }
  /** A hang-up that overtook its offer: the call is over before it begins. */
  | { readonly kind: 'over' }
  /** `tell`: whether to answer the stranger at all. */
  | { readonly kind: 'refuse'; readonly tell: boolean }
  | { readonly kind: 'drop'; readonly reason: 'stale' | 'unknownCall' | 'tooMany' };

/**
 * Decides who may begin a call, before anything is made for it. Strangers change nothing here but
 * two counters.
 */
export class Admission {
  readonly #policy: CallPolicy;
  readonly #since: Moment | undefined;
  readonly #strangers = new Strangers();
  readonly #rates = new BoundedMap<string, TokenBucket>(MAX_WATCHED_PEERS);

  /** @param since when this device began to listen */
  constructor(policy: CallPolicy, since?: Moment) {
    this.#policy = policy;
    this.#since = since;
  }

  judge(signal: Signal, { accountId }: DeviceRef, at: Moment): Admittance {
    const ageMs = at.unixMs - signal.sentAtUnixMs;
    if (ageMs > SIGNAL_LIFETIME_MS + CLOCK_TOLERANCE_MS || ageMs < -CLOCK_TOLERANCE_MS) {
      return { kind: 'drop', reason: 'stale' };
    }
    const decision = this.#policy.decide(accountId);
    if (signal.kind === 'hangup' && decision !== 'refuse') return { kind: 'over' };
    // There is no call to resume, either.
    if (signal.kind !== 'offer' || signal.resume) return { kind: 'drop', reason: 'unknownCall' };
    if (this.#isFromBefore(signal, at)) return { kind: 'drop', reason: 'stale' };
    if (decision === 'refuse') return { kind: 'refuse', tell: this.#strangers.refuse(at.now) };
    if (!this.#rateOf(accountId).take(at.now)) return { kind: 'drop', reason: 'tooMany' };
    return { kind: 'admit', autoAnswer: decision === 'answer' };
  }

  /**
   * What lay in the inbox when we began to listen is mostly a call that is over, and that the run before knew. Whoever still
   * calls says it again within seconds.
   */
  #isFromBefore(offer: Signal, at: Moment): boolean {
    if (this.#since === undefined) return false;
    // Older ones are stale by themselves; and a clock that is set back must not keep people out for longer.
    if (at.now - this.#since.now > SIGNAL_LIFETIME_MS + CLOCK_TOLERANCE_MS) return false;
    return offer.sentAtUnixMs < this.#since.unixMs - START_TOLERANCE_MS;
  }

  nameOf(accountId: string): string {
    return this.#policy.nameOf(accountId);
  }

  /** The `security` event that is due, if one is. */
  event(now: Millis): SecurityEvent | undefined {
    return this.#strangers.event(now);
  }

  nextTimeout(): Millis {
    return this.#strangers.nextTimeout();
  }

  stats(): { readonly refused: number; readonly watchedPeers: number } {
    return { refused: this.#strangers.refused, watchedPeers: this.#rates.size };
  }

  #rateOf(accountId: string): TokenBucket {
    const bucket = this.#rates.get(accountId) ?? new TokenBucket(OFFER_BURST, OFFER_REFILL_MS);
    this.#rates.set(accountId, bucket); // the newest again
    return bucket;
  }
}
