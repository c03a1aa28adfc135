import { DecodeError } from '../base/errors.ts';
import type { DhtClient, DhtOperation } from '../dht/client.ts';
import type { Value } from '../dht/value.ts';
import { CERTIFICATES, certificateKeys } from './certificate-value.ts';
import type { KeyIds } from './keys.ts';
import { MAX_CERTIFICATES_PER_LOOKUP } from './limits.ts';

export interface CertificateSearchOptions<T> {
  readonly dht: DhtClient;
  readonly ids: KeyIds;
  /** Judge one certificate value: `take` it and end the search, keep it as `candidate` for the end, or neither. */
  readonly examine: (value: Value, search: CertificateSearch<T>) => void;
  /** Before anybody who waits for `result` hears of it. */
  readonly onFinished: (found: T | undefined) => void;
  /** A certificate was not worth reading. */
  readonly onBad: () => void;
  /** MAX_CERTIFICATES_PER_LOOKUP were examined. */
  readonly onLimit: () => void;
}

/** One look-up of a certificate under up to two keys, until one is taken or both have ended. */
export class CertificateSearch<T> {
  readonly result: Promise<T | undefined>;
  /** What is taken if nothing better comes. */
  candidate: T | undefined;
  readonly #options: CertificateSearchOptions<T>;
  #resolve: (found: T | undefined) => void = () => {};
  #operations: DhtOperation[] = [];
  #examined = 0;
  #isFinished = false;

  constructor(options: CertificateSearchOptions<T>) {
    this.#options = options;
    this.result = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  run(): void {
    const keys = certificateKeys(this.#options.ids);
    let open = keys.length;
    for (const key of keys) {
      if (this.#isFinished) return;
      const operation = this.#options.dht.get(
        key,
        CERTIFICATES,
        (value) => this.#onValue(value),
        () => {
          open--;
          if (open === 0) this.finish(this.candidate);
        },
      );
      this.#operations.push(operation);
      // A client may answer at once from what it stores itself.
      if (this.#isFinished) operation.cancel();
    }
  }

  finish(found: T | undefined): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    for (const operation of this.#operations) operation.cancel();
    this.#operations = [];
    this.#options.onFinished(found);
    this.#resolve(found);
  }

  #onValue(value: Value): void {
    if (this.#isFinished) return;
    this.#examined++;
    if (this.#examined > MAX_CERTIFICATES_PER_LOOKUP) {
      this.#options.onLimit();
      return;
    }
    try {
      this.#options.examine(value, this);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#options.onBad();
    }
  }
}
