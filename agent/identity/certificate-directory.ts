import { BoundedMap } from '../base/bounded.ts';
import { toHex } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { DhtClient } from '../dht/client.ts';
import { type DeviceCertificate, verifyDeviceChain } from './certificate.ts';
import { CertificateSearch } from './certificate-search.ts';
import { certificateChainOf } from './certificate-value.ts';
import type { KeyIds } from './keys.ts';
import {
  MAX_KNOWN_CERTIFICATES,
  MAX_KNOWN_LOOKUPS,
  MAX_STRANGER_CERTIFICATES,
  MAX_STRANGER_LOOKUPS,
  STRANGER_FRESH_MS,
} from './limits.ts';

export interface CertificateDirectoryOptions {
  readonly dht: DhtClient;
  /** Monotonic ms. */
  readonly now: () => Millis;
  /** Wall clock; undefined while it cannot be trusted. */
  readonly unixMs: () => number | undefined;
  /** Accounts whose devices no stranger may push out of memory. */
  readonly isKnownAccount: (accountId: string) => boolean;
  /** How many certificates are kept. Default: limits.ts. */
  readonly keep?: { readonly known: number; readonly strangers: number };
}

/**
 * Certificates of devices: remembered, or looked up on the DHT and verified.
 *
 * Anybody can publish a certificate for somebody else's device key under an account of his own: storing nodes only check that
 * the key fits. So a look-up that does not ask for one account prefers a known account's certificate over all others, what was
 * verified for a known account is not replaced by another's, and what was found for a stranger is soon asked for again. Still, a
 * value that matters says inside whose it is, and the application compares.
 */
export class CertificateDirectory {
  readonly #options: CertificateDirectoryOptions;
  // By short id in hex.
  readonly #known: BoundedMap<string, DeviceCertificate>;
  readonly #strangers: BoundedMap<string, Stranger>;
  readonly #lookups = new Map<string, Lookup>();
  readonly #counters = {
    lookups: 0,
    found: 0,
    refusedByLimit: 0,
    badCertificates: 0,
    conflicts: 0,
  };

  constructor(options: CertificateDirectoryOptions) {
    this.#options = options;
    this.#known = new BoundedMap(options.keep?.known ?? MAX_KNOWN_CERTIFICATES);
    this.#strangers = new BoundedMap(options.keep?.strangers ?? MAX_STRANGER_CERTIFICATES);
  }

  /** What is remembered. */
  get({ shortId, longId }: KeyIds): DeviceCertificate | undefined {
    const deviceId = longId === undefined ? undefined : toHex(longId);
    const fits = (device: DeviceCertificate) =>
      (shortId === undefined || shortId.equals(device.shortId)) &&
      (deviceId === undefined || deviceId === device.deviceId);
    if (shortId === undefined) return [...this.#remembered()].find(fits);
    const found = this.#known.get(shortId.hex) ?? this.#fresh(this.#strangers.get(shortId.hex));
    return found !== undefined && fits(found) ? found : undefined;
  }

  *#remembered(): Iterable<DeviceCertificate> {
    yield* this.#known.values();
    for (const stranger of this.#strangers.values()) {
      const device = this.#fresh(stranger);
      if (device !== undefined) yield device;
    }
  }

  #fresh(stranger: Stranger | undefined): DeviceCertificate | undefined {
    if (stranger === undefined) return undefined;
    return this.#options.now() - stranger.foundAt < STRANGER_FRESH_MS ? stranger.device : undefined;
  }

  /**
   * The verified certificate of a device.
   * @param accountId only a certificate under this account will do, and the look-up counts as one of ours, not as a stranger's
   * @returns undefined when there is none, or too many look-ups for strangers run already
   */
  async find(ids: KeyIds, accountId?: string): Promise<DeviceCertificate | undefined> {
    const remembered = this.get(ids);
    if (remembered !== undefined && (accountId ?? remembered.accountId) === remembered.accountId) {
      if (accountId !== undefined) this.#remember(remembered, true);
      return remembered;
    }
    const name = `${ids.shortId?.hex ?? ''} ${toHex(ids.longId ?? new Uint8Array())} ${accountId ?? ''}`;
    const running = this.#lookups.get(name) ?? this.#start(name, ids, accountId);
    return running?.search.result;
  }

  stats() {
    return {
      ...this.#counters,
      running: this.#lookups.size,
      known: this.#known.size,
      strangers: this.#strangers.size,
      evicted: this.#known.evicted + this.#strangers.evicted,
    };
  }

  /** End all look-ups; they give undefined. */
  close(): void {
    for (const lookup of this.#lookups.values()) lookup.search.finish(undefined);
  }

  #start(name: string, ids: KeyIds, accountId: string | undefined): Lookup | undefined {
    const isOurs = accountId !== undefined;
    const limit = isOurs ? MAX_KNOWN_LOOKUPS : MAX_STRANGER_LOOKUPS;
    const group = [...this.#lookups.values()].filter((lookup) => lookup.isOurs === isOurs);
    if (group.length >= limit) {
      this.#counters.refusedByLimit++;
      return undefined;
    }
    this.#counters.lookups++;
    const search = new CertificateSearch<DeviceCertificate>({
      dht: this.#options.dht,
      ids,
      examine: (value, running) => {
        const found = verifyDeviceChain(certificateChainOf(value, ids), this.#options.unixMs());
        if ((accountId ?? found.accountId) !== found.accountId) return;
        if (isOurs || this.#options.isKnownAccount(found.accountId)) running.finish(found);
        else running.candidate ??= found;
      },
      onFinished: (found) => {
        this.#lookups.delete(name);
        if (found === undefined) return;
        this.#counters.found++;
        this.#remember(found, isOurs);
      },
      onBad: () => this.#counters.badCertificates++,
      onLimit: () => this.#counters.refusedByLimit++,
    });
    const lookup = { isOurs, search };
    this.#lookups.set(name, lookup);
    search.run();
    return lookup;
  }

  #remember(certificate: DeviceCertificate, isOurs: boolean): void {
    const id = certificate.shortId.hex;
    const known = this.#known.get(id);
    if (known !== undefined && known.accountId !== certificate.accountId) {
      this.#counters.conflicts++;
    } else if (isOurs || this.#options.isKnownAccount(certificate.accountId)) {
      this.#known.set(id, certificate);
      this.#strangers.delete(id);
    } else this.#strangers.set(id, { device: certificate, foundAt: this.#options.now() });
  }
}

interface Lookup {
  /** For an account that we asked for, not for a stranger's. */
  readonly isOurs: boolean;
  readonly search: CertificateSearch<DeviceCertificate>;
}

interface Stranger {
  readonly device: DeviceCertificate;
  readonly foundAt: Millis;
}
