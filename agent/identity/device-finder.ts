import { BoundedMap } from '../base/bounded.ts';
import type { Millis } from '../base/clock.ts';
import { DecodeError } from '../base/errors.ts';
import type { DhtClient, DhtOperation } from '../dht/client.ts';
import { InfoHash } from '../dht/infohash.ts';
import { type PlainValue, type Query, VALUE_TYPE, type Value } from '../dht/value.ts';
import { type Announcement, decodeAnnouncement } from './announcement.ts';
import type { DeviceCertificate } from './certificate.ts';
import type { CertificateDirectory } from './certificate-directory.ts';
import { longKeyId, shortKeyId } from './keys.ts';
import {
  DEVICES_FRESH_MS,
  DEVICES_STALE_MS,
  MAX_ANNOUNCEMENTS_PER_SEARCH,
  MAX_DEVICES_PER_ACCOUNT,
  MAX_KNOWN_ACCOUNTS,
} from './limits.ts';
import type { SignatureVerifier } from './signature.ts';

export interface DeviceFinderOptions {
  readonly dht: DhtClient;
  readonly directory: Pick<CertificateDirectory, 'find'>;
  readonly verifier: Pick<SignatureVerifier, 'verify'>;
  /** Monotonic ms. */
  readonly now: () => Millis;
}

interface KnownDevices {
  readonly devices: ReadonlyMap<string, DeviceCertificate>;
  readonly foundAt: Millis;
}

/** From an account's id to its devices (jami.md 3.1): announcements signed by the account, then each device's certificate. */
export class DeviceFinder {
  readonly #options: DeviceFinderOptions;
  readonly #accounts = new BoundedMap<string, KnownDevices>(MAX_KNOWN_ACCOUNTS);
  readonly #counters = { searches: 0, devices: 0, badAnnouncements: 0, refusedByLimit: 0 };

  constructor(options: DeviceFinderOptions) {
    this.#options = options;
  }

  /**
   * @param onDevice each device once, as soon as it is verified; remembered ones before anything is asked
   * @param onDone exactly once unless cancelled, after the last device
   * @throws {DecodeError} unless `accountId` is 40 hex digits
   */
  find(
    accountId: string,
    onDevice: (device: DeviceCertificate) => void,
    onDone: () => void,
  ): DhtOperation {
    const key = InfoHash.fromHex(accountId);
    const search = new Search(key.hex, onDevice, onDone);
    const known = this.#accounts.get(key.hex);
    const ageMs =
      known === undefined ? Number.POSITIVE_INFINITY : this.#options.now() - known.foundAt;
    // Not before the caller holds the operation, so that it can cancel from inside `onDevice`.
    queueMicrotask(() => {
      if (known !== undefined && ageMs < DEVICES_STALE_MS)
        for (const device of known.devices.values()) search.report(device);
      if (ageMs < DEVICES_FRESH_MS) search.done();
      else this.#ask(key, search);
    });
    return search;
  }

  stats() {
    return { ...this.#counters, accounts: this.#accounts.size, evicted: this.#accounts.evicted };
  }

  #ask(key: InfoHash, search: Search): void {
    if (search.isOver) return;
    this.#counters.searches++;
    const found = new Map<string, DeviceCertificate>();
    const asked = new Set<string>();
    let examined = 0;
    // The search itself, and each certificate that is being looked up.
    let open = 1;
    const close = () => {
      open--;
      if (open > 0) return;
      if (found.size > 0)
        this.#accounts.set(key.hex, { devices: found, foundAt: this.#options.now() });
      search.done();
    };
    const onValue = (value: Value) => {
      if (!isOwnedBy(value, key)) return;
      examined++;
      if (examined > MAX_ANNOUNCEMENTS_PER_SEARCH || asked.size >= MAX_DEVICES_PER_ACCOUNT) {
        this.#counters.refusedByLimit++;
        return;
      }
      const announcement = this.#announcement(value);
      if (announcement === undefined || asked.has(announcement.deviceShortId.hex)) return;
      asked.add(announcement.deviceShortId.hex);
      open++;
      void this.#options.directory.find(idsOf(announcement), key.hex).then((device) => {
        if (device !== undefined) {
          this.#counters.devices++;
          found.set(device.deviceId, device);
          this.#remember(key.hex, device);
          search.report(device);
        }
        close();
      });
    };
    search.follow(this.#options.dht.get(key, ownedBy(key), onValue, close));
  }

  /** At once, because a search may be cancelled; it counts as fresh only when the search has ended. */
  #remember(accountId: string, device: DeviceCertificate): void {
    const known = this.#accounts.get(accountId);
    this.#accounts.set(accountId, {
      devices: new Map(known?.devices).set(device.deviceId, device),
      foundAt: known?.foundAt ?? this.#options.now() - DEVICES_FRESH_MS,
    });
  }

  #announcement(value: PlainValue): Announcement | undefined {
    if (value.type !== VALUE_TYPE.userData || !this.#options.verifier.verify(value)) {
      this.#counters.badAnnouncements++;
      return undefined;
    }
    try {
      return decodeAnnouncement(value.data);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      // A revocation list lies here too.
      this.#counters.badAnnouncements++;
      return undefined;
    }
  }
}

/** Lets storing nodes leave out what others have put there. */
function ownedBy(accountId: InfoHash): Query {
  return { where: [{ field: 'owner', value: accountId }], select: [] };
}

/** Cheap, and first: anybody may put values at an account's id. */
function isOwnedBy(value: Value, accountId: InfoHash): value is PlainValue {
  if (value.kind !== 'plain' || value.signed === undefined) return false;
  return shortKeyId(value.signed.owner).equals(accountId);
}

function idsOf({ deviceShortId, devicePublicKey }: Announcement) {
  return devicePublicKey === undefined
    ? { shortId: deviceShortId }
    : { shortId: deviceShortId, longId: longKeyId(devicePublicKey) };
}

/** One call of `find`. */
class Search implements DhtOperation {
  readonly #onDevice: (device: DeviceCertificate) => void;
  readonly #onDone: () => void;
  readonly #accountId: string;
  readonly #reported = new Set<string>();
  #operation: DhtOperation | undefined;
  isOver = false;

  constructor(
    accountId: string,
    onDevice: (device: DeviceCertificate) => void,
    onDone: () => void,
  ) {
    this.#accountId = accountId;
    this.#onDevice = onDevice;
    this.#onDone = onDone;
  }

  follow(operation: DhtOperation): void {
    this.#operation = operation;
    if (this.isOver) operation.cancel();
  }

  report(device: DeviceCertificate): void {
    if (this.isOver || device.accountId !== this.#accountId) return;
    if (this.#reported.has(device.deviceId)) return;
    this.#reported.add(device.deviceId);
    this.#onDevice(device);
  }

  done(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#onDone();
  }

  cancel(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#operation?.cancel();
  }
}
