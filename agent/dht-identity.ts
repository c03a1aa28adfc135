import { toHex } from './base/bytes.ts';
import { AgentError } from './base/errors.ts';
import type { Contacts } from './contact/contacts.ts';
import type { InfoHash } from './dht/infohash.ts';
import type { EncryptedValue, PlainValue } from './dht/value.ts';
import type { Content } from './identity/envelope.ts';
import { longKeyId, parseKeyId } from './identity/keys.ts';
import type { SecureDht } from './identity/secure-dht.ts';
import type { SecurePut, SecurePutOptions } from './identity/value-writer.ts';

/** A device that a value is sealed to. */
export interface Recipient {
  /** Long id of its key, 64 hex digits. */
  readonly deviceId: string;
  /** DER SubjectPublicKeyInfo. */
  readonly publicKeyDer: Uint8Array;
}

/** What a station can do on the DHT because it has an identity, for the commands of people. A node alone has none of it. */
export interface DhtIdentity {
  putSigned(key: InfoHash, content: Content, options: SecurePutOptions): SecurePut;
  putSealed(key: InfoHash, content: Content, to: Recipient, options: SecurePutOptions): SecurePut;
  /**
   * The devices that `to` means: short or long id of a device, name or account id of a contact. None is left out that can
   * be found.
   * @throws {AgentError} `no-such-contact`, `no-such-device`
   */
  recipients(to: string): Promise<readonly Recipient[]>;
  /** Never rejects. */
  open(value: EncryptedValue): Promise<PlainValue | 'not-for-us' | 'broken' | 'not-tried'>;
}

export interface DhtIdentityDeps {
  readonly secureDht: SecureDht;
  readonly contacts: Pick<Contacts, 'byName' | 'byAccount'>;
}

export function dhtIdentity(deps: DhtIdentityDeps): DhtIdentity {
  const { contacts, secureDht } = deps;
  const devicesOf = (accountId: string) =>
    new Promise<Recipient[]>((resolve) => {
      const devices: Recipient[] = [];
      secureDht.findDevices(
        accountId,
        (device) => devices.push(device),
        () => resolve(devices),
      );
    });
  const deviceOf = async (id: string): Promise<Recipient[]> => {
    try {
      const publicKeyDer = await secureDht.findKey(parseKeyId(id));
      return [{ deviceId: toHex(longKeyId(publicKeyDer)), publicKeyDer }];
    } catch (error) {
      if (error instanceof AgentError && error.code === 'no-certificate') return [];
      throw error;
    }
  };
  const find = async (to: string): Promise<readonly Recipient[]> => {
    const contact = contacts.byName(to) ?? contacts.byAccount(to.toLowerCase());
    if (contact !== undefined) return await devicesOf(contact.accountId);
    if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/i.test(to)) {
      throw new AgentError(
        'no-such-contact',
        `there is no contact "${to}", nor is it the id of a device`,
        '"doorward contact list" shows them; an id has 40 or 64 hex digits',
      );
    }
    const device = await deviceOf(to);
    return device.length > 0 || to.length === 64 ? device : await devicesOf(to);
  };
  return {
    putSigned: (key, content, options) => secureDht.putSigned(key, content, options),
    putSealed: (key, content, to, options) => secureDht.putSealed(key, content, to, options),
    recipients: async (to) => {
      const found = await find(to);
      if (found.length > 0) return found;
      throw new AgentError(
        'no-such-device',
        `no certificate of "${to}" was found on the DHT`,
        'a device publishes one while it runs; are both in the same network?',
      );
    },
    open: async (value) => {
      const outcome = await secureDht.open(value);
      if (typeof outcome !== 'string') return outcome.value;
      if (outcome === 'undecryptable') return 'not-for-us';
      // The key failed or was in demand; the value may be good.
      return outcome === 'overload' || outcome === 'decryption-failed' ? 'not-tried' : 'broken';
    },
  };
}
