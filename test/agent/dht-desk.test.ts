import { describe, expect, test } from 'vitest';
import { utf8 } from '../../agent/base/bytes.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { Contacts } from '../../agent/contact/contacts.ts';
import type { DhtFound } from '../../agent/control/dht-protocol.ts';
import { CONTROL_LIMITS } from '../../agent/control/limits.ts';
import type { DhtHandlers } from '../../agent/control/server.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { EncryptedValue, PlainValue } from '../../agent/dht/value.ts';
import { DhtDesk } from '../../agent/dht-desk.ts';
import { dhtIdentity } from '../../agent/dht-identity.ts';
import { openValue } from '../../agent/identity/envelope.ts';
import { SecureDht } from '../../agent/identity/secure-dht.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import { FakeClient } from '../control/fake-client.ts';
import { FakeNetwork } from '../identity/fake-dht.ts';
import { FIXTURE_UNIX_MS, fixtureIdentity, stoppedClock, vectorKey } from '../identity/fixtures.ts';

const KEY = InfoHash.of('a key');
const key = KEY.hex;
const front = fixtureIdentity('front');
const phone = fixtureIdentity('phone');
const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

const plain = (id: bigint, text = 'hello'): PlainValue => ({
  kind: 'plain',
  id,
  type: 0,
  data: Buffer.from(text),
});
const base64 = (text: string) => Buffer.from(text).toString('base64');

/** A desk on a network in memory. With an identity it is that of a station. */
function world(identity?: typeof front) {
  const network = new FakeNetwork();
  const verifier = new SignatureVerifier();
  const contacts = new Contacts(front.accountId);
  const desk = new DhtDesk();
  const secure = (who: typeof front) =>
    new SecureDht({
      dht: network.client(),
      identity: who,
      random: systemRandom,
      now: () => 0,
      unixMs: () => FIXTURE_UNIX_MS,
      verifier,
    });
  const stats = { rpc: { sent: 5 }, storage: { bytes: 9 }, state: 'connected' };
  desk.ready({
    dht: {
      ...network.client(),
      id: InfoHash.of('us'),
      nodes: () => [
        {
          id: InfoHash.of('them'),
          address: { ip: Uint8Array.of(10, 0, 0, 1), port: 4222 },
          state: 'good',
          heardMsAgo: 1499,
          bucket: 0,
        },
      ],
      ping: async ({ host }) =>
        host === '10.0.0.1'
          ? {
              id: InfoHash.of('them'),
              address: { ip: Uint8Array.of(10, 0, 0, 1), port: 4222 },
              roundTripMs: 1.2345,
            }
          : undefined,
      stats: () => stats as never,
    },
    clock: stoppedClock,
    random: systemRandom,
    verify: (value) => verifier.verify(value),
    identity:
      identity === undefined ? undefined : dhtIdentity({ secureDht: secure(identity), contacts }),
  });
  const client = new FakeClient();
  /** What the client was told. */
  const found = () => client.notified.map(({ params }) => params as DhtFound);
  return { network, desk, client, found, contacts, secure, verifier, ...desk };
}

const content = (text: string) => ({ key, data: base64(text), type: 0, permanent: false });

describe('gets and listens', () => {
  test('tell what is found, then how much it was', async () => {
    const { network, handlers, client, found } = world();
    network.add(KEY, plain(5n));
    network.add(KEY, { ...plain(6n), type: 3, userType: 'text/plain' });
    expect(await handlers['dht.get']({ stream: 1, key }, client)).toEqual({
      values: 2,
      dropped: 0,
    });
    expect(client.notified.map(({ method }) => method)).toEqual(['dht.value', 'dht.value']);
    expect(found()).toEqual([
      { stream: 1, expired: false, value: { id: '5', type: 0, data: base64('hello') } },
      {
        stream: 1,
        expired: false,
        value: { id: '6', type: 3, data: base64('hello'), user_type: 'text/plain' },
      },
    ]);
  });

  test('pass filters on, and refuse those that cannot be read', async () => {
    const { network, handlers, client, found } = world();
    network.add(KEY, plain(5n));
    network.add(KEY, plain(6n));
    await handlers['dht.get']({ stream: 1, key, where: 'id=6' }, client);
    expect(found().map(({ value }) => value.id)).toEqual(['6']);
    await expect(
      handlers['dht.get']({ stream: 1, key, where: 'color=red' }, client),
    ).rejects.toMatchObject({ code: 'bad-query' });
  });

  test('go on until they are stopped, or their client is gone', async () => {
    const { network, handlers, client, found, desk } = world();
    await handlers['dht.listen']({ stream: 1, key }, client);
    network.add(KEY, plain(5n));
    await tick();
    expect(found()).toHaveLength(1);
    await handlers['dht.stop']({ stream: 1 }, client);
    expect(network.listeners.size).toBe(0);
    await handlers['dht.listen']({ stream: 1, key }, client);
    client.close();
    expect(network.listeners.size).toBe(0);
    expect(desk.stats()).toMatchObject({ streams: 0, waitingBytes: 0 });
  });

  test('are bounded for each client, and their numbers are free again afterwards', async () => {
    const { handlers, client, desk } = world();
    for (let stream = 1; stream <= CONTROL_LIMITS.dhtStreams; stream++) {
      await handlers['dht.listen']({ stream, key }, client);
    }
    await expect(handlers['dht.listen']({ stream: 1, key }, client)).rejects.toMatchObject({
      code: 'stream-in-use',
    });
    await expect(handlers['dht.listen']({ stream: 99, key }, client)).rejects.toMatchObject({
      code: 'too-many-streams',
    });
    expect(desk.stats()['streams']).toBe(CONTROL_LIMITS.dhtStreams);
    await handlers['dht.stop']({ stream: 1 }, client);
    await handlers['dht.listen']({ stream: 99, key }, client);
    await handlers['dht.listen']({ stream: 1, key }, new FakeClient());
  });

  test('go as fast as the client reads; what finds no room to wait is dropped and counted', async () => {
    const { network, handlers, client, found, desk } = world();
    const large = 'x'.repeat(60_000);
    const fits = Math.floor(CONTROL_LIMITS.dhtWaitingBytes / 60_400);
    for (let id = 1; id <= fits + 10; id++) network.add(KEY, plain(BigInt(id), large));
    client.unsentBytes = CONTROL_LIMITS.dhtUnsentBytes;
    const get = handlers['dht.get']({ stream: 1, key }, client);
    await tick();
    expect(found()).toEqual([]);
    const { waitingBytes, dropped } = desk.stats();
    expect(waitingBytes).toBeLessThanOrEqual(CONTROL_LIMITS.dhtWaitingBytes);
    expect(dropped).toBe(10);
    client.drain();
    expect(await get).toEqual({ values: fits, dropped: 10 });
    expect(desk.stats()['waitingBytes']).toBe(0);
  });
});

describe('a signed value', () => {
  test('is told with its signer, and a forged one as what it is', async () => {
    const { network, handlers, client, found, secure } = world();
    await secure(phone).putSigned(KEY, { type: 0, data: Buffer.from('mine') }, { valueId: 7n })
      .result;
    const [good] = network.at(KEY) as [PlainValue];
    network.add(KEY, { ...good, data: Buffer.from('not mine') });
    await handlers['dht.get']({ stream: 1, key }, client);
    const by = phone.device.shortId.hex;
    expect(found().map(({ value }) => value.signed)).toEqual([
      { by, seq: 0, signature: 'good' },
      { by, seq: 0, signature: 'bad' },
    ]);
  });
});

describe('an encrypted value', () => {
  test('is opened when it is for us, and told with its signer', async () => {
    const { network, handlers, client, found, secure } = world(front);
    const hello = { type: 0, data: Buffer.from('psst') };
    await secure(phone).putSealed(KEY, hello, front.device, { valueId: 1n }).result;
    await secure(phone).putSealed(KEY, hello, phone.device, { valueId: 2n }).result;
    const [ours] = network.at(KEY) as [EncryptedValue];
    const cypher = Uint8Array.from(ours.cypher);
    cypher[cypher.length - 1] = (cypher.at(-1) ?? 0) ^ 1;
    network.add(KEY, { ...ours, id: 3n, cypher });
    await handlers['dht.get']({ stream: 1, key }, client);
    const [first, ...others] = found().map(({ value }) => value);
    expect(first).toMatchObject({
      id: '1',
      data: base64('psst'),
      encrypted: 'opened',
      signed: {
        by: phone.device.shortId.hex,
        to: front.device.shortId.hex,
        signature: 'good',
      },
    });
    expect(others).toEqual([
      { id: '2', encrypted: 'not-for-us' },
      { id: '3', encrypted: 'not-for-us' },
    ]);
  });

  test('is not tried without an identity, nor in a flood', async () => {
    const sealed = (id: bigint): EncryptedValue => ({
      kind: 'encrypted',
      id,
      cypher: new Uint8Array(700),
    });
    const bare = world();
    bare.network.add(KEY, sealed(1n));
    await bare.handlers['dht.get']({ stream: 1, key }, bare.client);
    expect(bare.found().map(({ value }) => value.encrypted)).toEqual(['not-tried']);
    const station = world(front);
    for (let id = 1n; id <= 70n; id++) station.network.add(KEY, sealed(id));
    await station.handlers['dht.get']({ stream: 1, key }, station.client);
    const outcomes = station.found().map(({ value }) => value.encrypted);
    expect(outcomes.filter((outcome) => outcome === 'not-tried')).toHaveLength(6);
    expect(outcomes[0]).toBe('not-for-us');
  });
});

describe('puts', () => {
  test('store what was given under the id that was given, or a new one', async () => {
    const { network, handlers, client } = world();
    const result = await handlers['dht.put'](
      { ...content('one'), id: '18446744073709551615', type: 3, user_type: 'x' },
      client,
    );
    expect(result).toMatchObject({ id: '18446744073709551615', acknowledged: expect.any(Number) });
    const other = await handlers['dht.put'](content('two'), client);
    expect(other.id).toMatch(/^[1-9]\d*$/);
    expect(network.at(KEY)).toMatchObject([
      { id: 2n ** 64n - 1n, type: 3, data: utf8('one'), userType: 'x' },
      { id: BigInt(other.id), type: 0, data: utf8('two') },
    ]);
    const large = { ...content(''), data: Buffer.alloc(65_537).toString('base64') };
    await expect(handlers['dht.put'](large, client)).rejects.toMatchObject({
      code: 'content-too-large',
    });
  });

  test('that are permanent end when they are cancelled, once, and are bounded', async () => {
    const { network, handlers, client, desk } = world();
    const put = { ...content('x'), permanent: true };
    for (let id = 1; id <= CONTROL_LIMITS.dhtPermanentPuts; id++)
      await handlers['dht.put']({ ...put, id: String(id) }, client);
    await expect(handlers['dht.put']({ ...put, id: '999' }, client)).rejects.toMatchObject({
      code: 'too-many-puts',
    });
    // The same again is no more than there was.
    await handlers['dht.put']({ ...put, id: '1' }, client);
    expect(network.permanent.size).toBe(CONTROL_LIMITS.dhtPermanentPuts);
    await handlers['dht.cancel_put']({ key, id: '1' }, client);
    expect(network.permanent.has(`${key} 1`)).toBe(false);
    expect(desk.stats()['permanentPuts']).toBe(CONTROL_LIMITS.dhtPermanentPuts - 1);
    await expect(handlers['dht.cancel_put']({ key, id: '1' }, client)).rejects.toMatchObject({
      code: 'no-such-put',
    });
  });

  test('that are signed replace the one that was signed before', async () => {
    const { network, handlers, client, verifier } = world(front);
    await handlers['dht.put_signed']({ ...content('one'), id: '7' }, client);
    await handlers['dht.put_signed']({ ...content('two'), id: '7', permanent: true }, client);
    const values = network.at(KEY) as PlainValue[];
    expect(values).toMatchObject([{ data: utf8('two'), signed: { seq: 1 } }]);
    expect(values.every((value) => verifier.verify(value))).toBe(true);
    await handlers['dht.cancel_put']({ key, id: '7' }, client);
    expect(network.permanent.has(`${key} 7`)).toBe(false);
  });

  test.each([
    ['the name of a contact', () => 'mobile'],
    ['the id of a contact', () => phone.accountId],
    ['the short id of a device', () => phone.device.shortId.hex],
    ['the long id of a device', () => phone.device.deviceId],
  ])('are sealed to %s', async (_, to) => {
    const { network, handlers, client, contacts, secure, verifier } = world(front);
    contacts.add({ name: 'mobile', id: phone.accountId, can: ['ring'] }, 'added');
    await secure(phone).publish();
    const { puts } = await handlers['dht.put_encrypted']({ ...content('hi'), to: to() }, client);
    expect(puts).toMatchObject([{ device: phone.device.deviceId }]);
    const [value] = network.at(KEY) as [EncryptedValue];
    const { value: opened } = await openValue(value, phone.devicePrivateKey, verifier);
    expect(Buffer.from(opened.data).toString()).toBe('hi');
  });

  test('to nobody that can be found are refused', async () => {
    const { handlers, client } = world(front);
    const to = (name: string) =>
      handlers['dht.put_encrypted']({ ...content('hi'), to: name }, client);
    await expect(to('nobody')).rejects.toMatchObject({ code: 'no-such-contact' });
    await expect(to('0'.repeat(39))).rejects.toMatchObject({ code: 'no-such-contact' });
    await expect(to('1'.repeat(40))).rejects.toMatchObject({ code: 'no-such-device' });
    await expect(to('1'.repeat(64))).rejects.toMatchObject({ code: 'no-such-device' });
  });

  test('that need an identity are refused by a node without one', async () => {
    const { handlers, client } = world();
    await expect(handlers['dht.put_signed'](content('x'), client)).rejects.toMatchObject({
      code: 'no-identity',
      hint: expect.stringContaining('--state'),
    });
    await expect(
      handlers['dht.put_encrypted']({ ...content('x'), to: vectorId() }, client),
    ).rejects.toMatchObject({ code: 'no-identity' });
  });
});

function vectorId(): string {
  return InfoHash.of(vectorKey('alice').publicKeyDer).hex;
}

describe('the node', () => {
  test('is shown with its neighbours and sizes beside their caps', async () => {
    const { handlers, client } = world();
    const them = InfoHash.of('them').hex;
    expect(await handlers['dht.nodes']({}, client)).toEqual({
      id: InfoHash.of('us').hex,
      nodes: [{ id: them, address: '10.0.0.1:4222', state: 'good', heard_s: 1, bucket: 0 }],
    });
    expect(await handlers['dht.stats']({}, client)).toEqual({
      id: InfoHash.of('us').hex,
      sizes: [{ name: 'storage.bytes', size: 9, cap: 16 * 2 ** 20 }],
      counters: { 'rpc.sent': 5 },
    });
    expect(await handlers['dht.ping']({ host: '10.0.0.1', port: 4222 }, client)).toEqual({
      id: them,
      address: '10.0.0.1:4222',
      rtt_ms: 1.23,
    });
    await expect(
      handlers['dht.ping']({ host: '10.0.0.2', port: 4222 }, client),
    ).rejects.toMatchObject({ code: 'no-answer' });
  });

  test('that is not there yet answers "starting"', async () => {
    const client = new FakeClient();
    const handlers: DhtHandlers = new DhtDesk().handlers;
    await expect(handlers['dht.stats']({}, client)).rejects.toMatchObject({ code: 'starting' });
    await expect(handlers['dht.get']({ stream: 1, key }, client)).rejects.toMatchObject({
      code: 'starting',
    });
  });
});
