import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { systemClock } from '../../agent/base/clock.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { DhtNode } from '../../agent/dht/udp.ts';
import type { PlainValue, Value } from '../../agent/dht/value.ts';
import type { DeviceCertificate } from '../../agent/identity/certificate.ts';
import type { ReceivedContent } from '../../agent/identity/envelope.ts';
import type { Identity } from '../../agent/identity/identity.ts';
import { inboxKey } from '../../agent/identity/inbox.ts';
import { openPrivateKey } from '../../agent/identity/private-key.ts';
import { SecureDht } from '../../agent/identity/secure-dht.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import { createValuePolicy } from '../../agent/identity/value-policy.ts';
import { fixtureIdentity, fixtureKey, vector } from '../identity/fixtures.ts';
import { DhtnodeConsole } from '../peers/opendht/programs.ts';
import { Workshop, waitFor } from './harness.ts';

const STORE_PORT = 46_110;
const ALICE_PORT = 46_120;

const front = fixtureIdentity('front');
const alice = vector('keys').keys.alice;
/** Alice's certificate was issued by carol's key: to us that is her account. */
const aliceAccount: string = vector('keys').keys.carol.key_id;

describe('a station among dhtnodes', () => {
  let workshop: Workshop;
  let node: DhtNode;
  let station: SecureDht;
  let reference: DhtnodeConsole;
  const verifier = new SignatureVerifier();

  beforeAll(async () => {
    workshop = await Workshop.open('identity');
    await workshop.dhtRing(3, STORE_PORT);
    const files = {
      key: join(workshop.folder, 'alice.key'),
      chain: join(workshop.folder, 'alice.pem'),
    };
    const chains = vector('certificates').hand_made;
    await writeFile(files.key, alice.private_pkcs8_pem);
    await writeFile(
      files.chain,
      chains['alice (issued by the vector authority, key carol)'].pem_chain,
    );
    const identity = ['--privkey', files.key, '--certificate', files.chain];
    reference = new DhtnodeConsole([
      '-p',
      `${ALICE_PORT}`,
      '-b',
      `127.0.0.1:${STORE_PORT}`,
      ...identity,
    ]);
    await reference.command('', /running on port/);

    node = new DhtNode({
      id: InfoHash.of('identity interop'),
      bind: ['127.0.0.1'],
      port: 0,
      bootstrap: [{ host: '127.0.0.1', port: STORE_PORT }],
      policy: createValuePolicy(verifier),
    });
    await node.start();
    await waitFor('connected', () => node.state().state === 'connected');
    const device: Identity = {
      ...front,
      devicePrivateKey: openPrivateKey(fixtureKey('front', 'device.key'), { clock: systemClock }),
    };
    station = new SecureDht({
      dht: node,
      identity: device,
      random: systemRandom,
      now: () => systemClock.now(),
      unixMs: () => systemClock.unixMs(),
      verifier,
    });
    const results = await station.publish();
    expect(Math.min(...results.map(({ acknowledged }) => acknowledged))).toBeGreaterThan(0);
  });

  afterAll(async () => {
    station.close();
    await Promise.all([node.stop(), reference.kill()]);
    await workshop.close();
  });

  test('finds the certificate that the reference published', async () => {
    const shortId = InfoHash.fromHex(alice.key_id);
    const found = await waitFor('certificate', () => station.findCertificate({ shortId }));
    expect(found.accountId).toBe(aliceAccount);
    expect(found.deviceId).toBe(alice.long_id);
  });

  test('opens what the reference encrypts, to the certificate that it looked up', async () => {
    const heard: [ReceivedContent, DeviceCertificate][] = [];
    const key = inboxKey(front.device.shortId.hex);
    const listening = station.listenSealed(key, (content, author) => heard.push([content, author]));
    const { hex } = front.device.shortId;
    await reference.command(`e ${key.hex} ${hex} hello-door`, /Put encrypted|success|took/i);
    await waitFor('the value', () => heard.length > 0);
    const [[content, author]] = heard as [[ReceivedContent, DeviceCertificate]];
    expect(fromUtf8(content.data)).toContain('hello-door');
    expect(author.deviceId).toBe(alice.long_id);
    expect(author.accountId).toBe(aliceAccount);
    listening.cancel();
  });

  test('seals what the reference opens', async () => {
    const key = InfoHash.of('for alice');
    const to = await station.findCertificate({ shortId: InfoHash.fromHex(alice.key_id) });
    if (to === undefined) throw new Error('no certificate of alice');
    const content = { type: 0, data: utf8('hello-alice'), userType: 'text/plain' };
    const { acknowledged } = await station.putSealed(key, content, to).result;
    expect(acknowledged).toBeGreaterThan(0);
    const [text] = await reference.command(`g ${key.hex}`, /hello-alice|Get: completed[^\n]*/);
    expect(text).toBe('hello-alice');
  });

  test('signs what the reference accepts, and again with a higher number', async () => {
    const key = InfoHash.of('signed by the door');
    for (const word of ['first-words', 'second-words']) {
      const content = { type: 0, data: utf8(word), userType: 'text/plain' };
      const put = station.putSigned(key, content, { valueId: 77n });
      expect((await put.result).acknowledged).toBeGreaterThan(0);
      const [text] = await reference.command(`g ${key.hex}`, /\w+-words|Get: completed[^\n]*/);
      expect(text).toBe(word);
    }
  });

  test('verifies what the reference signs', async () => {
    const key = InfoHash.of('signed by alice');
    await reference.command(`s ${key.hex} signed-words`, /signed|success|took/i);
    const values: Value[] = [];
    await new Promise<void>((done) => {
      node.get(key, undefined, (value) => values.push(value), done);
    });
    const [value] = values as [PlainValue];
    expect(fromUtf8(value.data)).toContain('signed-words');
    expect(verifier.verify(value)).toBe(true);
    expect(verifier.verify({ ...value, data: utf8('other words') })).toBe(false);
  });

  test('is found by its account on a second node of ours, through nodes that are not', async () => {
    const other = new DhtNode({
      id: InfoHash.of('another'),
      bind: ['127.0.0.1'],
      port: 0,
      bootstrap: [{ host: '127.0.0.1', port: STORE_PORT + 2 }],
      policy: createValuePolicy(verifier),
    });
    await other.start();
    await waitFor('connected', () => other.state().state === 'connected');
    const phone = new SecureDht({
      dht: other,
      identity: fixtureIdentity('phone'),
      random: systemRandom,
      now: () => systemClock.now(),
      unixMs: () => systemClock.unixMs(),
    });
    const devices: DeviceCertificate[] = [];
    await new Promise<void>((done) => {
      phone.findDevices(front.accountId, (device) => devices.push(device), done);
    });
    expect(devices).toEqual([front.device]);
    phone.close();
    await other.stop();
  });
});
