import { BoundedMap } from '../base/bounded.ts';
import { equalBytes, toHex } from '../base/bytes.ts';
import { AgentError } from '../base/errors.ts';
import type { DhtClient } from '../dht/client.ts';
import { certificateKey } from './certificate.ts';
import { CertificateSearch } from './certificate-search.ts';
import { certificateChainOf } from './certificate-value.ts';
import { type KeyIds, longKeyId, shortKeyId } from './keys.ts';
import { MAX_KEY_LOOKUPS, MAX_KNOWN_KEYS } from './limits.ts';

/**
 * Public keys by their ids: of whoever signed what we read, or out of a certificate on the DHT (opendht.md 13.6). A key is
 * proven by its id, which is its hash; that is why neither dates nor issuers of the certificate are looked at, and why it
 * says nothing of whose key it is. For devices of an account ask the certificate directory.
 */
export class KeyDirectory {
  readonly #dht: DhtClient;
  /** By short id in hex. */
  readonly #known = new BoundedMap<string, KnownKey>(MAX_KNOWN_KEYS);
  readonly #lookups = new Map<string, CertificateSearch<Uint8Array>>();
  readonly #counters = { lookups: 0, found: 0, refusedByLimit: 0, badCertificates: 0 };

  constructor(dht: DhtClient) {
    this.#dht = dht;
  }

  /** Remember a key that was seen at work. */
  learn(publicKeyDer: Uint8Array): void {
    const { hex } = shortKeyId(publicKeyDer);
    const key = this.#known.get(hex) ?? { der: publicKeyDer, longId: longKeyId(publicKeyDer) };
    this.#known.set(hex, key);
  }

  /** What is remembered, as DER SubjectPublicKeyInfo. */
  get({ shortId, longId }: KeyIds): Uint8Array | undefined {
    const fits = (key: KnownKey | undefined) =>
      key !== undefined && (longId === undefined || equalBytes(longId, key.longId));
    const found =
      shortId === undefined ? [...this.#known.values()].find(fits) : this.#known.get(shortId.hex);
    return fits(found) ? found?.der : undefined;
  }

  /**
   * The key with these ids, remembered or looked up at the keys that they give, as DER SubjectPublicKeyInfo.
   * @throws {AgentError} `no-certificate` nobody has published one there; `too-many-lookups` at MAX_KEY_LOOKUPS
   */
  async find(ids: KeyIds): Promise<Uint8Array> {
    const name = `${ids.shortId?.hex ?? ''} ${toHex(ids.longId ?? new Uint8Array())}`;
    const found =
      this.get(ids) ?? (await (this.#lookups.get(name) ?? this.#start(name, ids)).result);
    if (found !== undefined) return found;
    throw new AgentError(
      'no-certificate',
      `no certificate of the key ${name.trim()} was found`,
      'its owner has to be connected and publish it; releases from 4.0 on publish under the long id only',
    );
  }

  /** End all look-ups; nothing is found by them. */
  close(): void {
    for (const search of this.#lookups.values()) search.finish(undefined);
  }

  stats() {
    return {
      ...this.#counters,
      running: this.#lookups.size,
      known: this.#known.size,
      evicted: this.#known.evicted,
    };
  }

  #start(name: string, ids: KeyIds): CertificateSearch<Uint8Array> {
    if (this.#lookups.size >= MAX_KEY_LOOKUPS) {
      this.#counters.refusedByLimit++;
      throw new AgentError(
        'too-many-lookups',
        `${MAX_KEY_LOOKUPS} certificates are looked up already`,
        'try again when one of them has ended',
      );
    }
    this.#counters.lookups++;
    const search = new CertificateSearch<Uint8Array>({
      dht: this.#dht,
      ids,
      examine: (value, running) => {
        const [leaf] = certificateChainOf(value, ids);
        if (leaf !== undefined) running.finish(certificateKey(leaf));
      },
      onFinished: (found) => {
        this.#lookups.delete(name);
        if (found === undefined) return;
        this.#counters.found++;
        this.learn(found);
      },
      onBad: () => this.#counters.badCertificates++,
      onLimit: () => this.#counters.refusedByLimit++,
    });
    this.#lookups.set(name, search);
    search.run();
    return search;
  }
}

interface KnownKey {
  readonly der: Uint8Array;
  readonly longId: Uint8Array;
}
