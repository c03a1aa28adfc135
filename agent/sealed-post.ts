import { BoundedMap } from './base/bounded.ts';
import { concatBytes, fromHex, toHex } from './base/bytes.ts';
import { DecodeError, errorText } from './base/errors.ts';
import { type Logger, shortId } from './base/log.ts';
import type { CallSignalling } from './call/call-driver.ts';
import type { DeviceRef } from './call/ring-group.ts';
import { decodeTextMessage, encodeTextMessage, type TextMessage } from './contact/text-message.ts';
import type { DhtOperation } from './dht/client.ts';
import { INFOHASH_BYTES } from './dht/infohash.ts';
import { VALUE_TYPE } from './dht/value.ts';
import type { DeviceCertificate } from './identity/certificate.ts';
import type { Content, ReceivedContent } from './identity/envelope.ts';
import { inboxKey } from './identity/inbox.ts';

import type { SecureDht } from './identity/secure-dht.ts';
import type { SecurePut } from './identity/value-writer.ts';
import type { TextPost } from './message-desk.ts';

/** User type of our call signals; inside the encryption, so only the receiver reads it. */
export const SIGNAL_USER_TYPE = 'doorward.signal';

/** Devices that we can write to without looking them up again: they were found, or wrote to us. */
const MAX_KNOWN_DEVICES = 128;

export interface SealedPostHandlers {
  readonly onSignal: (bytes: Uint8Array, from: DeviceRef) => void;
  readonly onText: (message: TextMessage, from: DeviceRef) => void;
}

/**
 * The post between devices: call signals and texts as values that are signed, encrypted to one device and put into its inbox on
 * the DHT. Here bytes become signals or texts; who wrote them is proven, what they may do is decided elsewhere.
 */
export class SealedPost implements CallSignalling, TextPost {
  readonly #dht: SecureDht;
  readonly #own: DeviceCertificate;
  readonly #log: Logger;
  readonly #known = new BoundedMap<string, DeviceCertificate>(MAX_KNOWN_DEVICES);
  /** By message id: what keeps the text alive. As many as `Messages` has outgoing. */
  readonly #kept = new Map<bigint, { cancel(): void }>();
  /** Signals that no node has yet. As many as calls make in the seconds that a put takes. */
  readonly #leaving = new Set<Promise<void>>();
  readonly #counters = { signalsSent: 0, textsSent: 0, unknownContent: 0, otherAccount: 0 };

  constructor(dht: SecureDht, own: DeviceCertificate, log: Logger) {
    this.#dht = dht;
    this.#own = own;
    this.#log = log;
  }

  listen(handlers: SealedPostHandlers): DhtOperation {
    return this.#dht.listenSealed(inboxKey(this.#own.shortId.hex), (content, author) => {
      this.#known.set(author.deviceId, author);
      this.#deliver(content, author, handlers);
    });
  }

  send(to: DeviceRef, bytes: Uint8Array): void {
    const device = this.#known.get(to.deviceId);
    if (device === undefined) {
      this.#log.warn('a signal for a device that is not known', { to: shortId(to.deviceId) });
      return;
    }
    this.#counters.signalsSent++;
    const data = concatBytes(fromHex(this.#own.accountId), bytes);
    const content = { type: VALUE_TYPE.userData, userType: SIGNAL_USER_TYPE, data };
    const left = new Promise<void>((resolve) => {
      const put = this.#put(device, content, { onFirstAck: resolve });
      put.result.then(
        () => resolve(),
        () => resolve(), // `#put` has told
      );
    }).then(() => {
      this.#leaving.delete(left);
    });
    this.#leaving.add(left);
  }

  /** Resolves when each signal that was sent before this is with a node, or cannot be. Before the DHT stops: the last good-bye. */
  async flushed(): Promise<void> {
    await Promise.all(this.#leaving);
  }

  findDevices(
    accountId: string,
    onDevice: (device: DeviceRef) => void,
    onDone: () => void,
  ): DhtOperation {
    const found = (device: DeviceCertificate) => {
      if (device.deviceId === this.#own.deviceId) return;
      this.#known.set(device.deviceId, device);
      onDevice(device);
    };
    return this.#dht.findDevices(accountId, found, onDone);
  }

  keep(
    accountId: string,
    message: TextMessage,
    onStored: () => void,
    onFailed: (reason: string) => void,
  ): void {
    const puts: SecurePut[] = [];
    const content = { type: VALUE_TYPE.imMessage, data: encodeTextMessage(message) };
    const lookup = this.#dht.findDevices(
      accountId,
      (device) => {
        this.#counters.textsSent++;
        puts.push(this.#put(device, content, { permanent: true, onFirstAck: onStored }));
      },
      () => {
        if (puts.length === 0) onFailed('unreachable');
      },
    );
    this.#kept.set(message.id, {
      cancel: () => {
        lookup.cancel();
        for (const put of puts) put.cancel();
      },
    });
  }

  forget(id: bigint): void {
    this.#kept.get(id)?.cancel();
    this.#kept.delete(id);
  }

  acknowledge(deviceId: string, id: bigint): void {
    const device = this.#known.get(deviceId);
    if (device === undefined) return;
    const data = encodeTextMessage({ kind: 'ack', id });
    this.#put(device, { type: VALUE_TYPE.imMessage, data });
  }

  stats(): Readonly<Record<string, number>> {
    return {
      knownDevices: this.#known.size,
      kept: this.#kept.size,
      leaving: this.#leaving.size,
      ...this.#counters,
    };
  }

  #put(
    to: DeviceCertificate,
    content: Content,
    options: { permanent?: boolean; onFirstAck?: () => void } = {},
  ): SecurePut {
    const put = this.#dht.putSealed(inboxKey(to.shortId.hex), content, to, options);
    put.result.catch((error: unknown) => {
      this.#log.warn('a value was not sent', { to: shortId(to.deviceId), why: errorText(error) });
    });
    return put;
  }

  #deliver(content: ReceivedContent, from: DeviceRef, handlers: SealedPostHandlers): void {
    if (content.type === VALUE_TYPE.userData && content.userType === SIGNAL_USER_TYPE) {
      this.#deliverSignal(content.data, from, handlers);
      return;
    }
    try {
      if (content.type !== VALUE_TYPE.imMessage) throw new DecodeError('not for a door');
      handlers.onText(decodeTextMessage(content.data), from);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#counters.unknownContent++;
    }
  }

  /**
   * A signal is its writer's account id, then the signal. Anybody can issue a certificate for somebody else's device key: the
   * account that the device itself signed must be the one that its certificate was found under.
   */
  #deliverSignal(data: Uint8Array, from: DeviceRef, { onSignal }: SealedPostHandlers): void {
    if (toHex(data.subarray(0, INFOHASH_BYTES)) !== from.accountId) this.#counters.otherAccount++;
    else onSignal(data.slice(INFOHASH_BYTES), from);
  }
}
