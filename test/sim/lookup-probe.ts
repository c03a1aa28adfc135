import type { Address } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import { readCompactNodes } from '../../agent/dht/addresses.ts';
import { compareDistance, type InfoHash } from '../../agent/dht/infohash.ts';
import { PROTOCOL } from '../../agent/dht/limits.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import type { SimNode, Tap } from './world.ts';

/**
 * Watches one lookup on the wire, without looking into the engine.
 *
 * *Hops* is the longest chain of "named by" that led to one of the closest 8 nodes that answered: 1 for a node that was
 * asked before any answer named it, one more than who named it first for every other.
 */
export class LookupProbe implements Tap {
  readonly #asker: SimNode;
  readonly #key: InfoHash;
  readonly #asked = new Set<number>();
  /** How far away each node was found, by id. */
  readonly #depth = new Map<string, number>();
  readonly #answered: InfoHash[] = [];
  requests = 0;
  replies = 0;

  constructor(asker: SimNode, key: InfoHash) {
    this.#asker = asker;
    this.#key = key;
  }

  sent(from: SimNode, _to: Address, packet: Uint8Array): void {
    if (from !== this.#asker) return;
    const message = decodeMessage(packet);
    if (message.type !== 'get' || message.key?.equals(this.#key) !== true) return;
    this.#asked.add(message.tid);
    this.requests++;
  }

  arrived(at: SimNode, _from: Address, packet: Uint8Array, _now: Millis): void {
    if (at !== this.#asker) return;
    const message = decodeMessage(packet);
    if (message.type !== 'reply' || !this.#asked.has(message.tid)) return;
    this.replies++;
    const depth = this.#depth.get(message.id.key) ?? 1;
    this.#depth.set(message.id.key, depth);
    if (!this.#answered.some((id) => id.equals(message.id))) this.#answered.push(message.id);
    for (const { id } of readCompactNodes(message.nodes4 ?? new Uint8Array(), 4))
      if (!this.#depth.has(id.key)) this.#depth.set(id.key, depth + 1);
  }

  get messages(): number {
    return this.requests + this.replies;
  }

  /** The closest 8 that answered, closest first. */
  get found(): readonly InfoHash[] {
    return this.#answered
      .toSorted((a, b) => compareDistance(this.#key, a, b))
      .slice(0, PROTOCOL.targetNodes);
  }

  get hops(): number {
    return Math.max(0, ...this.found.map(({ key }) => this.#depth.get(key) ?? 1));
  }
}
