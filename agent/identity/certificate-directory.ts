import { BoundedMap } from '../base/bounded.ts';
import { equalBytes, toHex } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { DecodeError } from '../base/errors.ts';
import type { DhtClient, DhtOperation } from '../dht/client.ts';
import type { InfoHash } from '../dht/infohash.ts';
import { type Query, VALUE_TYPE, type Value } from '../dht/value.ts';
import {
  certificateKey,
  type DeviceCertificate,
  parseChain,
  verifyDeviceChain,
} from './certificate.ts';
import { certificateKeys, type DeviceKeyIds } from './certificate-value.ts';
import { longKeyId, shortKeyId } from './keys.ts';
import {
  MAX_CERTIFICATES_PER_LOOKUP,
  MAX_KNOWN_CERTIFICATES,
  MAX_KNOWN_LOOKUPS,
  MAX_STRANGER_CERTIFICATES,
  MAX_STRANGER_LOOKUPS,
  STRANGER_FRESH_MS,
} from './limits.ts';

const CERTIFICATES: Query = {
  where: [{ field: 'type', value: VALUE_TYPE.certificate }],
  select: [],
};

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
  get({ shortId, longId }: DeviceKeyIds): DeviceCertificate | undefined {
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
  async find(ids: DeviceKeyIds, accountId?: string): Promise<DeviceCertificate | undefined> {
    const remembered = this.get(ids);
    if (remembered !== undefined && (accountId ?? remembered.accountId) === remembered.accountId) {
      if (accountId !== undefined) this.#remember(remembered, true);
      return remembered;
    }
    const name = `${ids.shortId?.hex ?? ''} ${toHex(ids.longId ?? new Uint8Array())} ${accountId ?? ''}`;
    const running = this.#lookups.get(name) ?? this.#start(name, ids, accountId);
    return running?.result;
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
    for (const lookup of this.#lookups.values()) lookup.finish(undefined);
  }

  #start(name: string, ids: DeviceKeyIds, accountId: string | undefined): Lookup | undefined {
    const isOurs = accountId !== undefined;
    const limit = isOurs ? MAX_KNOWN_LOOKUPS : MAX_STRANGER_LOOKUPS;
    const group = [...this.#lookups.values()].filter((lookup) => lookup.isOurs === isOurs);
    if (group.length >= limit) {
      this.#counters.refusedByLimit++;
      return undefined;
    }
    this.#counters.lookups++;
    const lookup = new Lookup(isOurs, (found) => {
      this.#lookups.delete(name);
      if (found === undefined) return;
      this.#counters.found++;
      this.#remember(found, isOurs);
    });
    this.#lookups.set(name, lookup);
    let examined = 0;
    lookup.run(this.#options.dht, certificateKeys(ids), (value) => {
      examined++;
      if (examined > MAX_CERTIFICATES_PER_LOOKUP) {
        this.#counters.refusedByLimit++;
        return;
      }
      const certificate = this.#verify(value, ids);
      if (certificate === undefined) return;
      if ((accountId ?? certificate.accountId) !== certificate.accountId) return;
      if (isOurs || this.#options.isKnownAccount(certificate.accountId)) lookup.finish(certificate);
      else lookup.candidate ??= certificate;
    });
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

  #verify(value: Value, { shortId, longId }: DeviceKeyIds): DeviceCertificate | undefined {
    if (value.kind !== 'plain' || value.type !== VALUE_TYPE.certificate) return undefined;
    try {
      const chain = parseChain(value.data);
      // Before any signature is checked.
      const key = chain[0] === undefined ? new Uint8Array() : certificateKey(chain[0]);
      const fits =
        (shortId === undefined || shortId.equals(shortKeyId(key))) &&
        (longId === undefined || equalBytes(longId, longKeyId(key)));
      if (fits) return verifyDeviceChain(chain, this.#options.unixMs());
      this.#counters.badCertificates++;
      return undefined;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#counters.badCertificates++;
      return undefined;
    }
  }
}

interface Stranger {
  readonly device: DeviceCertificate;
  readonly foundAt: Millis;
}

/** One search under up to two keys, until a certificate is taken or both have ended. */
class Lookup {
  readonly isOurs: boolean;
  readonly result: Promise<DeviceCertificate | undefined>;
  /** What is taken if nothing better comes. */
  candidate: DeviceCertificate | undefined;
  readonly #settle: (found: DeviceCertificate | undefined) => void;
  #operations: DhtOperation[] = [];
  #isFinished = false;

  constructor(isOurs: boolean, onFinished: (found: DeviceCertificate | undefined) => void) {
    this.isOurs = isOurs;
    let resolve: (found: DeviceCertificate | undefined) => void = () => {};
    this.result = new Promise((settle) => {
      resolve = settle;
    });
    this.#settle = (found) => {
      onFinished(found);
      resolve(found);
    };
  }

  run(dht: DhtClient, keys: readonly InfoHash[], onValue: (value: Value) => void): void {
    let open = keys.length;
    for (const key of keys) {
      if (this.#isFinished) return;
      const operation = dht.get(
        key,
        CERTIFICATES,
        (value) => {
          if (!this.#isFinished) onValue(value);
        },
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

  finish(found: DeviceCertificate | undefined): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    for (const operation of this.#operations) operation.cancel();
    this.#operations = [];
    this.#settle(found);
  }
}
