import { type Address, sameAddress } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import { type AddressKey, addressKey } from './addresses.ts';
import { compareDistance, type InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import { Node } from './node.ts';

/** How many nodes are looked at for one that may be forgotten. */
const EVICTION_TRIES = 32;

/**
 * The known nodes of one family, by id and by address. The routing table, searches and listeners pick from here, so that
 * there is one object, and one state, for each node.
 */
export class NodeTable implements Iterable<Node> {
  readonly #byId = new Map<string, Node>();
  // The way of nearly every datagram: the node that always speaks from this address, found without making a string.
  readonly #byAddress = new Map<AddressKey, Node>();
  readonly #onClaim: (node: Node, now: Millis) => void;
  evicted = 0;
  /** Nodes that could not be kept because all others were in use. */
  unkept = 0;

  /** @param onClaim a good node's id was used from another address; a ping at the old one will tell */
  constructor(onClaim: (node: Node, now: Millis) => void) {
    this.#onClaim = onClaim;
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: InfoHash): Node | undefined {
    return this.#byId.get(id.key);
  }

  /** The node that has its place at an address. */
  at(key: AddressKey): Node | undefined {
    return this.#byAddress.get(key);
  }

  /**
   * The node that sends a message.
   * @param proven the message answers a request of ours, so the sender does receive at `address`
   *
   * A known id at a new address moves the node there if that is proven or the node was not good any more. Otherwise
   * anybody could take over a good node's entry with one datagram: the sender is then served as a node of its own that
   * is not kept, and the known one is asked whether it is still there.
   */
  heard(id: InfoHash, address: Address, proven: boolean, now: Millis): Node {
    const near = this.#byAddress.get(addressKey(address));
    if (near?.id.equals(id)) return near;
    const known = this.#byId.get(id.key);
    if (known === undefined) return this.#add(new Node(id, address));
    if (sameAddress(known.address, address)) return known;
    if (!proven && known.isGood(now)) {
      this.#onClaim(known, now);
      return new Node(id, address);
    }
    this.#move(known, address);
    return known;
  }

  /** A node that another node told of: known now, but not confirmed. */
  listed(id: InfoHash, address: Address, now: Millis): Node {
    const known = this.#byId.get(id.key);
    if (known === undefined) return this.#add(new Node(id, address));
    if (!known.isRemovable(now)) return known;
    const isElsewhere = !sameAddress(known.address, address);
    if (isElsewhere) this.#move(known, address);
    // It answers somebody else, so it may be back: after a partition nobody would ask anybody else. Not too often.
    if (isElsewhere || known.expiredAt < now - PROTOCOL.nodeSilentMs) known.giveAnotherChance();
    return known;
  }

  #move(node: Node, address: Address): void {
    const old = addressKey(node.address);
    if (this.#byAddress.get(old) === node) this.#byAddress.delete(old);
    node.moveTo(address);
    this.#byAddress.set(addressKey(address), node);
  }

  #add(node: Node): Node {
    if (this.#byId.size >= LIMITS.nodes && !this.#evict()) {
      this.unkept++;
      return node;
    }
    this.#byId.set(node.id.key, node);
    this.#byAddress.set(addressKey(node.address), node);
    return node;
  }

  /** Forget the oldest node that nothing uses. Those in use that are passed by become the newest. */
  #evict(): boolean {
    let tries = EVICTION_TRIES;
    for (const [key, node] of this.#byId) {
      if (tries-- === 0) return false;
      this.#byId.delete(key);
      if (node.isIdle) {
        const at = addressKey(node.address);
        if (this.#byAddress.get(at) === node) this.#byAddress.delete(at);
        this.evicted++;
        return true;
      }
      this.#byId.set(key, node);
    }
    return false;
  }

  [Symbol.iterator](): Iterator<Node> {
    return this.#byId.values();
  }

  /** The up to `count` known nodes closest to `target` that can be asked, closest first. */
  closest(target: InfoHash, count: number): Node[] {
    // A silent neighbourhood makes searches ask for this all the time: most nodes must cost one comparison, not a sort.
    const closest: Node[] = [];
    for (const node of this.#byId.values()) {
      if (node.expired || node.isClient) continue;
      let at = closest.length;
      while (at > 0 && compareDistance(target, node.id, (closest[at - 1] as Node).id) < 0) at--;
      if (at === count) continue;
      closest.splice(at, 0, node);
      if (closest.length > count) closest.pop();
    }
    return closest;
  }
}
