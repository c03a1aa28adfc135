import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { systemClock } from '../../agent/base/clock.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { DhtNode } from '../../agent/dht/udp.ts';
import type { PlainValue, Value } from '../../agent/dht/value.ts';
import { packSealed } from '../../agent/dht/value-codec.ts';
import { encryptBlob } from '../../agent/identity/blob-encryption.ts';
import { certificateValue } from '../../agent/identity/certificate-value.ts';
import { sealValue, signValue } from '../../agent/identity/envelope.ts';
import { issueChain } from '../../agent/identity/issue.ts';
import { parseKeyId } from '../../agent/identity/keys.ts';
import { openPrivateKey } from '../../agent/identity/private-key.ts';
import { SecureDht } from '../../agent/identity/secure-dht.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import { createValuePolicy } from '../../agent/identity/value-policy.ts';
import type { CheckedValue } from '../../agent/identity/value-reader.ts';
import {
  FIXTURE_UNIX_MS,
  fixtureIdentity,
  fixtureKey,
  seededRandom,
  vector,
  vectorKey,
} from '../identity/fixtures.ts';
import { CryptoNode, DhtnodeConsole } from '../peers/opendht/programs.ts';
import { Workshop, waitFor } from './harness.ts';

/**
 * OpenDHT's crypto layer between us and the reference, over storing nodes of the reference alone: bob is a node of libopendht
 * with a self-signed certificate; the console is a `dhtnode` with an identity that `dhtnode -i` has made for itself.
 */
const STORE_PORT = 47_410;
const BOB_PORT = 47_420;
const CONSOLE_PORT = 47_421;

const front = fixtureIdentity('front');
const { bob } = vector('keys').keys;
const certificates = vector('certificates');
const consoleId: string = certificates.reference_identity.chain[0].key_id;
const frontId = front.device.shortId.hex;

const text = (words: string) => ({ type: 0, data: utf8(words), userType: 'text/plain' });

describe('the crypto layer among nodes of the reference', () => {
  let workshop: Workshop;
  let node: DhtNode;
  let station: SecureDht;
  let outsider: DhtNode;
  let reference: CryptoNode;
  let console: DhtnodeConsole;

  async function ourNode(name: string): Promise<DhtNode> {
    const own = new DhtNode({
      id: InfoHash.of(name),
      bind: ['127.0.0.1'],
      port: 0,
      bootstrap: [{ host: '127.0.0.1', port: STORE_PORT }],
      policy: createValuePolicy(new SignatureVerifier()),
    });
    await own.start();
    await waitFor('connected', () => own.state().state === 'connected');
    return own;
  }

  async function identity(name: string, keyPem: string, chainPem: string) {
    const { folder } = workshop;
    const files = { key: join(folder, `${name}.key`), chain: join(folder, `${name}.pem`) };
    await Promise.all([writeFile(files.key, keyPem), writeFile(files.chain, chainPem)]);
    return files;
  }

  beforeAll(async () => {
    workshop = await Workshop.open('crypto');
    await workshop.dhtRing(3, STORE_PORT);
    const { reference_identity, hand_made } = certificates;
    const { files } = reference_identity;
    const bobs = await identity(
      'bob',
      bob.private_pkcs8_pem,
      hand_made['bob (self signed)'].pem_chain,
    );
    reference = new CryptoNode(BOB_PORT, bobs);
    await reference.join('127.0.0.1', STORE_PORT);
    const made = await identity('made', files['node private key'], files['node certificate chain']);
    const network = ['-p', `${CONSOLE_PORT}`, '-b', `127.0.0.1:${STORE_PORT}`];
    console = new DhtnodeConsole([...network, '--privkey', made.key, '--certificate', made.chain]);
    await console.command('', /running on port/);

    [node, outsider] = await Promise.all([ourNode('crypto'), ourNode('outsider')]);
    const devicePrivateKey = openPrivateKey(fixtureKey('front', 'device.key'), {
      clock: systemClock,
    });
    station = new SecureDht({
      dht: node,
      identity: { ...front, devicePrivateKey },
      random: systemRandom,
      now: () => systemClock.now(),
      unixMs: () => systemClock.unixMs(),
    });
    await station.publish();
  });

  afterAll(async () => {
    station.close();
    await Promise.all([node.stop(), outsider.stop(), reference.kill(), console.kill()]);
    await workshop.close();
  });

  const read = (key: InfoHash): Promise<CheckedValue[]> =>
    new Promise((resolve) => {
      const values: CheckedValue[] = [];
      station.get(
        key,
        undefined,
        (value) => values.push(value),
        () => resolve(values),
      );
    });

  const raw = (from: DhtNode, key: InfoHash): Promise<Value[]> =>
    new Promise((resolve) => {
      const values: Value[] = [];
      from.get(
        key,
        undefined,
        (value) => values.push(value),
        () => resolve(values),
      );
    });

  describe('signed', () => {
    test('by us, read by both as signed by us', async () => {
      const key = InfoHash.of('signed by us');
      await station.putSigned(key, text('from-the-door')).result;
      const [line] = await console.command(`g ${key.hex}`, /Value\[[^\n]*from-the-door/);
      expect(line).toContain('signed');
      expect(await reference.get(key.hex)).toMatchObject([
        { data: 'from-the-door', owner: frontId, utype: 'text/plain' },
      ]);
    });

    test('by a dhtnode, got and heard by us with its author', async () => {
      const key = InfoHash.of('signed by dhtnode');
      const heard: CheckedValue[] = [];
      const listening = station.listen(key, undefined, (value) => heard.push(value));
      await console.command(`s ${key.hex} from-dhtnode`, /Put signed: success/);
      await waitFor('the push', () => heard.length > 0);
      const got = await read(key);
      for (const value of [...heard, ...got]) {
        expect(value).toMatchObject({ kind: 'signed', seq: 0, userType: 'text/plain' });
        expect(fromUtf8(value.data)).toBe('from-dhtnode');
        expect(value.kind === 'signed' && value.author.shortId.hex).toBe(consoleId);
      }
      expect([heard.length, got.length]).toEqual([1, 1]);
      listening.cancel();
    });

    test('and edited by the reference: we hear both versions and get the newer one', async () => {
      const key = InfoHash.of('edited by bob');
      const heard: CheckedValue[] = [];
      const listening = station.listen(key, undefined, (value) => heard.push(value));
      const id = await reference.putSigned(key.hex, 'status', 'here');
      await waitFor('the first', () => heard.length === 1);
      // A permanent one would be announced again after ten minutes only: 2.4.12 sends an edit to no node that has the value.
      expect(await reference.putSigned(key.hex, 'status', 'here')).toBe(id);
      await waitFor('the edit', () => heard.length === 2);
      expect(heard.map((value) => [value.valueId, value.kind === 'signed' && value.seq])).toEqual([
        [BigInt(id), 0],
        [BigInt(id), 1],
      ]);
      expect((await read(key)).at(-1)).toMatchObject({ seq: 1 });
      listening.cancel();
    });

    test('and edited by us: the storing nodes of the reference take each version', async () => {
      const key = InfoHash.of('edited by us');
      await reference.listen(key.hex);
      const words = ['open', 'closed', 'open again'];
      for (const word of words) {
        const options = { valueId: 9n, permanent: true };
        await station.putSigned(key, text(word), options).result;
        const stored = await raw(outsider, key);
        expect(stored).toMatchObject([{ id: 9n, data: utf8(word) }]);
        await console.command(`g ${key.hex}`, new RegExp(`"${word}"`));
      }
      // Its listener goes by the value id alone and is told the first version only (opendht.md 9.4).
      await waitFor('the push', () => reference.heard.some(({ data }) => data === 'open'));
    });
  });

  describe('encrypted', () => {
    test('by the reference to us, whose certificate it found by our id', async () => {
      const key = InfoHash.of('for the door');
      const heard: CheckedValue[] = [];
      const listening = station.listen(key, undefined, (value) => heard.push(value));
      expect(await reference.putEncrypted(key.hex, frontId, 'from-bob')).toBe(true);
      await console.command(`e ${key.hex} ${frontId} from-dhtnode`, /Put encrypted: success/);
      await waitFor('both', () => heard.length === 2);
      const authors = heard.map((value) =>
        value.kind === 'encrypted' ? `${value.author.shortId.hex} ${fromUtf8(value.data)}` : '',
      );
      expect(authors.sort()).toEqual(
        [`${bob.key_id} from-bob`, `${consoleId} from-dhtnode`].sort(),
      );
      listening.cancel();
    });

    test('by us to whoever has an id: self-signed, or made by dhtnode -i under an elliptic authority', async () => {
      // It has seen nobody sign anything: both keys come out of certificates.
      const stranger = new SecureDht({
        dht: outsider,
        identity: fixtureIdentity('stranger'),
        random: systemRandom,
        now: () => systemClock.now(),
        unixMs: () => systemClock.unixMs(),
      });
      const key = InfoHash.of('for both');
      for (const [id, words] of [
        [bob.key_id, 'secret-for-bob'],
        [consoleId, 'secret-for-dhtnode'],
      ]) {
        const put = stranger.putEncrypted(key, text(words), parseKeyId(id));
        expect((await put.result).acknowledged).toBeGreaterThan(0);
      }
      expect(stranger.stats().keys).toMatchObject({ lookups: 2, found: 2 });
      const owner = fixtureIdentity('stranger').device.shortId.hex;
      expect(await reference.get(key.hex)).toMatchObject([
        { data: 'secret-for-bob', owner, to: bob.key_id },
      ]);
      await console.command(`g ${key.hex}`, /secret-for-dhtnode[\s\S]*Get: completed/);
      expect(console.output).not.toContain('secret-for-bob');
      stranger.close();
    });

    test('to a long id is refused with the reason where all nodes are of 2.4.12', async () => {
      const nobody = station.putEncrypted(InfoHash.of('x'), text('x'), parseKeyId('ab'.repeat(32)));
      await expect(nobody.result).rejects.toMatchObject({ code: 'no-certificate' });
    });
  });

  test('a renewed certificate takes the place of the one before on nodes of the reference', async () => {
    const key = fixtureIdentity('phone').device.shortId;
    const device = fixtureKey('phone', 'device.key');
    const account = fixtureKey('phone', 'account.key');
    const chains: string[] = [];
    for (const seed of ['first', 'renewed'])
      chains.push(
        await issueChain(
          { ca: fixtureKey('stranger', 'account.key'), account, device },
          FIXTURE_UNIX_MS,
          seededRandom(seed),
        ),
      );
    for (const chainPem of chains) {
      const value = certificateValue({ ...fixtureIdentity('phone').device, chainPem });
      expect((await outsider.put(key, value)).acknowledged).toBeGreaterThan(0);
      expect(await raw(node, key)).toEqual([value]);
    }
    expect(new Set(chains).size).toBe(2);
  });

  test('what was tampered with is stored by the reference, and never reaches the application', async () => {
    const key = InfoHash.of('tampered');
    const [alice, mallory] = [vectorKey('alice'), vectorKey('carol')];
    const to = front.device.shortId;
    // Of a type that is not known nobody checks the signature before us (opendht.md 11).
    const content = { ...text('what alice said'), type: 99 };
    const good = await signValue(content, alice, { id: 1n, seq: 0 });
    const { signed } = good;
    if (signed === undefined) throw new Error('not signed');
    const letter = await signValue(content, alice, { id: 1n, seq: 0, to });
    const envelope = await sealValue(content, alice, front.device.publicKeyDer, {
      id: 2n,
      random: systemRandom,
    });
    const enclosed = (inside: PlainValue, id: bigint): Value => ({
      kind: 'encrypted',
      id,
      cypher: encryptBlob(packSealed(inside), front.device.publicKeyDer, systemRandom),
    });
    const flipped = (bytes: Uint8Array, at: number) =>
      bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
    const misaddressed = await signValue(content, alice, {
      id: 1n,
      seq: 0,
      to: InfoHash.fromHex(bob.key_id),
    });
    const { signed: _, ...unsigned } = { ...good, data: new Uint8Array(700) };
    const values: Value[] = [
      good,
      envelope,
      { ...good, id: 10n, data: flipped(good.data, 0) },
      { ...good, id: 11n, signed: { ...signed, signature: flipped(signed.signature, 9) } },
      { ...good, id: 12n, signed: { ...signed, owner: mallory.publicKeyDer } },
      { ...good, id: 13n, signed: { ...signed, seq: 1 } },
      { ...envelope, id: 20n, cypher: flipped(envelope.cypher, 100) },
      { ...envelope, id: 21n, cypher: flipped(envelope.cypher, 700) },
      enclosed(misaddressed, 22n),
      enclosed(good, 23n),
      enclosed(unsigned, 24n),
      enclosed({ ...letter, data: flipped(letter.data, 0) }, 25n),
    ];
    for (const value of values)
      expect((await outsider.put(key, value)).acknowledged).toBeGreaterThan(0);
    expect((await raw(node, key)).length).toBe(values.length);

    const before = station.stats().values.dropped;
    const got = await read(key);
    const { dropped } = station.stats().values;
    const more = Object.entries(dropped).map(([reason, count]) => [
      reason,
      count - before[reason as keyof typeof before],
    ]);
    expect(Object.fromEntries(more.filter(([, count]) => count !== 0))).toEqual({
      'bad-signature': 5,
      undecryptable: 2,
      misaddressed: 2,
      unsigned: 1,
    });

    const heard: CheckedValue[] = [];
    const listening = station.listen(key, undefined, (value) => heard.push(value));
    // The listen finds the same, and knows the junk already.
    await waitFor('all to be judged', () => {
      const { values: now, opener } = station.stats();
      const more = now.dropped['bad-signature'] - dropped['bad-signature'];
      return more === 5 && opener.repeated === 6 && heard.length === 2;
    });
    listening.cancel();
    for (const values of [got, heard])
      expect(values.map(({ kind, valueId }) => `${kind} ${valueId}`).sort()).toEqual([
        'encrypted 2',
        'signed 1',
      ]);
  });
});
