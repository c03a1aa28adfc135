import { createCipheriv } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { concatBytes, toHex, utf8 } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { EncryptedValue, Value } from '../../agent/dht/value.ts';
import { packSealed } from '../../agent/dht/value-codec.ts';
import { announceDevice } from '../../agent/identity/announcement.ts';
import type { DeviceCertificate } from '../../agent/identity/certificate.ts';
import { certificateKeys, certificateValue } from '../../agent/identity/certificate-value.ts';
import { type ReceivedContent, sealValue, signValue } from '../../agent/identity/envelope.ts';
import type { Identity } from '../../agent/identity/identity.ts';
import { inboxKey } from '../../agent/identity/inbox.ts';
import { issueChain } from '../../agent/identity/issue.ts';
import { longKeyId, publicKeyDerOf } from '../../agent/identity/keys.ts';
import {
  CERTIFICATE_LIFETIME_MS,
  DEVICES_FRESH_MS,
  DEVICES_STALE_MS,
  MAX_CONTENT_BYTES,
  MAX_DEVICES_PER_ACCOUNT,
  MAX_LISTENS,
  MAX_REMEMBERED_JUNK,
  MAX_REMEMBERED_VALUES,
  MAX_STRANGER_LOOKUPS,
  MAX_WAITING_PER_AUTHOR,
  MAX_WAITING_PER_LANE,
  STRANGER_FRESH_MS,
} from '../../agent/identity/limits.ts';
import type { PrivateKey } from '../../agent/identity/private-key.ts';
import { SecureDht, type SecureDhtOptions } from '../../agent/identity/secure-dht.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import { FakeNetwork } from './fake-dht.ts';
import {
  FIXTURE_UNIX_MS,
  type FixtureName,
  fixtureIdentity,
  fixtureKey,
  privateKey,
  seededRandom,
  vectorKey,
} from './fixtures.ts';

const front = fixtureIdentity('front');
const phone = fixtureIdentity('phone');
const stranger = fixtureIdentity('stranger');
const random = seededRandom('secure-dht');
const frontInbox = inboxKey(front.device.shortId.hex);
const content = { type: 0, data: utf8('hello'), userType: 'text/plain' };

let network: FakeNetwork;
let now: number;
let heard: { content: ReceivedContent; author: DeviceCertificate }[];

beforeEach(() => {
  network = new FakeNetwork();
  now = 0;
  heard = [];
});

function station(identity: Identity, options: Partial<SecureDhtOptions> = {}): SecureDht {
  return new SecureDht({
    dht: network.client(),
    identity,
    random,
    now: () => now,
    unixMs: () => FIXTURE_UNIX_MS,
    ...options,
  });
}

/** Let the thread pool and everything that waits for it finish. */
async function settle(dht: SecureDht): Promise<void> {
  for (let quiet = 0; quiet < 3; quiet++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (dht.stats().opener.waiting > 0) quiet = 0;
  }
}

function listen(dht: SecureDht, key = frontInbox) {
  return dht.listenSealed(key, (received, author) => heard.push({ content: received, author }));
}

const toFront = (from: Identity, data = content) =>
  sealValue(data, from.devicePrivateKey, front.device.publicKeyDer, {
    id: BigInt(random.uint32()) + 1n,
    random,
  });

describe('publish', () => {
  test('puts the certificate at both keys and the announcement at the account, all permanent', async () => {
    await station(front).publish();
    const longId = longKeyId(front.device.publicKeyDer);
    const keys = [front.device.shortId, InfoHash.of(longId), InfoHash.fromHex(front.accountId)];
    expect(keys.map((key) => network.at(key).length)).toEqual([1, 1, 1]);
    expect(network.permanent.size).toBe(3);
    expect(network.at(front.device.shortId)[0]).toMatchObject({ id: 1n, type: 8 });
    expect(network.at(InfoHash.fromHex(front.accountId))[0]).toMatchObject({ priority: 1 });
  });

  test('writes the certificate as a msgpack bin of the PEM chain', async () => {
    await station(front).publish();
    const [value] = network.at(front.device.shortId);
    const data = value?.kind === 'plain' ? value.data : new Uint8Array();
    expect(data[0]).toBe(0xc5);
    expect(data.slice(3)).toEqual(utf8(front.device.chainPem));
  });

  test('ends with close', async () => {
    const dht = station(front);
    await dht.publish();
    dht.close();
    expect(network.permanent.size).toBe(0);
  });
});

describe('sealed values', () => {
  test('reach the application with a verified author', async () => {
    const [door, app] = [station(front), station(phone)];
    await Promise.all([door.publish(), app.publish()]);
    listen(door);
    let acknowledged = false;
    const put = app.putSealed(frontInbox, content, front.device, {
      onFirstAck: () => {
        acknowledged = true;
      },
    });
    expect(await put.result).toEqual({ acknowledged: 1 });
    expect(acknowledged).toBe(true);
    await settle(door);
    expect(heard).toEqual([
      { content: { valueId: put.valueId, ...content }, author: phone.device },
    ]);
    expect(heard[0]?.author.accountId).toBe(phone.accountId);
  });

  test('stay secret to everybody else', async () => {
    const app = station(phone);
    await station(phone).publish();
    const eavesdropper = station(stranger);
    listen(eavesdropper);
    await app.putSealed(frontInbox, content, front.device).result;
    await settle(eavesdropper);
    expect(heard).toEqual([]);
    expect(eavesdropper.stats().sealed.dropped.undecryptable).toBe(1);
  });

  test('permanent puts are kept alive until they are cancelled', async () => {
    const put = station(phone).putSealed(frontInbox, content, front.device, { permanent: true });
    await put.result;
    expect(network.permanent.size).toBe(1);
    put.cancel();
    expect(network.permanent.size).toBe(0);
  });

  test('a put that is cancelled while it is being sealed never leaves', async () => {
    const put = station(phone).putSealed(frontInbox, content, front.device, { permanent: true });
    put.cancel();
    expect(await put.result).toEqual({ acknowledged: 0 });
    expect(network.at(frontInbox)).toEqual([]);
  });

  test('too much content is refused at once', () => {
    const large = { type: 0, data: new Uint8Array(MAX_CONTENT_BYTES + 1) };
    expect(() => station(phone).putSealed(frontInbox, large, front.device)).toThrow(
      expect.objectContaining({ code: 'content-too-large' }),
    );
  });

  test('the largest content fits into one value', async () => {
    const data = new Uint8Array(MAX_CONTENT_BYTES - 100);
    const large = { type: 0, data, userType: 'x'.repeat(100) };
    await station(phone).putSealed(frontInbox, large, front.device).result;
    const [value] = network.at(frontInbox) as [EncryptedValue];
    // RSA-4096 at both ends: owner, signature and RSA block grow by 800 bytes.
    expect(value.cypher.length + 800).toBeLessThan(65_536);
  });

  test('every reason for a drop is counted, and nothing of it is heard', async () => {
    const door = station(front);
    await station(phone).publish();
    listen(door);
    const seal = (from: Identity, to: Identity, tamper = (value: EncryptedValue) => value) =>
      sealValue(content, from.devicePrivateKey, to.device.publicKeyDer, { id: 9n, random }).then(
        (value) => network.add(frontInbox, tamper(value)),
      );
    await seal(phone, stranger);
    await seal(phone, front, (value) => ({ ...value, cypher: value.cypher.slice(0, 200) }));
    await seal(stranger, front);
    network.add(frontInbox, { kind: 'plain', id: 3n, ...content });
    await settle(door);
    const { dropped, heard: count } = door.stats().sealed;
    expect(heard).toEqual([]);
    expect(count).toBe(4);
    expect(dropped).toMatchObject({ undecryptable: 2, 'no-certificate': 1, 'not-sealed': 1 });
  });

  test('an author with a certificate for another key is nobody', async () => {
    const door = station(front);
    listen(door);
    for (const key of certificateKeys({
      shortId: stranger.device.shortId,
      longId: longKeyId(stranger.device.publicKeyDer),
    }))
      network.add(key, certificateValue(phone.device));
    network.add(frontInbox, await toFront(stranger));
    await settle(door);
    expect(heard).toEqual([]);
    expect(door.stats().sealed.dropped['no-certificate']).toBe(1);
  });

  test('an expired certificate does not count while the clock can be trusted', async () => {
    const unixMs = FIXTURE_UNIX_MS + CERTIFICATE_LIFETIME_MS;
    for (const [clock, expected] of [
      [unixMs, 0],
      [undefined, 1],
    ] as const) {
      heard = [];
      const door = station(front, { unixMs: () => clock });
      await station(phone).publish();
      const operation = listen(door);
      network.add(frontInbox, await toFront(phone));
      await settle(door);
      expect(heard.length).toBe(expected);
      operation.cancel();
      network = new FakeNetwork();
    }
  });

  test('the same sealed bytes are opened once, whatever id they come under', async () => {
    const door = station(front);
    await station(phone).publish();
    listen(door);
    const value = await toFront(phone);
    for (let i = 0; i < 3; i++) network.add(frontInbox, { ...value, id: BigInt(i + 1) });
    await settle(door);
    network.add(frontInbox, { ...value, id: 77n });
    await settle(door);
    expect(heard.length).toBe(1);
    expect(door.stats().sealed.dropped.repeated).toBe(3);
  });

  test('what waited for a certificate that was not there may come again', async () => {
    const door = station(front);
    listen(door);
    const value = await toFront(phone);
    network.add(frontInbox, value);
    await settle(door);
    expect(heard).toEqual([]);
    await station(phone).publish();
    network.add(frontInbox, value);
    await settle(door);
    expect(heard.length).toBe(1);
  });

  test('after cancel nothing is heard, not even what was being opened', async () => {
    const door = station(front);
    await station(phone).publish();
    const operation = listen(door);
    network.add(frontInbox, await toFront(phone));
    operation.cancel();
    await settle(door);
    expect(heard).toEqual([]);
    expect(network.listeners.size).toBe(0);
  });

  test('expired values are not delivered again', async () => {
    const door = station(front);
    listen(door);
    const value = await toFront(phone);
    for (const listener of network.listeners) listener.onValue(value, true);
    expect(door.stats().sealed.heard).toBe(0);
  });

  test('listens are bounded', () => {
    const door = station(front);
    for (let i = 0; i < MAX_LISTENS; i++) listen(door, InfoHash.of(`key ${i}`));
    expect(() => listen(door)).toThrow(expect.objectContaining({ code: 'too-many-listens' }));
    door.close();
    expect(network.listeners.size).toBe(0);
    expect(door.stats().sealed.listens).toBe(0);
  });
});

describe('under a flood', () => {
  const keyThatOpensNothing: PrivateKey = {
    publicKeyDer: front.device.publicKeyDer,
    blockBytes: 256,
    sign: (data) => front.devicePrivateKey.sign(data),
    decrypt: () => Promise.reject(new DecodeError('cannot be decrypted')),
    close: () => {},
  };

  const junk = (i: number): Value => {
    const cypher = new Uint8Array(600).fill(1);
    new DataView(cypher.buffer).setUint32(4, i);
    return { kind: 'encrypted', id: BigInt(i + 1), cypher };
  };

  test('a known caller is next, and what waits stays within its bound', async () => {
    const door = station(front);
    await station(phone).publish();
    const junkOpenedBefore: number[] = [];
    door.listenSealed(frontInbox, () =>
      junkOpenedBefore.push(door.stats().sealed.dropped.undecryptable),
    );
    network.add(frontInbox, await toFront(phone));
    await settle(door);
    const call = await toFront(phone);
    for (let i = 0; i < 500; i++) network.add(frontInbox, junk(i));
    network.add(frontInbox, call);
    expect(door.stats().opener.waiting).toBe(MAX_WAITING_PER_LANE);
    await settle(door);
    // The first junk was in work already.
    expect(junkOpenedBefore).toEqual([0, 1]);
    expect(door.stats().sealed.dropped.overload).toBe(500 - MAX_WAITING_PER_LANE);
    expect(door.stats().opener.waiting).toBe(0);
  });

  test('what is remembered of it is bounded', async () => {
    const door = station({ ...front, devicePrivateKey: keyThatOpensNothing });
    listen(door);
    for (let round = 0; round * MAX_WAITING_PER_LANE < MAX_REMEMBERED_JUNK + 100; round++) {
      for (let i = 0; i < MAX_WAITING_PER_LANE; i++)
        network.add(frontInbox, junk(round * 1000 + i));
      await settle(door);
    }
    expect(door.stats().opener.junk).toBe(MAX_REMEMBERED_JUNK);
  });

  test('what is remembered of values that were delivered is bounded', async () => {
    const letter = await signValue(content, phone.devicePrivateKey, {
      id: 1n,
      seq: 0,
      to: front.device.shortId,
    });
    const plain = packSealed(letter);
    const aesKey = new Uint8Array(32).fill(7);
    const door = station({
      ...front,
      devicePrivateKey: { ...keyThatOpensNothing, decrypt: async () => aesKey.slice() },
    });
    const sealed = (i: number): Value => {
      const iv = new Uint8Array(12);
      new DataView(iv.buffer).setUint32(0, i);
      const cipher = createCipheriv('aes-256-gcm', aesKey, iv);
      const body = concatBytes(cipher.update(plain), cipher.final());
      const cypher = concatBytes(new Uint8Array(256), iv, body, cipher.getAuthTag());
      return { kind: 'encrypted', id: BigInt(i + 1), cypher };
    };
    await station(phone).publish();
    listen(door);
    const hear = (value: Value) => {
      for (const listener of network.listeners) listener.onValue(value, false);
    };
    for (let i = 0; i <= MAX_REMEMBERED_VALUES; i++) {
      hear(sealed(i));
      if (i % MAX_WAITING_PER_LANE === 0 || i === MAX_REMEMBERED_VALUES) await settle(door);
    }
    await settle(door);
    expect(heard.length).toBe(MAX_REMEMBERED_VALUES + 1);
    expect(door.stats().sealed.remembered).toBe(MAX_REMEMBERED_VALUES);
    hear(sealed(MAX_REMEMBERED_VALUES));
    expect(door.stats().sealed.dropped.repeated).toBe(1);
  });

  test('values of one author that wait for its certificate are bounded', async () => {
    const door = station(front);
    network.hold(phone.device.shortId);
    listen(door);
    for (let i = 0; i < MAX_WAITING_PER_AUTHOR + 2; i++) {
      network.add(frontInbox, await toFront(phone));
      await settle(door);
    }
    expect(door.stats().certificates).toMatchObject({ lookups: 1, running: 1 });
    expect(door.stats().sealed.dropped['author-busy']).toBe(2);
    expect(door.stats().sealed.waitingForCertificates).toBe(MAX_WAITING_PER_AUTHOR);
    await station(phone).publish();
    network.release(phone.device.shortId);
    await settle(door);
    expect(heard.length).toBe(MAX_WAITING_PER_AUTHOR);
  });

  test('look-ups for strangers are bounded and leave those for the accounts we ask for alone', async () => {
    const door = station(front);
    for (let i = 0; i < MAX_STRANGER_LOOKUPS + 3; i++) {
      const shortId = InfoHash.of(`stranger ${i}`);
      network.hold(shortId);
      void door.findCertificate({ shortId });
    }
    expect(door.stats().certificates).toMatchObject({
      running: MAX_STRANGER_LOOKUPS,
      refusedByLimit: 3,
    });
    await station(phone).publish();
    const devices: string[] = [];
    await new Promise<void>((done) => {
      door.findDevices(phone.accountId, (device) => devices.push(device.deviceId), done);
    });
    expect(devices).toEqual([phone.device.deviceId]);
    door.close();
    expect(door.stats().certificates.running).toBe(0);
  });
});

describe('findDevices', () => {
  const find = (dht: SecureDht, accountId: string) =>
    new Promise<string[]>((resolve) => {
      const devices: string[] = [];
      dht.findDevices(
        accountId,
        (device) => devices.push(device.deviceId),
        () => resolve(devices),
      );
    });

  test('gives each announced device whose chain leads to the account', async () => {
    await station(phone).publish();
    expect(await find(station(front), phone.accountId)).toEqual([phone.device.deviceId]);
  });

  test('an account that nobody announced has none', async () => {
    expect(await find(station(front), phone.accountId)).toEqual([]);
  });

  test('refuses an id that is none', () => {
    expect(() => station(front).findDevices('alice', () => {})).toThrow(DecodeError);
  });

  test('believes neither the unsigned, nor strangers, nor an announcement without certificate', async () => {
    const key = InfoHash.fromHex(phone.accountId);
    const { announcement } = phone;
    const byStranger = await announceDevice(
      stranger.device.publicKeyDer,
      privateKey(fixtureKey('stranger', 'account.key')),
      5n,
    );
    const { signed: _, ...unsigned } = announcement;
    network.add(key, unsigned);
    network.add(key, byStranger);
    network.add(key, { ...announcement, data: utf8('something else') });
    await station(stranger).publish();
    expect(await find(station(front), phone.accountId)).toEqual([]);
    network.add(key, announcement);
    expect(await find(station(front), phone.accountId)).toEqual([]);
  });

  test('a device of another account is not taken, though its account lends it', async () => {
    // The phone's account announces the stranger's device: its certificate says otherwise.
    const lent = await announceDevice(
      stranger.device.publicKeyDer,
      privateKey(fixtureKey('phone', 'account.key')),
      5n,
    );
    network.add(InfoHash.fromHex(phone.accountId), lent);
    await station(stranger).publish();
    expect(await find(station(front), phone.accountId)).toEqual([]);
  });

  test('finds the right certificate behind one that a stranger published for the same key', async () => {
    const hijacked = await underOtherAccount('phone', 'stranger');
    for (const key of certificateKeys({
      shortId: phone.device.shortId,
      longId: longKeyId(phone.device.publicKeyDer),
    })) {
      network.add(key, hijacked);
      network.add(key, certificateValue(phone.device));
    }
    network.add(InfoHash.fromHex(phone.accountId), phone.announcement);
    expect(await find(station(front), phone.accountId)).toEqual([phone.device.deviceId]);
  });

  test('does not wait a second time, and asks again when what it knows has aged', async () => {
    const door = station(front);
    await station(phone).publish();
    await find(door, phone.accountId);
    const gets = network.gets;
    expect(await find(door, phone.accountId)).toEqual([phone.device.deviceId]);
    expect(network.gets).toBe(gets);

    now += DEVICES_FRESH_MS;
    network.hold(InfoHash.fromHex(phone.accountId));
    const devices: string[] = [];
    door.findDevices(phone.accountId, (device) => devices.push(device.deviceId));
    await Promise.resolve();
    expect(devices).toEqual([phone.device.deviceId]);
    expect(network.gets).toBe(gets + 1);

    now += DEVICES_STALE_MS;
    door.findDevices(phone.accountId, () => devices.push('stale'));
    await Promise.resolve();
    expect(devices.length).toBe(1);
  });

  test('reports a device as soon as it is verified, and remembers it though the search was cancelled', async () => {
    const door = station(front);
    await station(phone).publish();
    const devices: string[] = [];
    const operation = door.findDevices(
      phone.accountId,
      (device) => {
        devices.push(device.deviceId);
        operation.cancel();
      },
      () => devices.push('done'),
    );
    await settle(door);
    expect(devices).toEqual([phone.device.deviceId]);
    network.hold(InfoHash.fromHex(phone.accountId));
    door.findDevices(phone.accountId, (device) => devices.push(device.deviceId));
    await Promise.resolve();
    expect(devices.length).toBe(2);
  });

  test('devices of one account are bounded', async () => {
    const accountKey = privateKey(fixtureKey('phone', 'account.key'));
    const key = InfoHash.fromHex(phone.accountId);
    for (let i = 0; i < MAX_DEVICES_PER_ACCOUNT + 2; i++) {
      const data = Uint8Array.of(
        0x81,
        0xa3,
        ...utf8('dev'),
        0xc4,
        20,
        ...InfoHash.of(`${i}`).bytes,
      );
      network.add(
        key,
        await signValue({ type: 0, data }, accountKey, { id: BigInt(i + 1), seq: 0 }),
      );
    }
    const door = station(front);
    await find(door, phone.accountId);
    expect(door.stats().certificates.lookups).toBe(MAX_DEVICES_PER_ACCOUNT);
    expect(door.stats().devices.refusedByLimit).toBe(2);
  });
});

describe('certificates of authors', () => {
  test("a stranger's certificate for a contact's key does not make the contact a stranger", async () => {
    const hijacked = await underOtherAccount('phone', 'stranger');
    const keys = certificateKeys({
      shortId: phone.device.shortId,
      longId: longKeyId(phone.device.publicKeyDer),
    });
    for (const key of keys) {
      network.add(key, hijacked);
      network.add(key, certificateValue(phone.device));
    }
    const door = station(front, { isKnownAccount: (id) => id === phone.accountId });
    listen(door);
    network.add(frontInbox, await toFront(phone));
    await settle(door);
    expect(heard[0]?.author.accountId).toBe(phone.accountId);
    expect(door.stats().certificates).toMatchObject({ known: 1, strangers: 0 });
  });

  test("another account's claim does not replace what is known of a device", async () => {
    // The stranger is a contact too, and announces the phone's device as its own.
    const door = station(front);
    await station(phone).publish();
    await new Promise<void>((done) => {
      door.findDevices(phone.accountId, () => {}, done);
    });
    network.add(phone.device.shortId, await underOtherAccount('phone', 'stranger'));
    const claim = await announceDevice(
      phone.device.publicKeyDer,
      privateKey(fixtureKey('stranger', 'account.key')),
      5n,
    );
    network.add(InfoHash.fromHex(stranger.accountId), claim);
    await new Promise<void>((done) => {
      door.findDevices(stranger.accountId, () => {}, done);
    });
    expect(door.stats().certificates.conflicts).toBe(1);
    listen(door);
    network.add(frontInbox, await toFront(phone));
    await settle(door);
    expect(heard[0]?.author.accountId).toBe(phone.accountId);
  });

  test('of strangers are asked for again after a while, so that a false one does not stay', async () => {
    const door = station(front, { isKnownAccount: (id) => id === phone.accountId });
    network.add(phone.device.shortId, await underOtherAccount('phone', 'stranger'));
    const { shortId } = phone.device;
    expect((await door.findCertificate({ shortId }))?.accountId).toBe(stranger.accountId);
    network.add(shortId, certificateValue(phone.device));
    expect((await door.findCertificate({ shortId }))?.accountId).toBe(stranger.accountId);
    now += STRANGER_FRESH_MS;
    expect((await door.findCertificate({ shortId }))?.accountId).toBe(phone.accountId);
  });

  test('can be asked for by either id', async () => {
    await station(phone).publish();
    const { shortId, deviceId } = phone.device;
    const longId = longKeyId(phone.device.publicKeyDer);
    expect(toHex(longId)).toBe(deviceId);
    for (const ids of [{ shortId }, { longId }, { shortId, longId }]) {
      const door = station(front);
      expect(await door.findCertificate(ids)).toEqual(phone.device);
      const { gets } = network;
      expect(await door.findCertificate({ longId })).toEqual(phone.device);
      expect(network.gets).toBe(gets);
    }
  });

  test('junk at the key is counted and does not hide the certificate', async () => {
    network.add(phone.device.shortId, { kind: 'plain', id: 1n, type: 8, data: utf8('junk') });
    await station(stranger).publish();
    network.add(phone.device.shortId, certificateValue(phone.device));
    const door = station(front);
    expect(await door.findCertificate({ shortId: phone.device.shortId })).toEqual(phone.device);
    expect(door.stats().certificates.badCertificates).toBe(1);
  });
});

describe('putSigned', () => {
  const key = InfoHash.of('status');
  const verifier = new SignatureVerifier();
  const stored = () => network.at(key)[0] as Value;

  test('signs what everybody can read, and never repeats an id by chance', async () => {
    const door = station(front);
    const first = door.putSigned(key, content);
    const second = door.putSigned(key, content);
    await Promise.all([first.result, second.result]);
    expect(first.valueId).not.toBe(second.valueId);
    for (const value of network.at(key))
      expect(value.kind === 'plain' && verifier.verify(value)).toBe(true);
  });

  test('replaces an own value by a higher sequence number', async () => {
    const door = station(front);
    for (const seq of [0, 1, 2]) {
      await door.putSigned(key, content, { valueId: 7n }).result;
      expect(stored()).toMatchObject({ id: 7n, signed: { seq } });
    }
  });

  test('takes no sequence number from others', async () => {
    const foreign = await signValue(content, vectorKey('alice'), { id: 7n, seq: 99 });
    network.add(key, foreign);
    await station(front).putSigned(key, content, { valueId: 7n }).result;
    expect(stored()).toMatchObject({ signed: { seq: 0 } });
  });
});

/** A certificate for the device key of `name` under the account of `thief`: anybody can make one. */
async function underOtherAccount(name: FixtureName, thief: FixtureName): Promise<Value> {
  const chainPem = await issueChain(
    {
      ca: fixtureKey(thief, 'device.key'),
      account: fixtureKey(thief, 'account.key'),
      device: fixtureKey(name, 'device.key'),
    },
    FIXTURE_UNIX_MS,
    random,
  );
  expect(publicKeyDerOf(fixtureKey(name, 'device.key'))).toEqual(
    fixtureIdentity(name).device.publicKeyDer,
  );
  return certificateValue({ ...fixtureIdentity(thief).device, chainPem });
}
