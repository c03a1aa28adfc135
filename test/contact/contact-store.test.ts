import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ContactStore } from '../../agent/contact/contact-store.ts';
import { Contacts } from '../../agent/contact/contacts.ts';
import { MAX_CONTACTS_FILE_BYTES } from '../../agent/contact/limits.ts';

const OWN = 'f'.repeat(40);
const ALICE = 'a'.repeat(40);
const BOB = 'b'.repeat(40);
const clock = { now: () => 0, unixMs: () => 1_700_000_000_000 };

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'doorward-contacts-'));
  file = join(folder, 'contacts.json');
});
afterEach(() => rm(folder, { recursive: true }));

async function load(configured: readonly [string, string][] = []) {
  const contacts = new Contacts(OWN);
  for (const [name, id] of configured) contacts.add({ name, id }, 'config');
  const store = new ContactStore(folder, clock);
  const report = await store.load(contacts);
  return { contacts, store, report };
}

test('what was added is there after a restart, what is configured is not written', async () => {
  const first = await load([['bob', BOB]]);
  first.contacts.add({ name: 'alice', id: ALICE, can: ['auto_answer'] }, 'added');
  await first.store.save(first.contacts);

  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readFile(file, 'utf8')).not.toContain(BOB);
  const second = await load();
  expect(second.report).toEqual([]);
  expect(second.contacts.list()).toEqual([
    { name: 'alice', accountId: ALICE, rights: new Set(['auto_answer']), source: 'added' },
  ]);
});

test('no file is an empty table', async () => {
  const { contacts, report } = await load();
  expect([contacts.list(), report]).toEqual([[], []]);
});

test('the newest of several saves at once is the one that stays', async () => {
  const { contacts, store } = await load();
  const saves: Promise<void>[] = [];
  for (let i = 0; i < 5; i++) {
    contacts.add({ name: `c${i}`, id: i.toString(16).padStart(40, '0') }, 'added');
    saves.push(store.save(contacts));
  }
  await Promise.all(saves);
  expect((await load()).contacts.list()).toHaveLength(5);
});

test.each([
  ['cut short', '{"version": 1, "contac'],
  ['no object', '[]'],
  ['another version', '{"version": 2, "contacts": []}'],
  ['an entry of the wrong shape', '{"version": 1, "contacts": [{"name": 7}]}'],
  ['not UTF-8', Buffer.from([0xff, 0xfe, 0x00])],
  ['too large', ' '.repeat(MAX_CONTACTS_FILE_BYTES + 1)],
])('a damaged file is set aside and told: %s', async (_, content) => {
  await writeFile(file, content);
  const { contacts, store, report } = await load();
  expect(contacts.list()).toEqual([]);
  expect(report).toHaveLength(1);
  expect(report[0]).toContain('contacts.json.damaged-1700000000000');
  const kept = await readFile(`${file}.damaged-1700000000000`);
  expect(kept.equals(Buffer.from(content))).toBe(true);

  contacts.add({ name: 'alice', id: ALICE }, 'added');
  await store.save(contacts);
  expect((await load()).contacts.list()).toHaveLength(1);
});

test('a file that cannot be read is told and never overwritten', async () => {
  await mkdir(file);
  const { contacts, store, report } = await load();
  expect(report).toHaveLength(1);
  await expect(store.save(contacts)).rejects.toMatchObject({ code: 'store-write' });
});

test('an entry that the configuration shadows is left out alone, and not lost', async () => {
  const before = await load();
  before.contacts.add({ name: 'alice', id: ALICE }, 'added');
  before.contacts.add({ name: 'bob', id: BOB }, 'added');
  await before.store.save(before.contacts);

  const during = await load([['alice', 'c'.repeat(40)]]);
  expect(during.report).toHaveLength(1);
  expect(during.report[0]).toContain('"alice" left out');
  expect(during.contacts.byName('bob')?.accountId).toBe(BOB);
  await during.store.save(during.contacts);

  const after = await load();
  expect(after.contacts.byName('alice')?.accountId).toBe(ALICE);
  expect(await readdir(folder)).toEqual(['contacts.json']);
});
