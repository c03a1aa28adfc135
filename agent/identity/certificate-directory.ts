import { BoundedMap } from '../base/bounded.ts';
import { fromHex, toHex, utf8 } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import type { DhtClient, DhtOperation } from '../dht/client.ts';
import { InfoHash } from '../dht/infohash.ts';
import { MsgpackWriter } from '../dht/msgpack-writer.ts';
import { type PlainValue, type Query, VALUE_TYPE, type Value } from '../dht/value.ts';
import { type DeviceCertificate, parseChain, verifyDeviceChain } from './certificate.ts';
import {
  CERTIFICATE_VALUE_ID,
  MAX_KNOWN_CERTIFICATES,
  MAX_KNOWN_LOOKUPS,
  MAX_STRANGER_CERTIFICATES,
  MAX_STRANGER_LOOKUPS,
} from './limits.ts';

/** Ids of a device's key, one or both. */
export interface DeviceKeyIds {
  readonly shortId?: InfoHash;
  /** 32 bytes. */
  readonly longId?: Uint8Array;
}

/** Under which two keys a device's certificate is published, and looked for (opendht.md 13.6). */
export function certificateKeys({ shortId, longId }: DeviceKeyIds): InfoHash[] {
  return [
    ...(shortId === undefined ? [] : [shortId]),
    ...(longId === undefined ? [] : [InfoHash.of(longId)]),
  ];
}

/** The certificate as a value: type 8, id 1, unsigned; the PEM chain in a msgpack `bin`. */
export function certificateValue(device: DeviceCertificate): PlainValue {
  const data = new MsgpackWriter().bin(utf8(device.chainPem)).finish();
  return { kind: 'plain', id: CERTIFICATE_VALUE_ID, type: VALUE_TYPE.certificate, data };
}

const CERTIFICATES: Query = {
  where: [{ field: 'type', value: VALUE_TYPE.certificate }],
  select: [],
};

export interface CertificateDirectoryOptions {
  readonly dht: DhtClient;
  /** Wall clock; undefined while it cannot be trusted. */
  readonly unixMs: () => number | undefined;
  /** Accounts whose devices no stranger may push out of memory. */
  readonly isKnownAccount: (accountId: string) => boolean;
}

/**
 * Certificates of devices: remembered, or looked up on the DHT and verified.
 *
 * Anybody can publish a certificate for somebody else's device key under an account of his own: storing nodes only check that
 * the key fits. So a look-up that does not ask for one account prefers a known account's certificate over all others, and a
 * certificate once verified for a known account is not replaced by another account's.
 */
export class CertificateDirectory {
  readonly #options: CertificateDirectoryOptions;
  // By short id in hex.
  readonly #known = new BoundedMap<string, DeviceCertificate>(MAX_KNOWN_CERTIFICATES);
  readonly #strangers = new BoundedMap<string, DeviceCertificate>(MAX_STRANGER_CERTIFICATES);
  readonly #lookups = new Map<string, Lookup>();
  readonly #counters = { lookups: 0, found: 0, refusedByLimit: 0, badCertificates: 0 };

  constructor(options: CertificateDirectoryOptions) {
    this.#options = options;
  }

  /** What is remembered. */
  get({ shortId, longId }: DeviceKeyIds): DeviceCertificate | undefined {
    const deviceId = longId === undefined ? undefined : toHex(longId);
    if (shortId !== undefined) {
      const found = this.#known.get(shortId.hex) ?? this.#strangers.get(shortId.hex);
      return deviceId === undefined || found?.deviceId === deviceId ? found : undefined;
    }
    for (const certificates of [this.#known, this.#strangers])
      for (const certificate of certificates.values())
        if (certificate.deviceId === deviceId) return certificate;
    return undefined;
  }

  /**
   * The verified certificate of a device.
   * @param accountId only a certificate under this account will do, and the look-up counts as one of ours, not as a stranger's
   * @returns undefined when there is none, or too many look-ups for strangers run already
   */
  async find(ids: DeviceKeyIds, accountId?: string): Promise<DeviceCertificate | undefined> {
    const remembered = this.get(ids);
    if (remembered !== undefined && (accountId ?? remembered.accountId) === remembered.accountId)
      return remembered;
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
      if (found !== undefined) this.#remember(found, isOurs);
    });
    this.#lookups.set(name, lookup);
    lookup.run(this.#options.dht, certificateKeys(ids), (value) => {
      const certificate = this.#verify(value, ids);
      if (certificate === undefined) return;
      if ((accountId ?? certificate.accountId) !== certificate.accountId) return;
      if (isOurs || this.#options.isKnownAccount(certificate.accountId)) lookup.finish(certificate);
      else lookup.candidate ??= certificate;
    });
    return lookup;
  }

  #remember(certificate: DeviceCertificate, isOurs: boolean): void {
    this.#counters.found++;
    const id = certificate.shortId.hex;
    if (isOurs || this.#options.isKnownAccount(certificate.accountId)) {
      this.#known.set(id, certificate);
      this.#strangers.delete(id);
    } else if (!this.#known.has(id)) this.#strangers.set(id, certificate);
  }

  #verify(value: Value, { shortId, longId }: DeviceKeyIds): DeviceCertificate | undefined {
    if (value.kind !== 'plain' || value.type !== VALUE_TYPE.certificate) return undefined;
    try {
      const device = verifyDeviceChain(parseChain(value.data), this.#options.unixMs());
      if (shortId !== undefined && !shortId.equals(device.shortId)) return undefined;
      if (longId !== undefined && toHex(longId) !== device.deviceId) return undefined;
      return device;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#counters.badCertificates++;
      return undefined;
    }
  }
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

/** A device id in text. @throws {DecodeError} unless it is 40 or 64 hex digits */
export function parseDeviceId(text: string): DeviceKeyIds {
  const bytes = fromHex(text);
  return bytes.length === 32 ? { longId: bytes } : { shortId: new InfoHash(bytes) };
}
