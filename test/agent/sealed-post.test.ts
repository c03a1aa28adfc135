import { beforeEach, describe, expect, test } from 'vitest';
import { concatBytes, fromHex } from '../../agent/base/bytes.ts';
import { silentLogger } from '../../agent/base/log.ts';
import type { DeviceRef } from '../../agent/call/ring-group.ts';
import { encodeTextMessage, type TextMessage } from '../../agent/contact/text-message.ts';
import type { PutOptions, PutResult } from '../../agent/dht/client.ts';
import type { InfoHash } from '../../agent/dht/infohash.ts';
import { VALUE_TYPE, type Value } from '../../agent/dht/value.ts';
import { sealValue } from '../../agent/identity/envelope.ts';
import type { Identity } from '../../agent/identity/identity.ts';
import { inboxKey } from '../../agent/identity/inbox.ts';
import { SecureDht } from '../../agent/identity/secure-dht.ts';
import { SealedPost, SIGNAL_USER_TYPE } from '../../agent/sealed-post.ts';
import { FakeNetwork } from '../identity/fake-dht.ts';
import {
  FIXTURE_UNIX_MS,
  fixtureIdentity,
  seededRandom,
  stoppedClock,
} from '../identity/fixtures.ts';

const front = fixtureIdentity('front');
const phone = fixtureIdentity('phone');
const random = seededRandom('sealed-post');
const signal = Uint8Array.of(1, 2, 3);
const text: TextMessage = { kind: 'text', id: 7n, text: 'hello', dateUnixS: 1 };

interface Received {
  readonly what: Uint8Array | TextMessage;
  readonly from: DeviceRef;
}

let network: FakeNetwork;
/** Nodes answer a put when the test lets them. */
let heldPuts: (() => void)[] | undefined;

beforeEach(() => {
  network = new FakeNetwork();
  heldPuts = undefined;
});

function put(key: InfoHash, value: Value, options?: PutOptions, onFirstAck?: () => void) {
  const run = () => network.client().put(key, value, options, onFirstAck);
  if (heldPuts === undefined) return run();
  return new Promise<PutResult>((resolve) => heldPuts?.push(() => resolve(run())));
}

async function station(identity: Identity) {
  const dht = new SecureDht({
    dht: { ...network.client(), put },
    identity,
    random,
    now: () => stoppedClock.now(),
    unixMs: () => FIXTURE_UNIX_MS,
  });
  await dht.publish();
  const post = new SealedPost(dht, identity.device, silentLogger);
  const received: Received[] = [];
  post.listen({
    onSignal: (what, { accountId, deviceId }) =>
      received.push({ what, from: { accountId, deviceId } }),
    onText: (what, { accountId, deviceId }) =>
      received.push({ what, from: { accountId, deviceId } }),
  });
  return { dht, post, received, ref: identity.device };
}

/** Let the thread pool finish what was asked of it, however busy the machine is. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

const refOf = ({ device: { accountId, deviceId } }: Identity) => ({ accountId, deviceId });

async function found(post: SealedPost, accountId: string): Promise<DeviceRef[]> {
  const devices: DeviceRef[] = [];
  await new Promise<void>((resolve) => {
    post.findDevices(accountId, ({ deviceId }) => devices.push({ accountId, deviceId }), resolve);
  });
  return devices;
}

describe('a signal', () => {
  test('reaches the device that was found, with who wrote it', async () => {
    const [a, b] = [await station(front), await station(phone)];
    expect(await found(a.post, phone.accountId)).toEqual([refOf(phone)]);
    a.post.send(refOf(phone), signal);
    await until(() => b.received.length === 1);
    expect(b.received).toEqual([{ what: signal, from: refOf(front) }]);
    // Who wrote to us needs no looking up.
    b.post.send(refOf(front), signal);
    await until(() => a.received.length === 1);
    expect(a.received[0]?.from).toEqual(refOf(phone));
  });

  test('for a device that nobody knows goes nowhere', async () => {
    const a = await station(front);
    a.post.send(refOf(phone), signal);
    await a.post.flushed();
    expect(network.at(inboxKey(phone.device.shortId.hex))).toEqual([]);
    expect(a.post.stats()['signalsSent']).toBe(0);
  });

  test('is flushed when a node has it, and not before', async () => {
    const a = await station(front);
    await station(phone);
    await found(a.post, phone.accountId);
    const held: (() => void)[] = [];
    heldPuts = held;
    a.post.send(refOf(phone), signal);
    let isFlushed = false;
    const flushed = a.post.flushed().then(() => {
      isFlushed = true;
    });
    await until(() => held.length === 1);
    expect(isFlushed).toBe(false);
    expect(a.post.stats()['leaving']).toBe(1);
    held[0]?.();
    await flushed;
    expect(a.post.stats()['leaving']).toBe(0);
  });

  test('is dropped when its writer is not of the account that it names', async () => {
    const b = await station(phone);
    const data = concatBytes(fromHex(phone.accountId), signal);
    const content = { type: VALUE_TYPE.userData, userType: SIGNAL_USER_TYPE, data };
    await station(front); // so that its certificate can be found
    const to = phone.device.publicKeyDer;
    network.add(
      inboxKey(phone.device.shortId.hex),
      await sealValue(content, front.devicePrivateKey, to, { id: 1n, random }),
    );
    await until(() => b.post.stats()['otherAccount'] === 1);
    expect(b.received).toEqual([]);
  });
});

describe('a text', () => {
  const kept = (identity: Identity) =>
    [...network.permanent].filter((put) =>
      put.startsWith(inboxKey(identity.device.shortId.hex).hex),
    );

  test('is kept alive in the inbox until it is forgotten', async () => {
    const [a, b] = [await station(front), await station(phone)];
    let stored = 0;
    a.post.keep(
      phone.accountId,
      text,
      () => stored++,
      () => {},
    );
    await until(() => b.received.length === 1);
    expect(b.received).toEqual([{ what: text, from: refOf(front) }]);
    expect(stored).toBe(1);
    expect(kept(phone)).toHaveLength(1);
    a.post.forget(text.id);
    expect(kept(phone)).toEqual([]);
    expect(a.post.stats()['kept']).toBe(0);
  });

  test('is acknowledged to the device that wrote it', async () => {
    const [a, b] = [await station(front), await station(phone)];
    a.post.keep(
      phone.accountId,
      text,
      () => {},
      () => {},
    );
    await until(() => b.received.length === 1);
    b.post.acknowledge(front.device.deviceId, text.id);
    await until(() => a.received.length === 1);
    expect(a.received[0]?.what).toEqual({ kind: 'ack', id: text.id });
  });

  test('for an account without devices fails', async () => {
    const a = await station(front);
    const reasons: string[] = [];
    a.post.keep(
      phone.accountId,
      text,
      () => {},
      (reason) => reasons.push(reason),
    );
    await until(() => reasons.length === 1);
    expect(reasons).toEqual(['unreachable']);
  });

  test('that is forgotten while its devices are looked up is never put', async () => {
    const a = await station(front);
    await station(phone);
    a.post.keep(
      phone.accountId,
      text,
      () => {},
      () => {},
    );
    a.post.forget(text.id);
    await found(a.post, phone.accountId);
    expect(network.at(inboxKey(phone.device.shortId.hex))).toEqual([]);
  });
});

test('what is no text and no signal is counted and dropped', async () => {
  const b = await station(phone);
  await station(front);
  const contents = [
    { type: VALUE_TYPE.userData, userType: 'somebody.else', data: signal },
    { type: VALUE_TYPE.imMessage, data: Uint8Array.of(0xc1) },
    { type: VALUE_TYPE.imMessage, data: encodeTextMessage(text) },
  ];
  const to = phone.device.publicKeyDer;
  for (const [i, content] of contents.entries()) {
    network.add(
      inboxKey(phone.device.shortId.hex),
      await sealValue(content, front.devicePrivateKey, to, { id: BigInt(i + 1), random }),
    );
  }
  await until(() => b.received.length === 1);
  expect(b.post.stats()['unknownContent']).toBe(2);
});
