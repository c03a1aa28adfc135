import { BoundedMap } from '../base/bounded.ts';
import { AgentError } from '../base/errors.ts';
import type { DhtClient, DhtOperation } from '../dht/client.ts';
import type { InfoHash } from '../dht/infohash.ts';
import type { Value } from '../dht/value.ts';
import type { DeviceCertificate } from './certificate.ts';
import type { CertificateDirectory } from './certificate-directory.ts';
import { type OpenedValue, type ReceivedContent, receivedContent } from './envelope.ts';
import { MAX_LISTENS, MAX_REMEMBERED_VALUES, MAX_WAITING_PER_AUTHOR } from './limits.ts';
import { cypherHash, type OpenFailure, type ValueOpener } from './value-opener.ts';

export type OnSealed = (content: ReceivedContent, author: DeviceCertificate) => void;

/** Why a value that was heard did not reach the application. */
export type DropReason =
  | OpenFailure
  | 'not-sealed'
  /** It was delivered before. */
  | 'repeated'
  | 'author-busy'
  | 'no-certificate';

export interface SealedListenerOptions {
  readonly dht: DhtClient;
  readonly opener: ValueOpener;
  readonly directory: CertificateDirectory;
}

/**
 * What is sealed to this device: value heard → opened and verified (value-opener.ts) → author's certificate → application.
 * Whatever fails on the way is counted and dropped: most of what lies at a public inbox is for others.
 */
export class SealedListener {
  readonly #options: SealedListenerOptions;
  readonly #listens = new Set<Listen>();
  /** By lane and cypher text. */
  readonly #delivered = new BoundedMap<string, true>(MAX_REMEMBERED_VALUES);
  /** By short id of an author: values that wait for its certificate. As many authors as the directory looks up for strangers. */
  readonly #waiting = new Map<string, number>();
  readonly #counters = createCounters();

  constructor(options: SealedListenerOptions) {
    this.#options = options;
  }

  /** @throws {AgentError} `too-many-listens` at MAX_LISTENS */
  listen(key: InfoHash, onSealed: OnSealed): DhtOperation {
    if (this.#listens.size >= MAX_LISTENS)
      throw new AgentError('too-many-listens', `${MAX_LISTENS} keys are listened to already`);
    const lane = this.#options.opener.newLane();
    const listen: Listen = { lane, onSealed, operation: undefined };
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
    return {
      ...this.#counters,
      dropped: { ...this.#counters.dropped },
      listens: this.#listens.size,
      waitingForCertificates: [...this.#waiting.values()].reduce((sum, count) => sum + count, 0),
      remembered: this.#delivered.size,
    };
  }

  #cancel(listen: Listen): void {
    this.#listens.delete(listen);
    this.#options.opener.clear(listen.lane);
    listen.operation?.cancel();
  }

  #receive(value: Value, listen: Listen): void {
    this.#counters.heard++;
    if (value.kind !== 'encrypted') {
      this.#drop('not-sealed');
      return;
    }
    const hash = cypherHash(value);
    const fingerprint = `${listen.lane} ${hash}`;
    if (this.#delivered.has(fingerprint)) {
      this.#drop('repeated');
      return;
    }
    this.#options.opener.open(listen.lane, value, hash, (outcome) => {
      if (typeof outcome === 'string') this.#drop(outcome);
      else this.#opened({ opened: outcome, listen, fingerprint });
    });
  }

  #opened(letter: Letter): void {
    this.#counters.opened++;
    const author = this.#options.directory.get(letter.opened.author);
    if (author !== undefined) this.#deliver(letter, author);
    // Not awaited: a look-up takes up to ten seconds, and others wait for the key.
    else void this.#deliverWhenFound(letter);
  }

  async #deliverWhenFound(letter: Letter): Promise<void> {
    const { author: signer } = letter.opened;
    const { hex } = signer.shortId;
    const waitingAlready = this.#waiting.get(hex) ?? 0;
    if (waitingAlready >= MAX_WAITING_PER_AUTHOR) {
      this.#drop('author-busy');
      return;
    }
    this.#waiting.set(hex, waitingAlready + 1);
    const author = await this.#options.directory.find(signer);
    const left = (this.#waiting.get(hex) ?? 1) - 1;
    if (left > 0) this.#waiting.set(hex, left);
    else this.#waiting.delete(hex);
    if (author === undefined) this.#drop('no-certificate');
    else this.#deliver(letter, author);
  }

  #deliver({ opened, listen, fingerprint }: Letter, author: DeviceCertificate): void {
    if (!this.#listens.has(listen)) return;
    // The same value may have come twice before it was opened once.
    if (this.#delivered.has(fingerprint)) {
      this.#drop('repeated');
      return;
    }
    this.#delivered.set(fingerprint, true);
    this.#counters.delivered++;
    listen.onSealed(receivedContent(opened.value), author);
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

interface Letter {
  readonly opened: OpenedValue;
  readonly listen: Listen;
  /** Of lane and cypher text. */
  readonly fingerprint: string;
}

function createCounters() {
  const dropped: Record<DropReason, number> = {
    'not-sealed': 0,
    repeated: 0,
    overload: 0,
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
