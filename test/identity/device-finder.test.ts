import { describe, expect, test } from 'vitest';
import { utf8 } from '../../agent/base/bytes.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { PlainValue } from '../../agent/dht/value.ts';
import { encodeAnnouncement } from '../../agent/identity/announcement.ts';
import { DeviceFinder } from '../../agent/identity/device-finder.ts';
import { MAX_ANNOUNCEMENTS_PER_SEARCH, MAX_KNOWN_ACCOUNTS } from '../../agent/identity/limits.ts';
import { FakeNetwork } from './fake-dht.ts';
import { fixtureIdentity } from './fixtures.ts';

const { device } = fixtureIdentity('phone');

/** An announcement of `device` by an account whose key is this text: only the signature is missing. */
function announcementBy(owner: string, id: bigint): PlainValue {
  const signed = { owner: utf8(owner), seq: 0, signature: new Uint8Array() };
  const data = encodeAnnouncement({ deviceShortId: device.shortId });
  return { kind: 'plain', id, type: 0, data, signed };
}

function finder(network: FakeNetwork, verdict: boolean): DeviceFinder {
  return new DeviceFinder({
    dht: network.client(),
    directory: { find: async (_ids, accountId = '') => ({ ...device, accountId }) },
    verifier: { verify: () => verdict },
    now: () => 0,
  });
}

const find = (devices: DeviceFinder, accountId: string) =>
  new Promise<number>((resolve) => {
    let count = 0;
    devices.find(
      accountId,
      () => count++,
      () => resolve(count),
    );
  });

describe('DeviceFinder', () => {
  test('remembers the devices of so many accounts', async () => {
    const network = new FakeNetwork();
    const devices = finder(network, true);
    for (let i = 0; i < MAX_KNOWN_ACCOUNTS + 2; i++) {
      const account = InfoHash.of(`account ${i}`);
      network.add(account, announcementBy(`account ${i}`, 1n));
      expect(await find(devices, account.hex)).toBe(1);
    }
    expect(devices.stats()).toMatchObject({ accounts: MAX_KNOWN_ACCOUNTS, evicted: 2 });
  });

  test('checks so many signatures in one search, and does not count what others have put there', async () => {
    const network = new FakeNetwork();
    const devices = finder(network, false);
    const account = InfoHash.of('account');
    for (let i = 0; i < MAX_ANNOUNCEMENTS_PER_SEARCH; i++) {
      network.add(account, announcementBy('somebody else', BigInt(i + 1)));
      network.add(account, announcementBy('account', BigInt(i + 1)));
    }
    await find(devices, account.hex);
    expect(devices.stats()).toMatchObject({
      badAnnouncements: MAX_ANNOUNCEMENTS_PER_SEARCH,
      refusedByLimit: 0,
    });
    network.add(account, announcementBy('account', 9999n));
    await find(devices, account.hex);
    expect(devices.stats().refusedByLimit).toBe(1);
  });
});
