import type { Millis } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { DhtClient, DhtOperation, PutResult } from '../dht/client.ts';
import { InfoHash } from '../dht/infohash.ts';
import type { PlainValue, Value } from '../dht/value.ts';
import type { DeviceCertificate } from './certificate.ts';
import { CertificateDirectory } from './certificate-directory.ts';
import { certificateKeys, certificateValue, type DeviceKeyIds } from './certificate-value.ts';
import { DeviceFinder } from './device-finder.ts';
import { type Content, sealValue, signValue } from './envelope.ts';
import type { Identity } from './identity.ts';
import { longKeyId, shortKeyId } from './keys.ts';
import { MAX_CONTENT_BYTES } from './limits.ts';
import { type OnSealed, SealedListener } from './sealed-listener.ts';
import { SignatureVerifier } from './signature.ts';
import { randomValueId } from './value-id.ts';

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

export interface SecurePutOptions {
  /** Keep it alive until `cancel` or the end of the process. */
  readonly permanent?: boolean;
  /** Default: random. */
  readonly valueId?: bigint;
  /** As soon as one storing node has it. */
  readonly onFirstAck?: () => void;
}

export interface SecurePut {
  readonly valueId: bigint;
  /** As `DhtClient.put`. */
  readonly result: Promise<PutResult>;
  /** Stop keeping a permanent put alive. */
  cancel(): void;
}

/**
 * The DHT with identities on it: what is put is signed, or signed and encrypted to one device; what is heard was decrypted,
 * verified, and comes from a device whose chain leads to an account. Whether that account may do anything, and whether a
 * value is old or repeated, is for the application to decide.
 */
export class SecureDht {
  readonly #options: SecureDhtOptions;
  readonly #verifier: SignatureVerifier;
  readonly #directory: CertificateDirectory;
  readonly #finder: DeviceFinder;
  readonly #listener: SealedListener;
  readonly #published: { readonly key: InfoHash; readonly valueId: bigint }[] = [];

  constructor(options: SecureDhtOptions) {
    this.#options = options;
    const { dht, identity, now, unixMs, isKnownAccount = () => false } = options;
    this.#verifier = options.verifier ?? new SignatureVerifier();
    this.#directory = new CertificateDirectory({ dht, now, unixMs, isKnownAccount });
    this.#finder = new DeviceFinder({
      dht,
      directory: this.#directory,
      verifier: this.#verifier,
      now,
    });
    this.#listener = new SealedListener({
      dht,
      key: identity.devicePrivateKey,
      verifier: this.#verifier,
      directory: this.#directory,
    });
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
   * Sign, encrypt to `to`, and put under `key`.
   * @throws {AgentError} `content-too-large` over MAX_CONTENT_BYTES
   */
  putSealed(
    key: InfoHash,
    content: Content,
    to: DeviceCertificate,
    options: SecurePutOptions = {},
  ): SecurePut {
    const { identity, random } = this.#options;
    return this.#put(key, content, options, (id) =>
      sealValue(content, identity.devicePrivateKey, to.publicKeyDer, { id, random }),
    );
  }

  /**
   * Sign, and put under `key` for everybody to read. With a `valueId` that we have used there before the value is replaced:
   * the sequence number goes above that of what is stored (opendht.md 13.5).
   * @throws {AgentError} `content-too-large` over MAX_CONTENT_BYTES
   */
  putSigned(key: InfoHash, content: Content, options: SecurePutOptions = {}): SecurePut {
    return this.#put(key, content, options, async (id) => {
      const seq = options.valueId === undefined ? 0 : await this.#nextSeq(key, id);
      return signValue(content, this.#options.identity.devicePrivateKey, { id, seq });
    });
  }

  #put(
    key: InfoHash,
    content: Content,
    { permanent = false, valueId, onFirstAck }: SecurePutOptions,
    make: (id: bigint) => Promise<Value>,
  ): SecurePut {
    if (content.data.length > MAX_CONTENT_BYTES)
      throw new AgentError(
        'content-too-large',
        `${content.data.length} bytes do not fit into one value of the DHT`,
        `send at most ${MAX_CONTENT_BYTES}`,
      );
    const id = valueId ?? randomValueId(this.#options.random);
    let isCancelled = false;
    const run = async (): Promise<PutResult> => {
      const value = await make(id);
      if (isCancelled) return { acknowledged: 0 };
      return this.#options.dht.put(key, value, { permanent }, onFirstAck);
    };
    return {
      valueId: id,
      result: run(),
      cancel: () => {
        isCancelled = true;
        if (permanent) this.#options.dht.cancelPut(key, id);
      },
    };
  }

  #nextSeq(key: InfoHash, id: bigint): Promise<number> {
    const own = shortKeyId(this.#options.identity.device.publicKeyDer);
    let next = 0;
    return new Promise((resolve) => {
      this.#options.dht.get(
        key,
        { where: [{ field: 'id', value: id }], select: [] },
        (value) => {
          if (value.kind !== 'plain' || value.id !== id || value.signed === undefined) return;
          if (!shortKeyId(value.signed.owner).equals(own) || !this.#verifier.verify(value)) return;
          next = Math.max(next, Math.min(value.signed.seq + 1, 0xffff));
        },
        () => resolve(next),
      );
    });
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
  findCertificate(ids: DeviceKeyIds): Promise<DeviceCertificate | undefined> {
    return this.#directory.find(ids);
  }

  /** Stop listening and publishing. The identity's key stays open: it belongs to whoever opened it. */
  close(): void {
    this.#listener.close();
    for (const { key, valueId } of this.#published) this.#options.dht.cancelPut(key, valueId);
    this.#published.length = 0;
    this.#directory.close();
  }

  /** Counters; those under `sealed.dropped` name every reason for which a value did not reach the application. */
  stats() {
    return {
      sealed: this.#listener.stats(),
      certificates: this.#directory.stats(),
      devices: this.#finder.stats(),
      signers: this.#verifier.stats(),
    };
  }
}

function idsOf(device: DeviceCertificate): Required<DeviceKeyIds> {
  return { shortId: device.shortId, longId: longKeyId(device.publicKeyDer) };
}
