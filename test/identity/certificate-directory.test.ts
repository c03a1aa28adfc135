import { describe, expect, test } from 'vitest';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { CertificateDirectory } from '../../agent/identity/certificate-directory.ts';
import { certificateValue } from '../../agent/identity/certificate-value.ts';
import { MAX_CERTIFICATES_PER_LOOKUP, MAX_KNOWN_LOOKUPS } from '../../agent/identity/limits.ts';
import { FakeNetwork } from './fake-dht.ts';
import { FIXTURE_UNIX_MS, fixtureIdentity } from './fixtures.ts';

const NAMES = ['front', 'phone', 'stranger'] as const;

function directory(network: FakeNetwork, keep?: { known: number; strangers: number }) {
  return new CertificateDirectory({
    dht: network.client(),
    now: () => 0,
    unixMs: () => FIXTURE_UNIX_MS,
    isKnownAccount: () => false,
    ...(keep !== undefined && { keep }),
  });
}

describe('CertificateDirectory', () => {
  test('keeps known and strange certificates within bounds of their own', async () => {
    const network = new FakeNetwork();
    const certificates = directory(network, { known: 1, strangers: 2 });
    const [front, ...others] = NAMES.map((name) => fixtureIdentity(name).device);
    for (const device of [front, ...others])
      if (device !== undefined) network.add(device.shortId, certificateValue(device));
    await certificates.find({ shortId: fixtureIdentity('front').device.shortId }, front?.accountId);
    for (const { shortId } of others) await certificates.find({ shortId });
    expect(certificates.stats()).toMatchObject({ known: 1, strangers: 2, evicted: 0 });
  });

  test('a stranger whose account we ask for becomes known, without another look-up', async () => {
    const network = new FakeNetwork();
    const certificates = directory(network);
    const { shortId, accountId } = fixtureIdentity('phone').device;
    network.add(shortId, certificateValue(fixtureIdentity('phone').device));
    await certificates.find({ shortId });
    expect(certificates.stats()).toMatchObject({ known: 0, strangers: 1 });
    await certificates.find({ shortId }, accountId);
    expect(certificates.stats()).toMatchObject({ known: 1, strangers: 0, lookups: 1 });
  });

  test('the certificate that was set longest ago goes', async () => {
    const network = new FakeNetwork();
    const certificates = directory(network, { known: 2, strangers: 1 });
    for (const name of NAMES) {
      const { device } = fixtureIdentity(name);
      network.add(device.shortId, certificateValue(device));
      await certificates.find({ shortId: device.shortId }, device.accountId);
    }
    const kept = NAMES.map((name) => certificates.get(fixtureIdentity(name).device) !== undefined);
    expect(kept).toEqual([false, true, true]);
    expect(certificates.stats()).toMatchObject({ known: 2, evicted: 1 });
  });

  test('look-ups for accounts that we ask for are bounded too, and counted', () => {
    const network = new FakeNetwork();
    const certificates = directory(network);
    const { accountId } = fixtureIdentity('front');
    for (let i = 0; i < MAX_KNOWN_LOOKUPS + 2; i++) {
      const shortId = InfoHash.of(`device ${i}`);
      network.hold(shortId);
      void certificates.find({ shortId }, accountId);
    }
    expect(certificates.stats()).toMatchObject({ running: MAX_KNOWN_LOOKUPS, refusedByLimit: 2 });
    certificates.close();
    expect(certificates.stats().running).toBe(0);
  });

  test('examines so many certificates in one look-up', async () => {
    const network = new FakeNetwork();
    const certificates = directory(network);
    const { device } = fixtureIdentity('phone');
    const { device: other } = fixtureIdentity('stranger');
    for (let i = 0; i < MAX_CERTIFICATES_PER_LOOKUP; i++)
      network.add(device.shortId, certificateValue(other));
    network.add(device.shortId, certificateValue(device));
    expect(await certificates.find({ shortId: device.shortId })).toBeUndefined();
    expect(certificates.stats()).toMatchObject({
      badCertificates: MAX_CERTIFICATES_PER_LOOKUP,
      refusedByLimit: 1,
    });
  });

  test('two who ask for the same wait for one look-up', async () => {
    const network = new FakeNetwork();
    const certificates = directory(network);
    const { device } = fixtureIdentity('phone');
    network.add(device.shortId, certificateValue(device));
    const ids = { shortId: device.shortId };
    const found = await Promise.all([certificates.find(ids), certificates.find(ids)]);
    expect(found).toEqual([device, device]);
    expect(network.gets).toBe(1);
  });
});
