import { createHash } from 'node:crypto';
import { BoundedMap } from '../base/bounded.ts';
import { AgentError } from '../base/errors.ts';
import type { DhtClient, DhtOperation } from '../dht/client.ts';
import type { InfoHash } from '../dht/infohash.ts';
import type { EncryptedValue, Value } from '../dht/value.ts';
import type { DeviceCertificate } from './certificate.ts';
import type { CertificateDirectory } from './certificate-directory.ts';
import {
  type Content,
  type OpenedValue,
  openValue,
  SealError,
  type SealFailure,
} from './envelope.ts';
import {
  MAX_LISTENS,
  MAX_REMEMBERED_VALUES,
  MAX_VALUE_BYTES,
  MAX_WAITING_PER_AUTHOR,
} from './limits.ts';
import { OpenQueue } from './open-queue.ts';
import type { PrivateKey } from './private-key.ts';
import type { SignatureVerifier } from './signature.ts';

export interface ReceivedContent extends Content {
  readonly valueId: bigint;
}

export type OnSealed = (content: ReceivedContent, author: DeviceCertificate) => void;

/** Why a value that was heard did not reach the application. A full queue is counted apart, as `overload`. */
export type DropReason =
  | SealFailure
  | 'not-sealed'
  | 'repeated'
  | 'decryption-failed'
  | 'author-busy'
  | 'no-certificate';

export interface SealedListenerOptions {
  readonly dht: DhtClient;
  readonly key: PrivateKey;
  readonly verifier: SignatureVerifier;
  readonly directory: CertificateDirectory;
}

/**
 * The receiving half of secure-dht.ts: value heard → cheap checks → queue → decrypt and verify → author's certificate →
 * application. Whatever fails on the way is counted and dropped: most of what lies at a public inbox is for others.
 */
export class SealedListener {
  readonly #options: SealedListenerOptions;
  readonly #listens = new Set<Listen>();
  readonly #queue = new OpenQueue<Waiting>();
  readonly #remembered = new BoundedMap<string, true>(MAX_REMEMBERED_VALUES);
  /** By short id of an author whose certificate is being looked up: values that wait for it. */
  readonly #waiting = new Map<string, number>();
  readonly #counters = createCounters();
  #isOpening = false;
  #lanes = 0;

  constructor(options: SealedListenerOptions) {
    this.#options = options;
  }

  /** @throws {AgentError} `too-many-listens` at MAX_LISTENS */
  listen(key: InfoHash, onSealed: OnSealed): DhtOperation {
    if (this.#listens.size >= MAX_LISTENS)
      throw new AgentError('too-many-listens', `${MAX_LISTENS} keys are listened to already`);
    const listen: Listen = { lane: String(this.#lanes++), onSealed, operation: undefined };
    this.#listens.add(listen);
    listen.operation = this.#options.dht.listen(key, undefined, (value, expired) => {
      if (!expired && this.#listens.has(listen)) this.#receive(value, listen);
    });
    return { cancel: () => this.#cancel(listen) };
  }

  close(): void {
    for (const listen of this.#listens) this.#cancel(listen);
  }

  stats() {
    const { dropped, ...counters } = this.#counters;
    return {
      ...counters,
      dropped: { ...dropped, overload: this.#queue.dropped },
      waiting: this.#queue.size,
      listens: this.#listens.size,
      remembered: this.#remembered.size,
    };
  }

  #cancel(listen: Listen): void {
    this.#listens.delete(listen);
    this.#queue.clear(listen.lane);
    listen.operation?.cancel();
  }

  #receive(value: Value, listen: Listen): void {
    this.#counters.heard++;
    if (value.kind !== 'encrypted') {
      this.#drop('not-sealed');
      return;
    }
    const { length } = value.cypher;
    if (length <= this.#options.key.blockBytes || length > MAX_VALUE_BYTES) {
      this.#drop('undecryptable');
      return;
    }
    const fingerprint = `${listen.lane} ${createHash('sha256').update(value.cypher).digest('base64')}`;
    if (this.#remembered.has(fingerprint)) {
      this.#drop('repeated');
      return;
    }
    this.#queue.push(listen.lane, { value, listen, fingerprint });
    if (!this.#isOpening) void this.#openAll();
  }

  /** One at a time: a flood takes one core at most, and leaves the thread pool to sound. */
  async #openAll(): Promise<void> {
    this.#isOpening = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift())
      await this.#open(next);
    this.#isOpening = false;
  }

  async #open(waiting: Waiting): Promise<void> {
    const opened = await this.#tryOpen(waiting);
    if (opened === undefined) return;
    this.#counters.opened++;
    const author = this.#options.directory.get(opened.author);
    if (author !== undefined) this.#deliver(opened, author, waiting);
    // Not awaited: a look-up takes up to ten seconds, and others wait for the key.
    else void this.#deliverWhenFound(opened, waiting);
  }

  async #tryOpen({ value, fingerprint }: Waiting): Promise<OpenedValue | undefined> {
    try {
      return await openValue(value, this.#options.key, this.#options.verifier);
    } catch (error) {
      if (error instanceof SealError) {
        this.#remembered.set(fingerprint, true);
        this.#drop(error.reason);
      } else if (error instanceof AgentError) this.#drop('decryption-failed');
      else throw error;
      return undefined;
    }
  }

  async #deliverWhenFound(opened: OpenedValue, waiting: Waiting): Promise<void> {
    const { hex } = opened.author.shortId;
    const waitingAlready = this.#waiting.get(hex) ?? 0;
    if (waitingAlready >= MAX_WAITING_PER_AUTHOR) {
      this.#drop('author-busy');
      return;
    }
    this.#waiting.set(hex, waitingAlready + 1);
    const author = await this.#options.directory.find(opened.author);
    const left = (this.#waiting.get(hex) ?? 1) - 1;
    if (left > 0) this.#waiting.set(hex, left);
    else this.#waiting.delete(hex);
    if (author === undefined) this.#drop('no-certificate');
    else this.#deliver(opened, author, waiting);
  }

  #deliver(opened: OpenedValue, author: DeviceCertificate, waiting: Waiting): void {
    const { listen, fingerprint } = waiting;
    if (!this.#listens.has(listen)) return;
    // The same value may have come twice before it was opened once.
    if (this.#remembered.has(fingerprint)) {
      this.#drop('repeated');
      return;
    }
    this.#remembered.set(fingerprint, true);
    this.#counters.delivered++;
    const { id, type, data, userType } = opened.value;
    const content = { valueId: id, type, data, ...(userType !== undefined && { userType }) };
    listen.onSealed(content, author);
  }

  #drop(reason: DropReason): void {
    this.#counters.dropped[reason]++;
  }
}

interface Listen {
  readonly lane: string;
  readonly onSealed: OnSealed;
  operation: DhtOperation | undefined;
}

interface Waiting {
  readonly value: EncryptedValue;
  readonly listen: Listen;
  /** Of lane and cypher text. */
  readonly fingerprint: string;
}

function createCounters() {
  const dropped: Record<DropReason, number> = {
    'not-sealed': 0,
    repeated: 0,
    undecryptable: 0,
    malformed: 0,
    unsigned: 0,
    misaddressed: 0,
    'bad-signature': 0,
    'decryption-failed': 0,
    'author-busy': 0,
    'no-certificate': 0,
  };
  return { heard: 0, opened: 0, delivered: 0, dropped };
}
