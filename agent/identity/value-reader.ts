import { createHash } from 'node:crypto';
import { BoundedMap } from '../base/bounded.ts';
import { AgentError } from '../base/errors.ts';
import type { DhtClient, DhtOperation } from '../dht/client.ts';
import type { InfoHash } from '../dht/infohash.ts';
import type { EncryptedValue, PlainValue, Query, SignedPart, Value } from '../dht/value.ts';
import { packValue } from '../dht/value-codec.ts';
import {
  type Author,
  authorOf,
  type OpenedValue,
  type ReceivedContent,
  receivedContent,
} from './envelope.ts';
import type { KeyDirectory } from './key-directory.ts';
import { shortKeyId } from './keys.ts';
import { MAX_READ_VALUES, MAX_READS } from './limits.ts';
import type { SignatureVerifier } from './signature.ts';
import { cypherHash, type OpenFailure, type ValueOpener } from './value-opener.ts';

/**
 * A value that passed every check that can be made of it:
 *
 * - `plain`: not signed, so anybody may have written it;
 * - `signed`: by `author`, for everybody to read. At which key and value id it was put is not signed;
 * - `encrypted`: by `author` to our key, and named so inside.
 */
export type CheckedValue =
  | (ReceivedContent & { readonly kind: 'plain' })
  | (ReceivedContent & {
      readonly kind: 'signed' | 'encrypted';
      readonly author: Author;
      readonly seq: number;
      /** Short id of the key that the author wrote to. If it stands in a `signed` value, somebody has made a letter public. */
      readonly to?: InfoHash;
    });

/** Why a value that was there did not reach the application. */
export type ReadFailure =
  | OpenFailure
  /** A version as new or newer, by the same author and under the same id, was delivered before. */
  | 'outdated'
  /** It expired while it waited for the key. */
  | 'expired';

export interface ValueReaderOptions {
  readonly dht: DhtClient;
  readonly opener: ValueOpener;
  readonly verifier: SignatureVerifier;
  readonly keys: Pick<KeyDirectory, 'learn'>;
}

/**
 * The general receiving half of secure-dht.ts: what lies under a key, as far as it can be believed (opendht.md 13.2, 13.4).
 * What fails a check is counted with the reason and goes no further. Keys of authors are remembered.
 */
export class ValueReader {
  readonly #options: ValueReaderOptions;
  readonly #reads = new Set<Read>();
  readonly #dropped: Record<ReadFailure, number> = {
    'bad-signature': 0,
    outdated: 0,
    undecryptable: 0,
    malformed: 0,
    unsigned: 0,
    misaddressed: 0,
    overload: 0,
    expired: 0,
    'decryption-failed': 0,
  };
  readonly #delivered = { plain: 0, signed: 0, encrypted: 0 };
  /** Of values that a read has forgotten: an older version may be told once more, their expiry is not. */
  #evicted = 0;

  constructor(options: ValueReaderOptions) {
    this.#options = options;
  }

  /** @see SecureDht.get */
  get(
    key: InfoHash,
    query: Query | undefined,
    onValue: (value: CheckedValue) => void,
    onDone: () => void,
  ): DhtOperation {
    const read = this.#begin(onValue, undefined);
    const done = () => {
      if (read.isSearching || read.inWork > 0 || !this.#reads.delete(read)) return;
      onDone();
    };
    read.onSettled = done;
    read.operation = this.#options.dht.get(
      key,
      query,
      (value) => this.#receive(value, read),
      () => {
        read.isSearching = false;
        done();
      },
    );
    return { cancel: () => this.#end(read) };
  }

  /** @see SecureDht.listen */
  listen(
    key: InfoHash,
    query: Query | undefined,
    onValue: (value: CheckedValue) => void,
    onExpired: (valueId: bigint) => void,
  ): DhtOperation {
    const read = this.#begin(onValue, new BoundedMap(MAX_READ_VALUES, () => this.#evicted++));
    read.operation = this.#options.dht.listen(key, query, (value, isExpired) => {
      if (!isExpired) this.#receive(value, read);
      else if (this.#forget(value, read)) onExpired(value.id);
    });
    return { cancel: () => this.#end(read) };
  }

  close(): void {
    for (const read of this.#reads) this.#end(read);
  }

  stats() {
    return {
      reads: this.#reads.size,
      evicted: this.#evicted,
      delivered: { ...this.#delivered },
      dropped: { ...this.#dropped },
    };
  }

  #begin(onValue: (value: CheckedValue) => void, present: Read['present']): Read {
    if (this.#reads.size >= MAX_READS)
      throw new AgentError(
        'too-many-reads',
        `${MAX_READS} gets and listens run already`,
        'wait for one to end, or cancel one',
      );
    const read: Read = {
      lane: this.#options.opener.newLane(),
      onValue,
      present,
      seqs: new BoundedMap(MAX_READ_VALUES, () => this.#evicted++),
      onSettled: () => {},
      operation: undefined,
      isSearching: true,
      inWork: 0,
    };
    this.#reads.add(read);
    return read;
  }

  #end(read: Read): void {
    this.#reads.delete(read);
    this.#options.opener.clear(read.lane);
    read.operation?.cancel();
  }

  #receive(value: Value, read: Read): void {
    if (!this.#reads.has(read)) return;
    if (value.kind === 'encrypted') this.#open(value, read);
    else if (value.signed === undefined)
      this.#deliver(read, nameOf(value), { kind: 'plain', ...receivedContent(value) });
    else if (!this.#options.verifier.verify(value)) this.#dropped['bad-signature']++;
    else if (this.#isOutdated(value, value.signed, read)) this.#dropped.outdated++;
    else {
      const author = authorOf(value.signed.owner);
      this.#deliver(read, nameOf(value), this.#written('signed', { value, author }));
    }
  }

  #open(value: EncryptedValue, read: Read): void {
    read.inWork++;
    const hash = cypherHash(value);
    const name = nameOf(value, hash);
    read.present?.set(name, 'waiting');
    this.#options.opener.open(read.lane, value, hash, (outcome) => {
      read.inWork--;
      if (!this.#reads.has(read)) return;
      if (typeof outcome === 'string') this.#dropped[outcome]++;
      else if (read.present !== undefined && !read.present.has(name)) this.#dropped.expired++;
      else this.#deliver(read, name, this.#written('encrypted', outcome));
      read.onSettled();
    });
  }

  #written(kind: 'signed' | 'encrypted', { value, author }: OpenedValue): CheckedValue {
    this.#options.keys.learn(author.publicKeyDer);
    const { seq = 0, to } = value.signed ?? {};
    return { kind, ...receivedContent(value), author, seq, ...(to !== undefined && { to }) };
  }

  #deliver(read: Read, name: string, value: CheckedValue): void {
    read.present?.set(name, 'delivered');
    this.#delivered[value.kind]++;
    read.onValue(value);
  }

  /** Storing nodes that have missed an edit give the version before (opendht.md 9.4). */
  #isOutdated({ id }: PlainValue, { owner, seq }: SignedPart, read: Read): boolean {
    const versions = versionsOf(id, owner);
    if ((read.seqs.get(versions) ?? -1) >= seq) return true;
    read.seqs.set(versions, seq);
    return false;
  }

  /** @returns whether the application has heard of it */
  #forget(value: Value, read: Read): boolean {
    const name = nameOf(value);
    const state = read.present?.get(name);
    read.present?.delete(name);
    if (value.kind === 'plain' && value.signed !== undefined)
      read.seqs.delete(versionsOf(value.id, value.signed.owner));
    return state === 'delivered';
  }
}

/** One get or listen. */
interface Read {
  readonly lane: string;
  readonly onValue: (value: CheckedValue) => void;
  /** Of a listen: by `nameOf`, what is there and has not expired. */
  readonly present: BoundedMap<string, 'waiting' | 'delivered'> | undefined;
  /** The newest version that was delivered, by value id and author. */
  readonly seqs: BoundedMap<string, number>;
  /** One encrypted value less is in work. */
  onSettled: () => void;
  operation: DhtOperation | undefined;
  isSearching: boolean;
  /** Encrypted values that wait for the key. */
  inWork: number;
}

function versionsOf(id: bigint, owner: Uint8Array): string {
  return `${id} ${shortKeyId(owner).hex}`;
}

/** Tells contents under one value id apart. */
function nameOf(value: Value, hash = contentHash(value)): string {
  return `${value.id} ${hash}`;
}

function contentHash(value: Value): string {
  if (value.kind === 'encrypted') return cypherHash(value);
  return createHash('sha256').update(packValue(value)).digest('base64');
}
