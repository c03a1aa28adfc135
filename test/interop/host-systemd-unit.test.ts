import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

/** The files of systemd/, read by systemd's own tools. No service manager needs to run. */

const systemd = join(import.meta.dirname, '../../systemd');
const unit = join(systemd, 'doorward.service');
const text = readFileSync(unit, 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'doorward-unit-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** All values of a key, in order. */
const values = (key: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${key}=`))
    .map((line) => line.slice(key.length + 1));

describe('doorward.service', () => {
  test('systemd-analyze verify has nothing to say', () => {
    // The runtime is not installed here: the one that runs this test takes its place.
    const copy = join(folder, 'doorward.service');
    writeFileSync(copy, text.replace('/usr/lib/doorward/bin/node', process.execPath));
    const { status, stderr, stdout } = spawnSync('systemd-analyze', ['verify', copy], {
      encoding: 'utf8',
    });
    // An unknown key is only a warning to it: the text counts, not the status alone.
    expect({ status, output: stdout + stderr }).toEqual({ status: 0, output: '' });
  });

  test('is exposed by at most 2.0 of 10', () => {
    const report = execFileSync('systemd-analyze', ['security', '--offline=true', unit], {
      encoding: 'utf8',
    });
    const level = /Overall exposure level for doorward\.service: (\d+\.\d+)/.exec(report)?.[1];
    console.log(`exposure of doorward.service: ${level}`);
    expect(Number(level)).toBeLessThanOrEqual(2);
  });

  test('starts the bundle with its config and waits for READY=1', () => {
    expect(values('ExecStart')).toEqual([
      '/usr/lib/doorward/bin/node /usr/lib/doorward/main.js run -c /etc/doorward/doorward.yaml',
    ]);
    expect(values('Type')).toEqual(['notify']);
    expect(values('WatchdogSec')).toEqual(['30']);
    expect(values('RestartPreventExitStatus')).toEqual(['78']);
  });

  test('leaves V8 its compiler, sound its devices and Node its interface list', () => {
    expect(values('MemoryDenyWriteExecute')).toEqual([]);
    expect(values('PrivateDevices')).toEqual([]);
    expect(values('DeviceAllow')).toEqual(['char-alsa rw', 'char-gpiochip rw']);
    expect(values('RestrictAddressFamilies').join(' ').split(' ')).toContain('AF_NETLINK');
  });
});

describe('the user and the folders', () => {
  const root = join(folder, 'root');
  mkdirSync(join(root, 'etc/doorward'), { recursive: true });
  for (const file of ['passwd', 'group']) cpSync(`/etc/${file}`, join(root, 'etc', file));
  writeFileSync(join(root, 'etc/doorward/doorward.yaml'), 'version: 1\n', { mode: 0o644 });
  const mode = (path: string) => (statSync(join(root, path)).mode & 0o7777).toString(8);

  test('sysusers makes every user and group that the unit names', () => {
    execFileSync('systemd-sysusers', [`--root=${root}`, join(systemd, 'doorward.sysusers.conf')]);
    const names = (file: string) =>
      readFileSync(join(root, 'etc', file), 'utf8')
        .split('\n')
        .map((line) => line.split(':')[0]);
    expect(names('passwd')).toEqual(expect.arrayContaining(values('User')));
    expect(names('group')).toEqual(
      expect.arrayContaining([
        ...values('Group'),
        ...(values('SupplementaryGroups')[0]?.split(' ') ?? []),
      ]),
    );
  });

  test('tmpfiles closes the config to others and the credentials to all but root', () => {
    execFileSync('systemd-tmpfiles', [
      `--root=${root}`,
      '--create',
      join(systemd, 'doorward.tmpfiles.conf'),
    ]);
    expect({
      folder: mode('etc/doorward'),
      config: mode('etc/doorward/doorward.yaml'),
      credentials: mode('etc/doorward/credentials'),
    }).toEqual({ folder: '750', config: '640', credentials: '700' });
  });
});
