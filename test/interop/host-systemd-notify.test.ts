import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, expect, test } from 'vitest';
import { systemdNotifier } from '../../agent/systemd.ts';

/** A Unix datagram socket as systemd has one, made by Python: prints each datagram as one line of JSON. */
const RECEIVER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = sys.argv[1]
s.bind('\\0' + name[1:] if name.startswith('@') else name)
print('"bound"', flush=True)
while True: print(json.dumps(s.recv(4096).decode()), flush=True)
`;

const children: ChildProcess[] = [];
const folder = mkdtempSync(join(tmpdir(), 'doorward-notify-'));

afterEach(() => {
  for (const child of children.splice(0)) child.kill();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function receiver(name: string): Promise<() => Promise<string>> {
  const child = spawn('python3', ['-c', RECEIVER, name], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () =>
    JSON.parse((await lines.next()).value ?? '"the receiver ended"') as string;
  expect(await next()).toBe('bound');
  return next;
}

test.each([
  ['a path', join(folder, 'notify')],
  ['an abstract name', `@doorward-test-${process.pid}`],
])('a datagram socket on %s hears READY=1, WATCHDOG=1 and STOPPING=1', async (_kind, name) => {
  const failures: string[] = [];
  const next = await receiver(name);
  const notifier = systemdNotifier(
    { NOTIFY_SOCKET: name, WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(process.pid) },
    process.pid,
    (sentence) => failures.push(sentence),
  );
  const descriptors = readdirSync('/proc/self/fd').length;
  notifier.ready('0123abcd on UDP 4222, München');
  notifier.feed(false);
  notifier.feed(true);
  notifier.stopping();
  expect([await next(), await next(), await next()]).toEqual([
    'READY=1\nSTATUS=0123abcd on UDP 4222, München',
    'WATCHDOG=1',
    'STOPPING=1',
  ]);
  expect(readdirSync('/proc/self/fd').length).toBe(descriptors);
  expect(failures).toEqual([]);
});

test('a socket that is gone is told once and stops nothing', () => {
  const failures: string[] = [];
  const notifier = systemdNotifier({ NOTIFY_SOCKET: '/nowhere/notify' }, process.pid, (sentence) =>
    failures.push(sentence),
  );
  notifier.ready('up');
  notifier.status('still up');
  expect(failures).toEqual(['systemd cannot be told how the station is: ENOENT']);
});
