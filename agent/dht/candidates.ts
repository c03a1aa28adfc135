import type { Millis } from '../base/clock.ts';
import { compareDistance, type InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { Node } from './node.ts';
import { SearchNode } from './search-node.ts';

/**
 * The nodes of one search, sorted by their distance to its key. Up to 14 that answer as they should (*prompt*); those
 * that are late or gone do not count for that, so that behind them others are found.
 */
export class Candidates {
  readonly #key: InfoHash;
  readonly #lateMs: () => Millis;
  readonly #onDropped: (known: SearchNode) => void;
  readonly #nodes: SearchNode[] = [];

  constructor(key: InfoHash, lateMs: () => Millis, onDropped: (known: SearchNode) => void) {
    this.#key = key;
    this.#lateMs = lateMs;
    this.#onDropped = onDropped;
  }

  /** Closest first. */
  get all(): readonly SearchNode[] {
    return this.#nodes;
  }

  of(node: Node): SearchNode | undefined {
    return this.#nodes.find((known) => known.node === node);
  }

  /** Take `node` in if it is close enough. */
  offer(node: Node, now: Millis): void {
    if (node.isClient || node.expired) return;
    const at = this.#placeOf(node);
    if (this.#nodes[at - 1]?.node.id.equals(node.id)) return;
    let closer = 0;
    for (let i = 0; i < at; i++) if (this.#isPrompt(this.#nodes[i] as SearchNode, now)) closer++;
    if (closer >= PROTOCOL.searchNodes) return;
    if (this.#nodes.length >= LIMITS.searchKnown && !this.#makeRoom(at, now)) return;
    this.#nodes.splice(this.#placeOf(node), 0, new SearchNode(node));
    node.uses++;
    this.#trim(now);
  }

  /** Behind the closer ones, and behind itself. */
  #placeOf(node: Node): number {
    let at = this.#nodes.length;
    while (at > 0) {
      const before = (this.#nodes[at - 1] as SearchNode).node.id;
      if (compareDistance(this.#key, node.id, before) >= 0) break;
      at--;
    }
    return at;
  }

  /**
   * Full of nodes that do not answer: one that has expired goes, else one that is late and farther than position `at`. A
   * closer one stays until its request fails. Were it dropped, that request with it, it would be offered and asked anew at
   * once, and so on for as long as the network is silent.
   */
  #makeRoom(at: number, now: Millis): boolean {
    const last = this.#nodes.findLastIndex((known) => known.node.expired);
    const late = this.#nodes.findLastIndex((known) => !this.#isPrompt(known, now));
    const victim = last >= 0 ? last : late >= at ? late : -1;
    if (victim < 0) return false;
    this.#remove(victim);
    return true;
  }

  /** More that answer than are needed: the farthest go. */
  #trim(now: Millis): void {
    let prompt = 0;
    for (const known of this.#nodes) if (this.#isPrompt(known, now)) prompt++;
    for (let i = this.#nodes.length - 1; prompt > PROTOCOL.searchNodes; i--) {
      if (!this.#isPrompt(this.#nodes[i] as SearchNode, now)) continue;
      this.#remove(i);
      prompt--;
    }
  }

  #remove(index: number): void {
    for (const known of this.#nodes.splice(index, 1)) this.#drop(known);
  }

  #drop(known: SearchNode): void {
    known.node.uses--;
    this.#onDropped(known);
  }

  clear(): void {
    for (const known of this.#nodes.splice(0)) this.#drop(known);
  }

  #isPrompt(known: SearchNode, now: Millis): boolean {
    return !known.isBad && !known.isLate(this.#lateMs(), now);
  }

  /** The closest 8 that count: neither gone nor silent for a whole attempt. */
  closest(): SearchNode[] {
    return this.#first((known) => !known.isBad);
  }

  /** The closest 8 of whom no answer is overdue. */
  prompt(now: Millis): SearchNode[] {
    return this.#first((known) => this.#isPrompt(known, now));
  }

  #first(counts: (known: SearchNode) => boolean): SearchNode[] {
    const first: SearchNode[] = [];
    for (const known of this.#nodes) {
      if (first.length === PROTOCOL.targetNodes) break;
      if (counts(known)) first.push(known);
    }
    return first;
  }
}
