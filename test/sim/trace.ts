import { createHash, type Hash } from 'node:crypto';
import { type Address, formatAddress } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import type { SimNode, Tap } from './world.ts';

/** What went on in a world, byte by byte, as one hash: two runs with one seed must come to the same. */
export class Trace implements Tap {
  readonly #hash: Hash = createHash('sha256');
  datagrams = 0;

  arrived(at: SimNode, from: Address, packet: Uint8Array, now: Millis): void {
    this.datagrams++;
    this.#hash.update(`${now} ${formatAddress(from)} ${formatAddress(at.address)}\n`);
    this.#hash.update(packet);
  }

  /** 64 hex digits, of everything so far. */
  digest(): string {
    return this.#hash.copy().digest('hex');
  }
}
