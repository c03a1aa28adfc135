import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { KeyProgress } from '../../agent/identity/keys.ts';
import { type KeystoreOptions, openIdentity } from '../../agent/identity/keystore.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import {
  type FixtureName,
  fixtureFile,
  fixtureKey,
  seededRandom,
  stoppedClock,
} from './fixtures.ts';

const NAMES = ['account.key', 'announcement.json', 'chain.pem', 'device.key'];

describe('openIdentity', () => {
  let state: string;
  let notices: string[];

  const open = (options: Partial<KeystoreOptions> = {}) =>
    openIdentity({
      state,
      clock: stoppedClock,
      random: seededRandom('keystore'),
      onNotice: (sentence) => notices.push(sentence),
      generateKeys: async (count, _clock, onProgress) => {
        onProgress({ made: count, of: count, elapsedMs: 0 });
        return [
          fixtureKey('stranger', 'account.key'),
          fixtureKey('front', 'account.key'),
          fixtureKey('front', 'device.key'),
        ];
      },
      ...options,
    });

  const path = (name: string) => join(state, 'identity', name);

  const install = async (name: FixtureName, files = NAMES) => {
    await mkdir(path(''), { recursive: true });
    for (const file of files) await writeFile(path(file), fixtureFile(name, file));
  };

  beforeEach(async () => {
    state = await mkdtemp(join(tmpdir(), 'doorward-keystore-'));
    notices = [];
  });

  afterEach(() => rm(state, { recursive: true }));

  test('makes an identity where there is none, private, and loads the same one again', async () => {
    const progress: KeyProgress[] = [];
    const made = await open({ onProgress: (step) => progress.push(step) });
    expect(progress.at(-1)).toMatchObject({ made: 3, of: 3 });
    expect((await readdir(path(''))).sort()).toEqual(NAMES);
    expect((await stat(path(''))).mode & 0o777).toBe(0o700);
    for (const name of NAMES) expect((await stat(path(name))).mode & 0o777).toBe(0o600);
    expect(new SignatureVerifier().verify(made.announcement)).toBe(true);

    const again = await open({
      generateKeys: () => Promise.reject(new Error('no key is needed')),
    });
    expect(again.device).toEqual(made.device);
    expect(again.announcement).toEqual(made.announcement);
    expect(notices).toEqual([]);
  });

  test('the CA key is not kept', async () => {
    await open();
    const ca = fixtureKey('stranger', 'account.key').export({ type: 'pkcs8', format: 'pem' });
    for (const name of NAMES) expect(await readFile(path(name), 'utf8')).not.toContain(ca);
  });

  test('runs without the account key', async () => {
    await install('front', ['chain.pem', 'device.key', 'announcement.json']);
    expect((await open()).accountId).toMatch(/^[0-9a-f]{40}$/);
  });

  test('refuses a device key that does not fit the certificate', async () => {
    await install('front');
    await writeFile(path('device.key'), fixtureFile('phone', 'device.key'));
    await expect(open()).rejects.toMatchObject({ code: 'identity-mismatch' });
    expect(new Uint8Array(await readFile(path('device.key')))).toEqual(
      fixtureFile('phone', 'device.key'),
    );
  });

  test('refuses an account key that does not fit, when it is needed', async () => {
    await install('front', ['chain.pem', 'device.key']);
    await writeFile(path('account.key'), fixtureFile('phone', 'account.key'));
    await expect(open()).rejects.toMatchObject({ code: 'identity-mismatch' });
  });

  for (const [name, content] of [
    ['device.key', ''],
    ['device.key', '-----BEGIN PRIVATE KEY-----\nMIIEvQ'],
    ['chain.pem', 'hello'],
    ['chain.pem', '\xff\xfe'],
  ] as const) {
    test(`sets a damaged ${name} aside and makes no new identity: ${JSON.stringify(content)}`, async () => {
      await install('front');
      await writeFile(path(name), content, 'latin1');
      await expect(open()).rejects.toMatchObject({ code: 'identity-damaged' });
      const aside = (await readdir(path(''))).filter((file) => file.startsWith(`${name}.damaged-`));
      expect(aside.length).toBe(1);
      expect(await readFile(path(aside[0] ?? ''), 'latin1')).toBe(content);
      expect(notices.join()).toContain(aside[0]);
      await expect(open()).rejects.toMatchObject({ code: 'identity-damaged' });
    });
  }

  test('makes a missing or damaged announcement again from the account key', async () => {
    await install('front');
    const before = await open();
    for (const damage of ['half', fixtureFile('phone', 'announcement.json')]) {
      await writeFile(path('announcement.json'), damage);
      const after = await open();
      expect(new SignatureVerifier().verify(after.announcement)).toBe(true);
      expect(after.announcement.data).toEqual(before.announcement.data);
    }
    expect(notices.filter((sentence) => sentence.includes('made again')).length).toBe(2);
  });

  test('says so when the announcement is gone and the account key is elsewhere', async () => {
    await install('front', ['chain.pem', 'device.key']);
    await expect(open()).rejects.toMatchObject({
      code: 'identity-damaged',
      message: expect.stringContaining('account.key'),
    });
  });

  test('keeps foreign things, and what a power cut left of a first start, under other names', async () => {
    await mkdir(path(''));
    await writeFile(path('notes.txt'), 'mine');
    await mkdir(join(state, 'identity.new'));
    await writeFile(join(state, 'identity.new', 'chain.pem'), '-----BEGIN CERT');
    await open();
    expect((await readdir(path(''))).sort()).toEqual(NAMES);
    const left = await readdir(state);
    expect(left.filter((name) => name.startsWith('identity.damaged-')).length).toBe(1);
    expect(left.filter((name) => name.startsWith('identity.new.damaged-')).length).toBe(1);
    expect(notices.length).toBe(2);
  });

  test('a file in the place of the folder goes aside', async () => {
    await writeFile(join(state, 'identity'), 'mine');
    await open();
    expect((await readdir(path(''))).sort()).toEqual(NAMES);
  });
});
