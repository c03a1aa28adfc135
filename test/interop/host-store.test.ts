import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readPasswordFile } from '../../agent/base/named-file.ts';
import {
  openPrivateFolder,
  readPrivateFile,
  removeLeftovers,
  setAside,
  writePrivateFile,
} from '../../agent/base/store.ts';

/** The driver for private files, on a real file system. */

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'doorward-store-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

describe('openPrivateFolder', () => {
  test('makes a folder that only we can enter, with those above it', async () => {
    const path = join(folder, 'a/b/state');
    await openPrivateFolder(path);
    expect(await mode(path)).toBe('700');
    expect(await readdir(path)).toEqual([]);
  });

  test('closes a folder that is open to others', async () => {
    const path = join(folder, 'open');
    await mkdir(path, { mode: 0o755 });
    await openPrivateFolder(path);
    expect(await mode(path)).toBe('700');
  });

  test('says which folder cannot be used, and what to do', async () => {
    const path = join(folder, 'file');
    await writeFile(path, '');
    await expect(openPrivateFolder(join(path, 'state'))).rejects.toMatchObject({
      code: 'store-unusable',
      message: expect.stringContaining(join(path, 'state')),
      hint: expect.stringContaining('state:'),
    });
  });
});

describe('writePrivateFile', () => {
  test('writes text and bytes that nobody else may read, and replaces them', async () => {
    const path = join(folder, 'key.pem');
    await writePrivateFile(path, 'first');
    await writePrivateFile(path, Uint8Array.of(115, 101, 99));
    expect((await readPrivateFile(path))?.toString()).toBe('sec');
    expect(await mode(path)).toBe('600');
  });

  test('takes pieces, and asks for each when the one before is written', async () => {
    const path = join(folder, 'pieces');
    let elsewhere = 0;
    const timer = setInterval(() => elsewhere++, 0);
    const seen: number[] = [];
    function* pieces() {
      for (let i = 0; i < 50; i++) {
        seen.push(elsewhere);
        yield new Uint8Array(1 << 20).fill(i);
      }
    }
    await writePrivateFile(path, pieces());
    clearInterval(timer);
    expect((await stat(path)).size).toBe(50 << 20);
    expect(seen.at(-1)).toBeGreaterThan(5);
  });

  test('leaves nothing behind when it fails, and what was there as it was', async () => {
    const path = join(folder, 'taken');
    await mkdir(join(path, 'content'), { recursive: true });
    await expect(writePrivateFile(path, 'x')).rejects.toMatchObject({ code: 'store-write' });
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    expect(await readdir(path)).toEqual(['content']);
  });

  test('says so when the folder is not there, or is no folder', async () => {
    await writeFile(join(folder, 'plain'), '');
    for (const path of [join(folder, 'nowhere/x'), join(folder, 'plain/x')]) {
      await expect(writePrivateFile(path, 'x')).rejects.toMatchObject({
        name: 'AgentError',
        code: 'store-write',
        message: expect.stringContaining(path),
      });
    }
  });

  test('a writer that is killed leaves the old content or the new one', async () => {
    const path = join(folder, 'contacts.json');
    const size = 300_000;
    await writePrivateFile(path, 'a'.repeat(size));
    const program = `
      import { writePrivateFile } from ${JSON.stringify(join(import.meta.dirname, '../../agent/base/store.ts'))};
      console.log('writing');
      for (let i = 0; ; i++) await writePrivateFile(${JSON.stringify(path)}, String.fromCharCode(97 + (i % 26)).repeat(${size}));
    `;
    for (const afterMs of [3, 17, 31]) {
      const writer = spawn(
        process.execPath,
        ['--import', 'tsx', '--input-type=module', '--eval', program],
        { stdio: ['ignore', 'pipe', 'inherit'], cwd: join(import.meta.dirname, '../..') },
      );
      await once(writer.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      writer.kill('SIGKILL');
      await once(writer, 'exit');
      expect(await readFile(path, 'utf8')).toMatch(/^([a-z])\1{299999}$/);
    }
  });
});

test('removeLeftovers removes what cut off writes of that file left, and nothing else', async () => {
  const path = join(folder, 'dht.state');
  for (const name of ['', '.0123456789ab.tmp', '.damaged-1700000000000', '.keep.tmp'])
    await writeFile(path + name, 'x');
  await writeFile(join(folder, 'other.0123456789ab.tmp'), 'x');
  await removeLeftovers(path);
  const left = (await readdir(folder)).filter((name) => /^(dht\.state|other)/.test(name)).sort();
  expect(left).toEqual([
    'dht.state',
    'dht.state.damaged-1700000000000',
    'dht.state.keep.tmp',
    'other.0123456789ab.tmp',
  ]);
});

describe('readPrivateFile', () => {
  test('of a file over the limit nothing is read', async () => {
    const path = join(folder, 'large');
    await writeFile(path, 'x'.repeat(101));
    expect(await readPrivateFile(path, 101)).toHaveLength(101);
    await expect(readPrivateFile(path, 100)).rejects.toMatchObject({ code: 'store-too-large' });
  });

  test('a file that is not there is no error; one that cannot be read is', async () => {
    expect(await readPrivateFile(join(folder, 'none'))).toBeUndefined();
    await expect(readPrivateFile(folder)).rejects.toMatchObject({ code: 'store-read' });
  });
});

test('setAside keeps a damaged file under another name', async () => {
  const path = join(folder, 'damaged.json');
  await writeFile(path, '{"half');
  const aside = await setAside(path, 1_700_000_000_000);
  expect(aside).toBe(`${path}.damaged-1700000000000`);
  expect(await readPrivateFile(path)).toBeUndefined();
  expect(await readFile(aside, 'utf8')).toBe('{"half');
});

describe('readPasswordFile', () => {
  test.each([
    ['alone', 'secret', 'secret'],
    ['as an editor leaves it', 'secret\n', 'secret'],
    ['as a Windows editor leaves it', 'secret\r\n', 'secret'],
    ['with a note below', 'secret\nof the broker\n', 'secret'],
    ['with blanks of its own', ' two words \n', ' two words '],
  ])('gives the password %s', async (_how, content, password) => {
    const path = join(folder, 'password');
    await writeFile(path, content);
    expect(readPasswordFile(path, 'mqtt.password_file')).toBe(password);
  });
});
