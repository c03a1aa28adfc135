import { createHash } from 'node:crypto';
import { BoundedMap } from '../base/bounded.ts';
import { AgentError } from '../base/errors.ts';
import type { EncryptedValue } from '../dht/value.ts';
import { type OpenedValue, openValue, SealError, type SealFailure } from './envelope.ts';
import { MAX_REMEMBERED_JUNK, MAX_VALUE_BYTES } from './limits.ts';
import { OpenQueue } from './open-queue.ts';
import type { PrivateKey } from './private-key.ts';
import type { SignatureVerifier } from './signature.ts';

/** Why an encrypted value was not opened. */
export type OpenFailure =
  | SealFailure
  /** Too many waited: see open-queue.ts. */
  | 'overload'
  /** The key failed, not the value. */
  | 'decryption-failed';

/** What tells one cypher text from another: its SHA-256 in base64. */
export function cypherHash({ cypher }: EncryptedValue): string {
  return createHash('sha256').update(cypher).digest('base64');
}

export type OnOpened = (outcome: OpenedValue | OpenFailure) => void;

/**
 * The one place that decrypts what strangers sent: cheap checks, a fair queue, one decryption at a time. A flood takes one
 * core at most, and leaves the thread pool to sound.
 */
export class ValueOpener {
  readonly #key: PrivateKey;
  readonly #verifier: SignatureVerifier;
  readonly #queue = new OpenQueue<Waiting>();
  /** Why a value could not be opened, by `cypherHash`. */
  readonly #junk = new BoundedMap<string, SealFailure>(MAX_REMEMBERED_JUNK);
  #isOpening = false;
  #lanes = 0;
  #opened = 0;
  #repeated = 0;

  constructor(key: PrivateKey, verifier: SignatureVerifier) {
    this.#key = key;
    this.#verifier = verifier;
  }

  /** A name for one more row in the queue. */
  newLane(): string {
    return String(this.#lanes++);
  }

  /**
   * @param hash `cypherHash(value)`: callers need it as well
   * @param onOpened once, perhaps at once; never if the lane was cleared before
   */
  open(lane: string, value: EncryptedValue, hash: string, onOpened: OnOpened): void {
    const { length } = value.cypher;
    // What is signed does not fit into a single block.
    if (length <= this.#key.blockBytes || length > MAX_VALUE_BYTES) {
      onOpened('undecryptable');
      return;
    }
    const known = this.#junk.get(hash);
    if (known !== undefined) {
      this.#repeated++;
      onOpened(known);
      return;
    }
    const overdue = this.#queue.push(lane, { value, hash, onOpened }, length);
    for (const waiting of overdue) waiting.onOpened('overload');
    if (!this.#isOpening) void this.#openAll();
  }

  /** Forget what waits in a lane. */
  clear(lane: string): void {
    this.#queue.clear(lane);
  }

  stats() {
    return {
      opened: this.#opened,
      waiting: this.#queue.size,
      waitingBytes: this.#queue.bytes,
      overload: this.#queue.dropped,
      repeated: this.#repeated,
      junk: this.#junk.size,
    };
  }

  async #openAll(): Promise<void> {
    this.#isOpening = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift())
      next.onOpened(await this.#open(next));
    this.#isOpening = false;
  }

  async #open({ value, hash }: Waiting): Promise<OpenedValue | OpenFailure> {
    try {
      const opened = await openValue(value, this.#key, this.#verifier);
      this.#opened++;
      return opened;
    } catch (error) {
      if (error instanceof AgentError) return 'decryption-failed';
      if (!(error instanceof SealError)) throw error;
      this.#junk.set(hash, error.reason);
      return error.reason;
    }
  }
}

interface Waiting {
  readonly value: EncryptedValue;
  readonly hash: string;
  readonly onOpened: OnOpened;
}
