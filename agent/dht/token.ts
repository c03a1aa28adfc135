import type { Address } from '../base/address.ts';
import { equalBytes } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { PROTOCOL } from './limits.ts';
import type { Node } from './node.ts';
import { sipHash128 } from './siphash.ts';

/**
 * Write tokens (opendht.md 8): a keyed hash of the asker's address and port, so that only who receives at an address
 * can write from it. Nothing is remembered about askers. Opaque to them, so it need not be the reference's SHA-256; a
 * keyed hash made for short input costs a tenth of it, and every find and get is answered with one.
 */
export class TokenMint {
  readonly #random: Random;
  #secret: Uint8Array;
  #previous: Uint8Array;
  #changeAt: Millis;
  /** Counts the secrets. */
  #generation = 1;

  constructor(random: Random, now: Millis) {
    this.#random = random;
    this.#secret = random.bytes(16);
    this.#previous = this.#secret;
    this.#changeAt = this.#nextChange(now);
  }

  /** The token for `address`: good until the secret has changed twice, so for 15 to 90 minutes. */
  mint(address: Address, now: Millis): Uint8Array {
    this.#rotate(now);
    return sipHash128(this.#secret, input(address));
  }

  /** The token for a node at its address: computed once for each secret. */
  mintFor(node: Node, now: Millis): Uint8Array {
    this.#rotate(now);
    if (node.token === undefined || node.tokenGeneration !== this.#generation) {
      node.token = this.mint(node.address, now);
      node.tokenGeneration = this.#generation;
    }
    return node.token;
  }

  isValid(token: Uint8Array | undefined, address: Address, now: Millis): boolean {
    if (token === undefined) return false;
    this.#rotate(now);
    // Not compared in constant time: one datagram each, behind a rate limit, with network jitter a million times a byte.
    const bytes = input(address);
    return (
      equalBytes(token, sipHash128(this.#secret, bytes)) ||
      equalBytes(token, sipHash128(this.#previous, bytes))
    );
  }

  #rotate(now: Millis): void {
    if (now < this.#changeAt) return;
    this.#previous = this.#secret;
    this.#secret = this.#random.bytes(16);
    this.#generation++;
    this.#changeAt = this.#nextChange(now);
  }

  #nextChange(now: Millis): Millis {
    const { tokenSecretMinMs, tokenSecretMaxMs } = PROTOCOL;
    return now + tokenSecretMinMs + this.#random.fraction() * (tokenSecretMaxMs - tokenSecretMinMs);
  }
}

function input({ ip, port }: Address): Uint8Array {
  const bytes = new Uint8Array(ip.length + 2);
  bytes.set(ip);
  bytes[ip.length] = port >> 8;
  bytes[ip.length + 1] = port;
  return bytes;
}
