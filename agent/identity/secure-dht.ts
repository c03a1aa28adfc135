import type { Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { DhtClient, DhtOperation, PutResult } from '../dht/client.ts';
import { InfoHash } from '../dht/infohash.ts';
import type { EncryptedValue, PlainValue, Query } from '../dht/value.ts';
import type { DeviceCertificate } from './certificate.ts';
import { CertificateDirectory } from './certificate-directory.ts';
import { certificateKeys, certificateValue } from './certificate-value.ts';
import { DeviceFinder } from './device-finder.ts';
import type { Content, OpenedValue } from './envelope.ts';
import type { Identity } from './identity.ts';
import { KeyDirectory } from './key-directory.ts';
import { type KeyIds, longKeyId } from './keys.ts';
import { type OnSealed, SealedListener } from './sealed-listener.ts';
import { SignatureVerifier } from './signature.ts';
import { cypherHash, type OpenFailure, ValueOpener } from './value-opener.ts';
import { type CheckedValue, ValueReader } from './value-reader.ts';
import { type SecurePut, type SecurePutOptions, ValueWriter } from './value-writer.ts';

export interface SecureDhtOptions {
  readonly dht: DhtClient;
  readonly identity: Identity;
  readonly random: Random;
  /** Monotonic ms. */
  readonly now: () => Millis;
  /** Wall clock ms; undefined while it cannot be trusted: then the dates of certificates are not looked at. */
  readonly unixMs: () => number | undefined;
  /** Accounts whose devices no stranger may push out of memory. Default: none. */
  readonly isKnownAccount?: (accountId: string) => boolean;
  /** Shared with the DHT's storage, to parse keys once. */
  readonly verifier?: SignatureVerifier;
}

/**
 * The DHT with identities on it, in two layers that share a key:
 *
 * - OpenDHT's own, as opendht.md 13 has it: `putSigned`, `putEncrypted` to whoever owns a key, `get` and `listen` to whatever
 *   passes its checks;
 * - what stations say to each other: `putSealed` to a device, `listenSealed` to what comes from a device whose chain leads to an
 *   account, `findDevices` of an account.
 *
 * Whether an author may do anything, and whether a value is old or repeated, is for the application to decide.
 */
export class SecureDht {
  readonly #options: SecureDhtOptions;
  readonly #verifier: SignatureVerifier;
  readonly #opener: ValueOpener;
  /** Of `open`. */
  readonly #lane: string;
  readonly #keys: KeyDirectory;
  readonly #writer: ValueWriter;
  readonly #reader: ValueReader;
  readonly #directory: CertificateDirectory;
  readonly #finder: DeviceFinder;
  readonly #listener: SealedListener;
  readonly #published: { readonly key: InfoHash; readonly valueId: bigint }[] = [];

  constructor(options: SecureDhtOptions) {
    this.#options = options;
    const { dht, identity, random, now, unixMs, isKnownAccount = () => false } = options;
    const { devicePrivateKey: key } = identity;
    const verifier = options.verifier ?? new SignatureVerifier();
    const opener = new ValueOpener(key, verifier);
    const keys = new KeyDirectory(dht);
    const directory = new CertificateDirectory({ dht, now, unixMs, isKnownAccount });
    this.#verifier = verifier;
    this.#opener = opener;
    this.#lane = opener.newLane();
    this.#keys = keys;
    this.#directory = directory;
    this.#writer = new ValueWriter({ dht, key, random, verifier, keys });
    this.#reader = new ValueReader({ dht, opener, verifier, keys });
    this.#finder = new DeviceFinder({ dht, directory, verifier, now });
    this.#listener = new SealedListener({ dht, opener, directory });
  }

  /**
   * Make this device known: its certificate at both keys, its announcement at the account's id; all permanent. Once per
   * process. Never rejects.
   * @returns how each of the three went, after its first round
   */
  async publish(): Promise<readonly PutResult[]> {
    const { device, announcement, accountId } = this.#options.identity;
    const certificate = certificateValue(device);
    return Promise.all([
      ...certificateKeys(idsOf(device)).map((key) => this.#publish(key, certificate)),
      this.#publish(InfoHash.fromHex(accountId), announcement),
    ]);
  }

  #publish(key: InfoHash, value: PlainValue): Promise<PutResult> {
    this.#published.push({ key, valueId: value.id });
    return this.#options.dht.put(key, value, { permanent: true });
  }

  /**
   * Sign, and put under `key` for everybody to read. With a `valueId` that we have used there before it is an edit: the
   * sequence number goes above that of what is stored and of what we are announcing, and a permanent put is replaced without a
   * gap (opendht.md 13.5). Edits of one value leave in the order in which they were asked for.
   * @returns `result` rejects with an AgentError: `sequence-exhausted` after 65536 versions, `too-many-puts` at
   * MAX_PUTS_IN_WORK
   * @throws {AgentError} `content-too-large` over MAX_CONTENT_BYTES
   */
  putSigned(key: InfoHash, content: Content, options: SecurePutOptions = {}): SecurePut {
    return this.#writer.putSigned(key, content, options);
  }

  /**
   * Sign, encrypt to the owner of a public key, and put under `key` (opendht.md 13.4). The public key is one that we have seen at
   * work, or comes with the certificate that its owner has published; whose it is beyond that is not asked.
   * @param to ids of the public key, one or both (`parseKeyId` reads them)
   * @returns `result` rejects with an AgentError: `no-certificate` none is published under the ids; `unusable-key` it is no RSA
   * key; `too-many-lookups`, `too-many-puts` at their limits
   * @throws {AgentError} `content-too-large` over MAX_CONTENT_BYTES
   */
  putEncrypted(
    key: InfoHash,
    content: Content,
    to: KeyIds,
    options: SecurePutOptions = {},
  ): SecurePut {
    const device = this.#directory.get(to);
    return this.#writer.putEncrypted(key, content, device?.publicKeyDer ?? to, options);
  }

  /**
   * Sign, encrypt to the device `to`, and put under `key`.
   * @throws {AgentError} `content-too-large` over MAX_CONTENT_BYTES
   */
  putSealed(
    key: InfoHash,
    content: Content,
    to: Pick<DeviceCertificate, 'publicKeyDer'>,
    options: SecurePutOptions = {},
  ): SecurePut {
    return this.#writer.putEncrypted(key, content, to.publicKeyDer, options);
  }

  /**
   * Look up what lies under `key`: unsigned values, values with a good signature, and those encrypted to us. Whatever fails a
   * check is counted under `values.dropped` and not heard of.
   * @param query filters by what storing nodes see: to them an encrypted value is of type 0 and has no owner
   * @param onValue each once; of an edited value perhaps an older version first, never afterwards
   * @param onDone exactly once unless cancelled, when nothing is left to decrypt
   * @throws {AgentError} `too-many-reads` at MAX_READS
   */
  get(
    key: InfoHash,
    query: Query | undefined,
    onValue: (value: CheckedValue) => void,
    onDone: () => void,
  ): DhtOperation {
    return this.#reader.get(key, query, onValue, onDone);
  }

  /**
   * Hear of values under `key` that are there or come, checked as by `get`. An edit is heard as a value with the same id and a
   * higher `seq`.
   * @param onExpired of a value that was heard: the last node that had it has dropped it
   * @throws {AgentError} `too-many-reads` at MAX_READS
   */
  listen(
    key: InfoHash,
    query: Query | undefined,
    onValue: (value: CheckedValue) => void,
    onExpired: (valueId: bigint) => void = () => {},
  ): DhtOperation {
    return this.#reader.listen(key, query, onValue, onExpired);
  }

  /**
   * Hear the values under `key` that are sealed to this device and whose author's certificate was found and verified. Two of
   * one author may come in the other order than they were put.
   * @throws {AgentError} `too-many-listens` at MAX_LISTENS
   */
  listenSealed(key: InfoHash, onSealed: OnSealed): DhtOperation {
    return this.#listener.listen(key, onSealed);
  }

  /**
   * The devices of an account that are announced and whose chain leads to it.
   * @param accountId 40 hex digits
   * @param onDevice each once, as soon as it is verified; remembered ones first
   * @param onDone exactly once, unless cancelled
   * @throws {DecodeError} unless `accountId` is 40 hex digits
   */
  findDevices(
    accountId: string,
    onDevice: (device: DeviceCertificate) => void,
    onDone: () => void = () => {},
  ): DhtOperation {
    return this.#finder.find(accountId, onDevice, onDone);
  }

  /** The verified certificate of a device: remembered, or looked up at the keys that `ids` give. */
  findCertificate(ids: KeyIds): Promise<DeviceCertificate | undefined> {
    return this.#directory.find(ids);
  }

  /**
   * The public key with these ids, as DER SubjectPublicKeyInfo; whose it is beyond that is not asked.
   * @throws {AgentError} `no-certificate`, `too-many-lookups`
   */
  async findKey(ids: KeyIds): Promise<Uint8Array> {
    return this.#directory.get(ids)?.publicKeyDer ?? (await this.#keys.find(ids));
  }

  /**
   * Open one encrypted value that was found otherwise. It waits its turn behind what listens and gets have found.
   * @returns why it cannot be opened, unless it is one to us with a good signature
   */
  open(value: EncryptedValue): Promise<OpenedValue | OpenFailure> {
    return new Promise((resolve) => {
      this.#opener.open(this.#lane, value, cypherHash(value), resolve);
    });
  }

  /** Stop listening and publishing. The identity's key stays open: it belongs to whoever opened it. */
  close(): void {
    this.#listener.close();
    this.#reader.close();
    for (const { key, valueId } of this.#published) this.#options.dht.cancelPut(key, valueId);
    this.#published.length = 0;
    this.#directory.close();
    this.#keys.close();
  }

  /** Counters; those under `dropped` name every reason for which a value did not reach the application. */
  stats() {
    return {
      puts: this.#writer.stats(),
      values: this.#reader.stats(),
      sealed: this.#listener.stats(),
      opener: this.#opener.stats(),
      keys: this.#keys.stats(),
      certificates: this.#directory.stats(),
      devices: this.#finder.stats(),
      signers: this.#verifier.stats(),
    };
  }
}

function idsOf(device: DeviceCertificate): Required<KeyIds> {
  return { shortId: device.shortId, longId: longKeyId(device.publicKeyDer) };
}
