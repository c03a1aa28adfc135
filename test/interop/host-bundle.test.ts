import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** cross/build.mjs on a program of a few lines that does what the station does: see each test. */

const repository = join(import.meta.dirname, '../..');
const root = mkdtempSync(join(tmpdir(), 'doorward-bundle-'));
const dist = join(root, 'dist');
afterAll(() => rmSync(root, { recursive: true, force: true }));

const SOURCES = {
  'package.json': JSON.stringify({
    name: 'doorward',
    version: '1.2.3',
    license: 'Apache-2.0',
    engines: { node: '>=20.19' },
    os: ['linux'],
    dependencies: { koffi: '3.3.4', yaml: '2.9.1', yargs: '18.2.0' },
  }),
  'agent/main.ts': `
    import { readFileSync } from 'node:fs';
    import { parse } from 'yaml';
    import { openLibrary } from './base/native.ts';
    import { greeting } from './audio/greeting.ts';
    class StationFault extends Error { override readonly name = 'StationFault'; }
    function ringTheBell(): never { throw new StationFault('nobody home'); }
    const [what] = process.argv.slice(2);
    if (what === 'native') console.log((openLibrary('libc').func('int getpid()') as () => number)() === process.pid);
    else if (what === 'asset') console.log(readFileSync(greeting, 'utf8'));
    else if (what === 'yaml') console.log(parse('a: [1, 2]').a.length);
    else if (what === 'throw') ringTheBell();
    else await (await import('./command-line.ts')).run();
  `,
  'agent/command-line.ts': `
    import yargs from 'yargs';
    import { greeting } from './audio/greeting.ts';
    export async function run(): Promise<void> {
      const { _: words } = await yargs(process.argv.slice(2)).parse();
      console.log(words.join(' '), greeting.endsWith('/greeting.txt'));
    }
  `,
  'agent/audio/greeting.ts': `
    import { fileURLToPath } from 'node:url';
    export const greeting = fileURLToPath(new URL('./greeting.txt', import.meta.url));
  `,
  'agent/audio/greeting.txt': 'good evening',
};

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

const build = (...options: string[]) =>
  spawnSync(process.execPath, [join(repository, 'cross/build.mjs'), ...options], {
    encoding: 'utf8',
  });
const run = (...words: string[]) =>
  spawnSync(process.execPath, [join(dist, 'main.js'), ...words], { encoding: 'utf8' });

beforeAll(() => {
  for (const [path, text] of Object.entries(SOURCES)) write(path, text);
  for (const name of ['native.ts', 'errors.ts']) {
    write(`agent/base/${name}`, readFileSync(join(repository, 'agent/base', name), 'utf8'));
  }
  symlinkSync(join(repository, 'node_modules'), join(root, 'node_modules'));
  const { status, stderr } = build('--root', root);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

describe('the bundle', () => {
  test('runs with packages inside it and koffi beside it', () => {
    expect(run('yaml').stdout).toBe('2\n');
    expect(run('native').stdout).toBe('true\n');
    const scripts = readdirSync(dist).filter((name) => name.endsWith('.js'));
    const text = scripts.map((name) => readFileSync(join(dist, name), 'utf8')).join('\n');
    expect(text).not.toMatch(/koffi-linux/);
  });

  test('finds its assets beside it, from the entry and from a chunk', () => {
    expect(run('asset').stdout).toBe('good evening\n');
    expect(run('call', 'alice').stdout).toBe('call alice true\n');
  });

  test('keeps what only the command line needs out of the daemon', () => {
    const daemonOnly = join(root, 'daemon-only');
    cpSync(dist, daemonOnly, { recursive: true });
    for (const name of readdirSync(daemonOnly)) {
      if (name.startsWith('command-line-')) rmSync(join(daemonOnly, name));
    }
    const station = join(daemonOnly, 'main.js');
    expect(execFileSync(process.execPath, [station, 'yaml'], { encoding: 'utf8' })).toBe('2\n');
    const { stderr } = spawnSync(process.execPath, [station, 'call'], { encoding: 'utf8' });
    expect(stderr).toContain('ERR_MODULE_NOT_FOUND');
    expect(readFileSync(station, 'utf8')).not.toContain('yargs');
  });

  test('names functions and error classes as the source does, and has the lines in its maps', () => {
    expect(run('throw').stderr).toMatch(/StationFault: nobody home\s+at ringTheBell/);
    const mapped = spawnSync(
      process.execPath,
      ['--enable-source-maps', join(dist, 'main.js'), 'throw'],
      { encoding: 'utf8' },
    );
    expect(mapped.stderr).toMatch(/agent\/main\.ts:7/);
  });

  test('asks npm for the external packages alone, in the exact versions', () => {
    expect(JSON.parse(readFileSync(join(dist, 'package.json'), 'utf8'))).toEqual({
      name: 'doorward',
      version: '1.2.3',
      license: 'Apache-2.0',
      private: true,
      type: 'module',
      engines: { node: '>=20.19' },
      os: ['linux'],
      dependencies: { koffi: '3.3.4' },
    });
  });

  test('passes on the licences of what is inside it', () => {
    const text = readFileSync(join(dist, 'THIRD-PARTY.txt'), 'utf8');
    expect(text).toMatch(/^yaml \d+\.\d+\.\d+: ISC$/m);
    expect(text).toMatch(/^yargs \d+\.\d+\.\d+: MIT$/m);
    expect(text).toContain('Copyright Eemeli Aro');
  });
});

describe('the build refuses', () => {
  test('a folder without a program', () => {
    const empty = join(root, 'empty');
    mkdirSync(join(empty, 'agent'), { recursive: true });
    const { status, stderr } = build('--root', empty);
    expect(status).toBe(1);
    expect(stderr).toContain('there is no main.ts in');
  });

  test('two assets of one name', () => {
    write('agent/gpio/greeting.txt', 'knock');
    const { status, stderr } = build('--root', root, '--out', join(root, 'other'));
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'build: two assets are called greeting.txt: in the bundle they share a folder\n',
    });
  });
});
