import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { JsonFile } from '../../agent/base/json-file.ts';
import { isRecord } from '../../agent/base/record.ts';

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'doorward-json-'));
  path = join(folder, 'list.json');
});
afterEach(async () => {
  await chmod(folder, 0o700);
  await rm(folder, { recursive: true });
});

function open(maxBytes = 1000) {
  return new JsonFile<{ n: number }>({
    path,
    maxBytes,
    parse: (json) => {
      if (!isRecord(json) || typeof json['n'] !== 'number') throw new Error('no n');
      return { n: json['n'] };
    },
    unixMs: () => 5,
  });
}

describe('a JSON file', () => {
  test('that was saved is read again, and only ours to read', async () => {
    await open().save({ n: 1 });
    expect(await open().load()).toEqual({ value: { n: 1 } });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  test('that is not there is no news', async () => {
    expect(await open().load()).toEqual({ value: undefined });
  });

  test('keeps the newest of many saves, and no remains', async () => {
    const file = open();
    await Promise.all(Array.from({ length: 20 }, (_, n) => file.save({ n })));
    expect(await open().load()).toEqual({ value: { n: 19 } });
    expect(await readdir(folder)).toEqual(['list.json']);
  });

  test.each([
    ['broken', '{"n": 1', 'JSON'],
    ['of another kind', '{"m": 1}', 'no n'],
    ['too large', `{"n": 1${' '.repeat(1000)}}`, 'larger than 1000 bytes'],
    ['not UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'not valid'],
  ])('that is %s is set aside whole, and the next save starts anew', async (_, data, why) => {
    await writeFile(path, data);
    const file = open();
    const { value, notice } = await file.load();
    expect(value).toBeUndefined();
    expect(notice).toContain(why);
    expect(await readFile(`${path}.damaged-5`)).toEqual(Buffer.from(data));
    await file.save({ n: 2 });
    expect(await open().load()).toEqual({ value: { n: 2 } });
  });

  test('that cannot be read is never overwritten', async () => {
    await mkdir(path);
    const file = open();
    expect((await file.load()).notice).toContain('cannot be read');
    await expect(file.save({ n: 1 })).rejects.toMatchObject({ code: 'store-write' });
    expect((await stat(path)).isDirectory()).toBe(true);
  });

  test('whose save failed can be saved again', async () => {
    const file = open();
    await rm(folder, { recursive: true });
    await expect(file.save({ n: 1 })).rejects.toMatchObject({ code: 'store-write' });
    await mkdir(folder);
    await file.save({ n: 2 });
    expect(await open().load()).toEqual({ value: { n: 2 } });
  });
});
