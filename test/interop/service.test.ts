import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Program, sleep, Workshop, waitFor } from './harness.ts';
import { buildBundle, execute, freshEnvironment, ROOT } from './outside.ts';

/** The station as the service of systemd, which is played by a socket. */

const PORT = 48_020;
const WATCHDOG_MS = 1000;

/** A Unix datagram socket as systemd has one: prints each datagram as one line of JSON. */
const RECEIVER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('"bound"', flush=True)
while True: print(json.dumps(s.recv(4096).decode()), flush=True)
`;

let workshop: Workshop;
let main: string;
let env: NodeJS.ProcessEnv;
let station: Program;
let systemd: Program;

/** What systemd was told so far. */
const told = () =>
  systemd.output
    .split('\n')
    .slice(1, -1)
    .map((line) => JSON.parse(line) as string);
const fed = () => told().filter((text) => text === 'WATCHDOG=1').length;

function doorward(...argv: string[]) {
  return execute([process.execPath, main, ...argv], { cwd: workshop.folder, env });
}

beforeAll(async () => {
  workshop = await Workshop.open('service');
  main = await buildBundle(workshop.folder);
  // Folders as the unit gives them: StateDirectory= and RuntimeDirectory=.
  env = {
    ...freshEnvironment(workshop.folder),
    STATE_DIRECTORY: join(workshop.folder, 'state'),
    RUNTIME_DIRECTORY: join(workshop.folder, 'run'),
  };
  expect(await doorward('init')).toMatchObject({ code: 0 });
  expect(await doorward('id', '--state', 'caller')).toMatchObject({ code: 0 });
}, 60_000);

afterAll(() => workshop.close());

let count = 0;

async function startService(...options: string[]): Promise<void> {
  const socket = join(workshop.folder, `notify-${count++}`);
  systemd = workshop.start('python3', ['-c', RECEIVER, socket]);
  await waitFor('the socket', () => systemd.output.includes('bound'));
  const settings = [`dht.port=${PORT}`, 'mqtt.enabled=false', 'audio.device=tone'];
  station = workshop.start(
    process.execPath,
    [main, 'run', ...options, ...settings.flatMap((setting) => ['--set', setting])],
    {
      ...env,
      NOTIFY_SOCKET: socket,
      WATCHDOG_USEC: `${WATCHDOG_MS * 1000}`,
      JOURNAL_STREAM: '8:12345',
    },
  );
  await waitFor('READY=1', () => told().length > 0);
}

afterEach(async () => {
  await station.kill();
  await systemd.kill();
});

/** Everything that systemd was told, in the order that sd_notify(3) asks for. */
function expectWholeLife(
  status = /^READY=1\nSTATUS=station [0-9a-f]{8}\S*, DHT 127\.0\.0\.1:48020$/,
) {
  const [first, ...rest] = told();
  expect(first).toMatch(status);
  expect(rest.at(-1)).toBe('STOPPING=1');
  expect(new Set(rest.slice(0, -1))).toEqual(new Set(['WATCHDOG=1']));
}

describe('the service', () => {
  test('tells systemd that it is ready, that it lives, and that it stops', async () => {
    await startService();
    const before = fed();
    await sleep(3 * WATCHDOG_MS);
    // Twice per watchdog time, and a busy machine may be late.
    expect(fed() - before).toBeGreaterThanOrEqual(4);
    expect(fed() - before).toBeLessThanOrEqual(7);
    station.child.kill('SIGTERM');
    expect(await station.exited).toBe(0);
    await waitFor('STOPPING=1', () => told().at(-1) === 'STOPPING=1');
    expectWholeLife();
  });

  test('as a node of the DHT alone does the same', async () => {
    await startService('--dht-only');
    const before = fed();
    await sleep(3 * WATCHDOG_MS);
    expect(fed() - before).toBeGreaterThanOrEqual(4);
    station.child.kill('SIGTERM');
    expect(await station.exited).toBe(0);
    await waitFor('STOPPING=1', () => told().at(-1) === 'STOPPING=1');
    expectWholeLife(/^READY=1\nSTATUS=DHT node [0-9a-f]{40}, 127\.0\.0\.1:48020$/);
  });

  test('lives on in a call, stops in one, and writes a log for the journal', async () => {
    await startService();
    const { id } = JSON.parse((await doorward('id', '--state', 'caller', '--json')).stdout);
    expect(await doorward('contact', 'add', 'caller', id, '--can', 'auto_answer')).toMatchObject({
      code: 0,
    });
    const own = JSON.parse((await doorward('id', '--json')).stdout) as { id: string };
    const call = doorward('call', own.id, '--state', 'caller');
    await waitFor('a call', () => station.output.includes('call.answered'));
    const before = fed();
    await sleep(2.5 * WATCHDOG_MS);
    expect(fed() - before).toBeGreaterThanOrEqual(3);
    expect(station.alive).toBe(true);
    station.child.kill('SIGTERM');
    expect(await station.exited).toBe(0);
    expect(await call).toMatchObject({ code: 0, stdout: expect.stringContaining('they hung up') });
    await waitFor('STOPPING=1', () => told().at(-1) === 'STOPPING=1');
    expectWholeLife();

    const log = station.output.split('\n').filter((line) => line.includes('call.'));
    expect(log.length).toBeGreaterThanOrEqual(3);
    // 6 is info, sd-daemon(3); the journal has its own time.
    for (const line of log) expect(line).toMatch(/^<6>doorward: call\.\w+ /);
  });
});

test('the example configuration is a good one', async () => {
  const file = join(ROOT, 'config/doorward.yaml');
  expect(await doorward('check-config', file)).toEqual({
    code: 0,
    stdout: `${file}: good\n`,
    stderr: '',
  });
});
