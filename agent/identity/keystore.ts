import { createPrivateKey, type KeyObject } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { equalBytes, fromUtf8 } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { AgentError, DecodeError, errorCode, errorText } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import {
  openPrivateFolder,
  readPrivateFile,
  renamePrivateFolder,
  setAside,
  writePrivateFile,
} from '../base/store.ts';
import type { PlainValue } from '../dht/value.ts';
import { announceDevice, decodeAnnouncement } from './announcement.ts';
import { type DeviceCertificate, parseChain, verifyDeviceChain } from './certificate.ts';
import type { Identity } from './identity.ts';
import { generateRsaKeys, type KeyProgress, publicKeyDerOf, shortKeyId } from './keys.ts';
import { openPrivateKey, type PrivateKey } from './private-key.ts';
import { SignatureVerifier } from './signature.ts';
import { decodeStoredValue, encodeStoredValue } from './stored-value.ts';
import { randomValueId } from './value-id.ts';

/**
 * Driver: the identity as files under `<state>/identity/`.
 *
 *     chain.pem           device, account, CA
 *     device.key          PKCS#8 PEM; used all the time
 *     account.key         PKCS#8 PEM; needed only to make or revoke devices, may be kept elsewhere
 *     announcement.json   the device announcement, signed by the account
 *
 * A new identity appears as a whole, by the rename of a folder. The CA's key is thrown away: it has signed the account's
 * certificate, and nobody trusts it for anything else (jami.md 2).
 */
const FILES = {
  chain: 'chain.pem',
  deviceKey: 'device.key',
  accountKey: 'account.key',
  announcement: 'announcement.json',
} as const;

export interface KeystoreOptions {
  /** The state folder; the identity is in `identity/` below it. */
  readonly state: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Called at the beginning and for each key, while a new identity is made. */
  readonly onProgress?: (progress: KeyProgress) => void;
  /** One sentence for the log: something was set aside, made again, or is done by a stand-in. */
  readonly onNotice?: (sentence: string) => void;
  /** For tests: RSA-4096 takes seconds. */
  readonly generateKeys?: typeof generateRsaKeys;
}

/**
 * Load the identity, or make one where there is none. Nothing that is found is overwritten: what cannot be understood is set
 * aside under a name with `.damaged-`. A damaged identity is not replaced by a new one: to its contacts the station would be a
 * stranger, so that is for a person to decide.
 * @throws {AgentError} `identity-damaged` a file is missing or cannot be understood;
 *   `identity-mismatch` key, certificate and announcement do not belong together;
 *   `store-unusable`, `store-read`, `store-write` from the file system
 */
export async function openIdentity(options: KeystoreOptions): Promise<Identity> {
  const keystore = new Keystore(options);
  await openPrivateFolder(options.state);
  return (await keystore.exists()) ? keystore.load() : keystore.create();
}

class Keystore {
  readonly #options: KeystoreOptions;
  readonly #folder: string;

  constructor(options: KeystoreOptions) {
    this.#options = options;
    this.#folder = join(options.state, 'identity');
  }

  /** Is any file of an identity there? Anything else under that name goes aside. */
  async exists(): Promise<boolean> {
    const found = await this.#list();
    if (found === undefined) return false;
    if (found !== 'not-a-folder' && found.some(isOfIdentity)) return true;
    if (found.length > 0) await this.#setAside(this.#folder, 'not an identity');
    return false;
  }

  async #list(): Promise<readonly string[] | 'not-a-folder' | undefined> {
    try {
      return await readdir(this.#folder);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      if (errorCode(error) === 'ENOTDIR') return 'not-a-folder';
      throw new AgentError(
        'store-read',
        `${this.#folder} cannot be read: ${errorText(error)}`,
        undefined,
        { cause: error },
      );
    }
  }

  async create(): Promise<Identity> {
    const { clock, random, onProgress = () => {}, generateKeys = generateRsaKeys } = this.#options;
    // The X.509 library is heavy: loaded here, once in the life of a station.
    const { issueChain } = await import('./issue.ts');
    const [ca, account, device] = await generateKeys(3, clock, onProgress);
    if (ca === undefined || account === undefined || device === undefined)
      throw new RangeError('three keys were asked for');
    const chainPem = await issueChain({ ca, account, device }, clock.unixMs(), random);
    const id = randomValueId(random);
    const accountKey = this.#privateKey(account);
    const announcement = await announceDevice(publicKeyDerOf(device), accountKey, id);
    accountKey.close();
    await this.#write({
      [FILES.chain]: chainPem,
      [FILES.deviceKey]: pem(device),
      [FILES.accountKey]: pem(account),
      [FILES.announcement]: encodeStoredValue(announcement),
    });
    return this.load();
  }

  /** All files or none: they are written to a folder beside, which then gets the right name. */
  async #write(files: Readonly<Record<string, string>>): Promise<void> {
    const fresh = `${this.#folder}.new`;
    try {
      await mkdir(fresh, { mode: 0o700 });
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw writeError(fresh, error);
      await this.#setAside(fresh, 'not finished');
      await mkdir(fresh, { mode: 0o700 });
    }
    for (const [name, content] of Object.entries(files))
      await writePrivateFile(join(fresh, name), content);
    await renamePrivateFolder(fresh, this.#folder);
  }

  async load(): Promise<Identity> {
    await openPrivateFolder(this.#folder);
    const device = await this.#read(FILES.chain, readChain);
    const key = await this.#read(FILES.deviceKey, readKey);
    if (!equalBytes(publicKeyDerOf(key), device.publicKeyDer))
      throw this.#mismatch(`${FILES.deviceKey} is not the key of the device in ${FILES.chain}`);
    const announcement = await this.#announcement(device);
    return {
      accountId: device.accountId,
      device,
      devicePrivateKey: this.#privateKey(key),
      announcement,
    };
  }

  /** The announcement, made again by the account key if it is missing or damaged. */
  async #announcement(device: DeviceCertificate): Promise<PlainValue> {
    const stored = await this.#tryRead(FILES.announcement, (content) =>
      readAnnouncement(content, device),
    );
    if (stored !== undefined) return stored;
    const account = await this.#read(FILES.accountKey, readKey);
    if (shortKeyId(publicKeyDerOf(account)).hex !== device.accountId)
      throw this.#mismatch(`${FILES.accountKey} is not the key of the account in ${FILES.chain}`);
    const accountKey = this.#privateKey(account);
    const id = randomValueId(this.#options.random);
    const announcement = await announceDevice(device.publicKeyDer, accountKey, id);
    accountKey.close();
    await writePrivateFile(this.#path(FILES.announcement), encodeStoredValue(announcement));
    this.#notice(`${this.#path(FILES.announcement)} was missing and has been made again`);
    return announcement;
  }

  /** @throws {AgentError} `identity-damaged` when the file is not there or `decode` cannot read it */
  async #read<T>(name: string, decode: (content: Uint8Array) => T): Promise<T> {
    const value = await this.#tryRead(name, decode);
    if (value !== undefined) return value;
    throw new AgentError(
      'identity-damaged',
      `the identity of this station is damaged: ${this.#path(name)} is missing or unreadable`,
      `put the file back from a backup; or move ${this.#folder} away, then the next start makes a new identity, ` +
        'which your contacts have to be told',
    );
  }

  /** @returns undefined when the file is not there, or was set aside because `decode` cannot read it */
  async #tryRead<T>(name: string, decode: (content: Uint8Array) => T): Promise<T | undefined> {
    const content = await readPrivateFile(this.#path(name));
    if (content === undefined) return undefined;
    try {
      return decode(content);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      await this.#setAside(this.#path(name), error.message);
      return undefined;
    }
  }

  async #setAside(path: string, why: string): Promise<void> {
    const aside = await setAside(path, this.#options.clock.unixMs());
    this.#notice(`${path} cannot be used (${why}): kept as ${aside}`);
  }

  #privateKey(key: KeyObject): PrivateKey {
    return openPrivateKey(key, {
      clock: this.#options.clock,
      onStandIn: (why) =>
        this.#notice(
          `${why.message}, a slower thread decrypts instead (${why.hint ?? 'no remedy'})`,
        ),
    });
  }

  #mismatch(message: string): AgentError {
    return new AgentError(
      'identity-mismatch',
      message,
      `put back the files of ${this.#folder} from one and the same backup`,
    );
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  #notice(sentence: string): void {
    this.#options.onNotice?.(sentence);
  }
}

/** A file of ours, or one that was set aside. */
function isOfIdentity(name: string): boolean {
  return Object.values(FILES).some((ours) => name.startsWith(ours));
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** @throws {DecodeError} */
function readKey(content: Uint8Array): KeyObject {
  try {
    const key = createPrivateKey(fromUtf8(content));
    if (key.asymmetricKeyType === 'rsa') return key;
  } catch {
    // The text of OpenSSL's error says nothing to a person.
  }
  throw new DecodeError('not an RSA private key');
}

/** Our own dates are not looked at: with a wrong clock the station still has to run. @throws {DecodeError} */
function readChain(content: Uint8Array): DeviceCertificate {
  return verifyDeviceChain(parseChain(content), undefined);
}

/** @throws {DecodeError} unless it is good for `device` */
function readAnnouncement(content: Uint8Array, device: DeviceCertificate): PlainValue {
  const value = decodeStoredValue(content);
  const { signed } = value;
  const isGood =
    signed !== undefined &&
    shortKeyId(signed.owner).hex === device.accountId &&
    decodeAnnouncement(value.data).deviceShortId.equals(device.shortId) &&
    new SignatureVerifier().verify(value);
  if (!isGood) throw new DecodeError('not the announcement of this device');
  return value;
}

function writeError(path: string, error: unknown): AgentError {
  return new AgentError(
    'store-write',
    `${path} cannot be written: ${errorText(error)}`,
    undefined,
    { cause: error },
  );
}
