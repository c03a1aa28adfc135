import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

/** The same sources in a folder from which no koffi can be found: what a machine without its binary sees. */

const repository = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'doorward-bare-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('UDP falls back to node:dgram, and the failure to tell systemd is said once', () => {
  for (const part of ['agent/base', 'agent/dht', 'agent/systemd.ts']) {
    cpSync(join(repository, part), join(folder, part), { recursive: true });
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(
    join(folder, 'probe.ts'),
    `
    import { openLibrary } from './agent/base/native.ts';
    import { openDatagramSocket } from './agent/dht/datagram-socket.ts';
    import { systemdNotifier } from './agent/systemd.ts';
    const said: string[] = [];
    try { openLibrary('libc'); } catch (error) { said.push((error as { code: string }).code); }
    const ip = Uint8Array.of(127, 0, 0, 1);
    const heard = new Promise<number>((resolve) => void (async () => {
      const socket = await openDatagramSocket({ ip, port: 0, onDatagram: (packet) => {
        resolve(packet.length);
        void socket.close();
      }, onBatchEnd: () => {} });
      said.push(socket.backend);
      socket.send(new Uint8Array(5), { ip, port: socket.port });
      socket.flush();
    })());
    said.push(String(await heard));
    const notifier = systemdNotifier({ NOTIFY_SOCKET: '/run/none' }, 1, (sentence) => said.push(sentence));
    notifier.ready('up');
    notifier.stopping();
    console.log(JSON.stringify(said));
    `,
  );
  const tsx = createRequire(import.meta.url).resolve('tsx');
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', tsx, join(folder, 'probe.ts')],
    { encoding: 'utf8', cwd: folder },
  );
  expect({ stderr, said: stdout === '' ? [] : JSON.parse(stdout) }).toEqual({
    stderr: '',
    said: [
      'native-unavailable',
      'dgram',
      '5',
      "systemd cannot be told how the station is: koffi cannot be loaded: Cannot find module 'koffi'",
    ],
  });
});
