import { type Address, sameAddress } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import { compactNode, type Family, familyOf } from './addresses.ts';
import { type InfoHash, prefix32 } from './infohash.ts';
import { PROTOCOL } from './limits.ts';
import type { PendingRequest } from './request.ts';

/** A peer of the DHT as far as we know it (opendht.md 15.3). */
export class Node {
  readonly id: InfoHash;
  /** The first 32 bits of the id: enough to tell nearly all distances apart. */
  readonly prefix: number;
  readonly family: Family;
  #address: Address;
  #compact: Uint8Array | undefined;
  lastHeard: Millis = Number.NEGATIVE_INFINITY;
  lastReply: Millis = Number.NEGATIVE_INFINITY;
  /** When it answered for the first time, or for the first time since it was given up. */
  thereSince: Millis = Number.NEGATIVE_INFINITY;
  /** A request to it failed and nothing was heard since. */
  expired = false;
  expiredAt: Millis = Number.NEGATIVE_INFINITY;
  /** It said that it is a client only: answered, never given out, never asked. */
  isClient = false;
  /** Refused tokens in a row. */
  authFailures = 0;
  /** The token it gets from us and of which secret, so that it is not computed for each of its queries. */
  token: Uint8Array | undefined;
  tokenGeneration = 0;
  /** How many tables, searches and listeners hold it: while there is one, the node is not forgotten. */
  uses = 0;
  inTable = false;
  readonly requests = new Set<PendingRequest>();

  constructor(id: InfoHash, address: Address) {
    this.id = id;
    this.prefix = prefix32(id.bytes, 0);
    this.#address = address;
    this.family = familyOf(address);
  }

  get address(): Address {
    return this.#address;
  }

  /** Its entry in node lists. */
  get compact(): Uint8Array {
    this.#compact ??= compactNode(this.id, this.#address);
    return this.#compact;
  }

  moveTo(address: Address): void {
    if (sameAddress(this.#address, address)) return;
    this.#address = address;
    this.#compact = undefined;
    this.token = undefined;
  }

  /**
   * A message came from it.
   * @returns true when that is news: the first one, or the first since it was taken for gone
   */
  heard(now: Millis): boolean {
    const news = this.expired || this.lastHeard === Number.NEGATIVE_INFINITY;
    this.lastHeard = now;
    this.expired = false;
    return news;
  }

  /** A request to it failed. */
  expire(now: Millis): void {
    this.expired = true;
    this.expiredAt = now;
  }

  /** Our line may be another one now: if it seemed gone, it is to show anew whether it is there. */
  giveAnotherChance(): void {
    if (!this.expired) return;
    this.expired = false;
    this.lastReply = Number.NEGATIVE_INFINITY;
    this.authFailures = 0;
  }

  /** Answered lately and heard lately: the only kind of node that is given out to others. */
  isGood(now: Millis): boolean {
    return (
      !this.expired &&
      this.lastReply >= now - PROTOCOL.nodeGoodMs &&
      this.lastHeard >= now - PROTOCOL.nodeSilentMs
    );
  }

  isDubious(now: Millis): boolean {
    return !this.expired && !this.isGood(now);
  }

  /** It let a whole attempt pass: more likely gone than not. */
  get isSilent(): boolean {
    if (this.requests.size === 0) return false;
    for (const request of this.requests) if (request.attempts > 1) return true;
    return false;
  }

  /** Nobody waits for it any more. */
  isRemovable(now: Millis): boolean {
    return this.expired && this.lastHeard < now - PROTOCOL.nodeSilentMs;
  }

  get isIdle(): boolean {
    return this.uses === 0 && this.requests.size === 0;
  }
}
