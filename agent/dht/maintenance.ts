import type { Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { InfoHash } from './infohash.ts';
import { InfoHash as Hash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import { WANT_IPV4, WANT_IPV6 } from './message.ts';
import type { Node } from './node.ts';
import type { RoutingTable } from './routing-table.ts';
import type { Rpc } from './rpc.ts';
import type { Job, Scheduler } from './scheduler.ts';

export interface MaintenanceOptions {
  readonly self: InfoHash;
  readonly rpc: Rpc;
  readonly table: RoutingTable;
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** Ask for nodes of both families. */
  readonly dualStack: boolean;
}

/** Keeps the routing table of one family filled with nodes that are there (opendht.md 15.4). */
export class Maintenance {
  readonly #self: InfoHash;
  readonly #rpc: Rpc;
  readonly #table: RoutingTable;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #want: readonly number[] | undefined;
  #verifying = 0;
  #nextRound: Job;

  constructor(options: MaintenanceOptions, now: Millis) {
    this.#self = options.self;
    this.#rpc = options.rpc;
    this.#table = options.table;
    this.#scheduler = options.scheduler;
    this.#random = options.random;
    this.#want = options.dualStack ? [WANT_IPV4, WANT_IPV6] : undefined;
    this.#nextRound = this.#next(PROTOCOL.maintenanceFirstMs, now, (then) => this.#round(then));
    this.#next(PROTOCOL.cleanupMs, now, (then) => this.#cleanUp(then));
  }

  #next(range: readonly [Millis, Millis], now: Millis, run: (now: Millis) => void): Job {
    const [least, most] = range;
    return this.#scheduler.schedule(now + least + this.#random.fraction() * (most - least), run);
  }

  /** Our line may be another one now: look at once who is there (opendht.md 16). */
  connectivityChanged(now: Millis): void {
    this.#table.markStale();
    this.#nextRound.cancel();
    this.#round(now);
  }

  /** A node was heard or heard of: give it a place if there is one. */
  offer(node: Node, now: Millis): void {
    const inTheWay = this.#table.insert(node, now);
    if (inTheWay !== undefined) this.#rpc.request(inTheWay, { type: 'ping' }, {}, now);
  }

  /** Another node told of it. With too few that we know to be there, see whether this one is. */
  listed(node: Node, now: Millis): void {
    if (node.inTable) return;
    this.offer(node, now);
    const isUnheard = node.lastHeard === Number.NEGATIVE_INFINITY;
    if (node.inTable && isUnheard && this.#table.count(now).good < PROTOCOL.targetNodes)
      this.verify(node, now);
  }

  /** Ask a node that spoke to us whether it is there: only then it is given out. Its neighbours come with the answer. */
  verify(node: Node, now: Millis): void {
    if (this.#verifying >= LIMITS.verifications || node.requests.size > 0) return;
    const done = () => {
      this.#verifying--;
    };
    const handlers = { onAnswer: done, onError: done, onExpired: done };
    if (this.#find(node, this.#self, now, handlers)) this.#verifying++;
  }

  #find(
    node: Node,
    target: InfoHash,
    now: Millis,
    handlers: Parameters<Rpc['request']>[2] = {},
  ): boolean {
    const query = { type: 'find', target, want: this.#want } as const;
    return this.#rpc.request(node, query, handlers, now) !== undefined;
  }

  #round(now: Millis): void {
    const refreshed = this.#refreshBucket(now) || this.#refreshNeighbourhood(now);
    const pinged = this.#pingSilent(now);
    const isSmall = this.#table.count(now).good < PROTOCOL.targetNodes;
    // Few are known, and something is changing: a network that begins is soon complete.
    const busy = isSmall ? PROTOCOL.maintenanceFirstMs : PROTOCOL.maintenanceBusyMs;
    const range = refreshed || pinged ? busy : PROTOCOL.maintenanceIdleMs;
    this.#nextRound = this.#next(range, now, (then) => this.#round(then));
  }

  /** A bucket without an answer for long, or with nobody in it: look for an id in it. */
  #refreshBucket(now: Millis): boolean {
    const { buckets } = this.#table;
    for (const [index, bucket] of buckets.entries()) {
      const isEmpty = bucket.nodes.every((node) => node.expired);
      if (!isEmpty && bucket.lastReply > now - PROTOCOL.bucketRefreshMs) continue;
      const target = this.#table.randomId(index, this.#random);
      const node = this.#pick(bucket.nodes) ?? this.#neighbour(index);
      if (node === undefined) continue;
      // Not again at once, should it stay silent.
      bucket.lastReply = now;
      if (this.#find(node, target, now)) return true;
    }
    return false;
  }

  #pick(nodes: readonly Node[]): Node | undefined {
    // 1 in 8: a node of a neighbour bucket may know what those of this one do not.
    if (this.#random.fraction() < 1 / 8) return undefined;
    const alive = nodes.filter((node) => !node.expired);
    return alive[Math.floor(this.#random.fraction() * alive.length)];
  }

  #neighbour(index: number): Node | undefined {
    const { buckets } = this.#table;
    for (const near of [index + 1, index - 1, index]) {
      const alive = buckets[near]?.nodes.filter((node) => !node.expired) ?? [];
      const node = alive[Math.floor(this.#random.fraction() * alive.length)];
      if (node !== undefined) return node;
    }
    return undefined;
  }

  /** Our own surroundings changed: look at them again, with an id next to ours. */
  #refreshNeighbourhood(now: Millis): boolean {
    if (this.#table.neighbourhoodChangedAt < now - PROTOCOL.neighbourhoodChangedMs) return false;
    const bytes = this.#self.bytes.slice();
    bytes[bytes.length - 1] = this.#random.uint32() & 0xff;
    const [node] = this.#table.closestGood(this.#self, 1, now);
    return node !== undefined && this.#find(node, new Hash(bytes), now);
  }

  /** Nodes not heard of for long are no longer given out: find out about some of them. */
  #pingSilent(now: Millis): boolean {
    let pings = 0;
    for (const node of this.#table.nodes()) {
      if (pings === LIMITS.pingsPerRound) break;
      if (!node.isDubious(now) || node.requests.size > 0) continue;
      if (this.#rpc.request(node, { type: 'ping' }, {}, now) !== undefined) pings++;
    }
    return pings > 0;
  }

  #cleanUp(now: Millis): void {
    for (const candidate of this.#table.removeExpired()) this.offer(candidate, now);
    this.#next(PROTOCOL.cleanupMs, now, (then) => this.#cleanUp(then));
  }
}
