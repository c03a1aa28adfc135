import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import {
  commonBits,
  commonBitsAt,
  compareDistanceAt,
  INFOHASH_BYTES,
  InfoHash,
  prefix32,
} from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Node } from './node.ts';

export interface Bucket {
  readonly nodes: Node[];
  /** Waits for a place. */
  candidate: Node | undefined;
  /** When a node of it last answered. */
  lastReply: Millis;
}

/** A node of the table at one moment. */
export interface TableEntry {
  readonly id: InfoHash;
  readonly address: Address;
  readonly state: 'good' | 'dubious' | 'expired';
  /** Since it was last heard; undefined: never. */
  readonly heardMsAgo: Millis | undefined;
  /** Its bucket: how many leading bits it shares with us, of the last one at least as many. */
  readonly bucket: number;
}

/**
 * The routing table of one family (opendht.md 15.4). Only the bucket of the own id is ever split, so bucket `i` holds
 * the nodes that share exactly `i` leading bits with us, and the last one those that share more.
 */
export class RoutingTable {
  readonly #self: InfoHash;
  readonly #buckets: Bucket[] = [newBucket()];
  /** When the own bucket last got a new node. */
  neighbourhoodChangedAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(self: InfoHash) {
    this.#self = self;
  }

  get buckets(): readonly Bucket[] {
    return this.#buckets;
  }

  bucketOf(id: InfoHash): Bucket {
    const index = Math.min(commonBits(this.#self, id), this.#buckets.length - 1);
    return this.#buckets[index] as Bucket;
  }

  /** A node answered: its bucket is alive. */
  replied(node: Node, now: Millis): void {
    this.bucketOf(node.id).lastReply = now;
  }

  /**
   * Take a node in if there is a place: an empty one, that of an expired node, or one made by splitting.
   * @returns the node to ping when there was none: if it does not answer, `node` gets its place
   */
  insert(node: Node, now: Millis): Node | undefined {
    if (node.inTable || node.isClient) return undefined;
    const bucket = this.bucketOf(node.id);
    if (bucket.nodes.length < PROTOCOL.targetNodes) {
      this.#place(bucket, node, now);
      return undefined;
    }
    const expired = bucket.nodes.findIndex((other) => other.expired);
    if (expired >= 0) {
      this.#release(bucket.nodes.splice(expired, 1)[0]);
      this.#place(bucket, node, now);
      return undefined;
    }
    const dubious = bucket.nodes.find((other) => other.isDubious(now) && other.requests.size === 0);
    const own = bucket === this.#buckets.at(-1);
    if (own && this.#buckets.length < LIMITS.buckets) {
      if (this.#buckets.length === 1 || dubious === undefined) {
        this.#split();
        return this.insert(node, now);
      }
    }
    if (dubious !== undefined) this.#setCandidate(bucket, node);
    return dubious;
  }

  #place(bucket: Bucket, node: Node, now: Millis): void {
    if (bucket.candidate === node) this.#setCandidate(bucket, undefined);
    bucket.nodes.push(node);
    node.inTable = true;
    node.uses++;
    if (bucket === this.#buckets.at(-1)) this.neighbourhoodChangedAt = now;
  }

  #release(node: Node | undefined): void {
    if (node === undefined) return;
    node.inTable = false;
    node.uses--;
  }

  #setCandidate(bucket: Bucket, node: Node | undefined): void {
    if (bucket.candidate !== undefined) bucket.candidate.uses--;
    bucket.candidate = node;
    if (node !== undefined) node.uses++;
  }

  #split(): void {
    const last = this.#buckets.at(-1) as Bucket;
    const bits = this.#buckets.length - 1;
    // Stale from the start: maintenance will look for more nodes of it.
    const further = newBucket();
    this.#buckets.push(further);
    const nodes = last.nodes.splice(0);
    for (const node of nodes)
      (commonBits(this.#self, node.id) > bits ? further : last).nodes.push(node);
    this.#setCandidate(last, undefined);
  }

  /**
   * Drop the expired nodes.
   * @returns candidates that may have a place now, to be pinged
   */
  removeExpired(): Node[] {
    const candidates: Node[] = [];
    for (const bucket of this.#buckets) {
      for (let i = bucket.nodes.length - 1; i >= 0; i--) {
        if (bucket.nodes[i]?.expired) this.#release(bucket.nodes.splice(i, 1)[0]);
      }
      const { candidate } = bucket;
      if (candidate !== undefined && bucket.nodes.length < PROTOCOL.targetNodes) {
        this.#setCandidate(bucket, undefined);
        if (!candidate.expired) candidates.push(candidate);
      }
    }
    return candidates;
  }

  /** The up to `count` good nodes closest to `target`, closest first. */
  closestGood(target: InfoHash, count: number, now: Millis): Node[] {
    const found: Node[] = [];
    found.length = this.collectGood(found, target.bytes, 0, count, now);
    return found;
  }

  /**
   * The same for a target inside a datagram, into an array that is used again.
   * @returns how many nodes of `found` count now
   */
  collectGood(found: Node[], bytes: Uint8Array, at: number, count: number, now: Millis): number {
    // Where we and the target part, the bucket on the target's side is closest; then all that share more bits with us,
    // which are one as the target sees it; then bucket by bucket away from both.
    const last = this.#buckets.length - 1;
    const parting = Math.min(commonBitsAt(this.#self.bytes, bytes, at), last);
    let size = this.#collect(found, 0, parting, parting, bytes, at, now);
    if (size < count) size = this.#collect(found, size, parting + 1, last, bytes, at, now);
    for (let i = parting - 1; i >= 0 && size < count; i--)
      size = this.#collect(found, size, i, i, bytes, at, now);
    return Math.min(size, count);
  }

  /**
   * Append the good nodes of the buckets `first` to `last` in the order of their distance to the target.
   * @param start how many there are already
   * @returns how many there are now
   */
  #collect(
    found: Node[],
    start: number,
    first: number,
    last: number,
    bytes: Uint8Array,
    at: number,
    now: Millis,
  ): number {
    const target = prefix32(bytes, at);
    let size = start;
    for (let i = first; i <= last; i++) {
      const { nodes } = this.#buckets[i] as Bucket;
      for (let k = 0; k < nodes.length; k++) {
        const node = nodes[k] as Node;
        if (!node.isGood(now) || node.isSilent) continue;
        let place = size++;
        while (place > start && isCloser(node, found[place - 1] as Node, target, bytes, at)) {
          found[place] = found[place - 1] as Node;
          place--;
        }
        found[place] = node;
      }
    }
    return size;
  }

  /** Nothing is known to be there any more: maintenance will look at each bucket. */
  markStale(): void {
    for (const bucket of this.#buckets) bucket.lastReply = Number.NEGATIVE_INFINITY;
  }

  /** Every node in it. */
  *nodes(): Generator<Node> {
    for (const bucket of this.#buckets) yield* bucket.nodes;
  }

  *entries(now: Millis): Generator<TableEntry> {
    for (const [bucket, { nodes }] of this.#buckets.entries()) {
      for (const node of nodes) {
        const { id, address, lastHeard } = node;
        const state = node.expired ? 'expired' : node.isGood(now) ? 'good' : 'dubious';
        const heardMsAgo = Number.isFinite(lastHeard) ? now - lastHeard : undefined;
        yield { id, address, state, heardMsAgo, bucket };
      }
    }
  }

  hasGood(now: Millis): boolean {
    for (const { nodes } of this.#buckets) if (nodes.some((node) => node.isGood(now))) return true;
    return false;
  }

  count(now: Millis): { readonly good: number; readonly dubious: number } {
    let good = 0;
    let dubious = 0;
    for (const node of this.nodes()) {
      if (node.isGood(now)) good++;
      else if (!node.expired) dubious++;
    }
    return { good, dubious };
  }

  /** A random id that belongs into the bucket at `index`. */
  randomId(index: number, random: Random): InfoHash {
    const bytes = random.bytes(INFOHASH_BYTES);
    const last = index === this.#buckets.length - 1;
    for (let bit = 0; bit < index + (last ? 0 : 1); bit++) {
      const at = bit >> 3;
      const mask = 0x80 >> (bit & 7);
      const own = (this.#self.bytes[at] as number) & mask;
      const wanted = bit === index ? own ^ mask : own;
      bytes[at] = ((bytes[at] as number) & ~mask) | wanted;
    }
    return new InfoHash(bytes);
  }
}

/** Is `a` closer than `b` to the hash at `at`, whose first 32 bits are `target`? */
function isCloser(a: Node, b: Node, target: number, bytes: Uint8Array, at: number): boolean {
  const [x, y] = [(a.prefix ^ target) >>> 0, (b.prefix ^ target) >>> 0];
  return x === y ? compareDistanceAt(bytes, at, a.id, b.id) < 0 : x < y;
}

function newBucket(): Bucket {
  return { nodes: [], candidate: undefined, lastReply: Number.NEGATIVE_INFINITY };
}
