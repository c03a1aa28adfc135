import { readFileSync } from 'node:fs';
import { mkdir, readdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { readWavFile } from '../../agent/audio/wav-file.ts';
import { compareSpeech } from '../audio/compare.ts';
import { type Program, Workshop, waitFor } from './harness.ts';
import { execute, freshEnvironment, privateNetwork, ROOT } from './outside.ts';

/** `npm start` on a fresh machine, in the order in which a person goes on from there; on the default ports. */

let workshop: Workshop;
let network: readonly string[];
let env: NodeJS.ProcessEnv;
let state: string;
/** The second terminal. */
let cwd: string;
let station: Program | undefined;
let id: string;

beforeAll(async () => {
  workshop = await Workshop.open('first-run');
  network = await privateNetwork(workshop);
  const home = join(workshop.folder, 'home');
  cwd = join(workshop.folder, 'terminal');
  await mkdir(home);
  await mkdir(join(cwd, 'node_modules/.bin'), { recursive: true });
  await symlink(join(ROOT, 'agent/bin.mjs'), join(cwd, 'node_modules/.bin/doorward'));
  env = { ...freshEnvironment(home), npm_execpath: 'npm' };
  state = join(home, '.local/state/doorward');
});

afterAll(() => workshop.close());

afterEach(() => station?.kill());

/** The words of the start script after `exec`, which takes npm's shell out of the way of signals. */
function startScript(): string[] {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const [exec, ...words] = (scripts.start as string).split(' ');
  expect(exec).toBe('exec');
  return words;
}

/** Start it and wait until it said that it is ready, or ended. */
async function start(): Promise<Program> {
  const [command = '', ...args] = [...network, ...startScript()];
  const started = workshop.start(command, args, env);
  station = started;
  await waitFor('ready', () => started.output.includes('--for 10s') || !started.alive, 60_000);
  return started;
}

function inTerminal(command: string) {
  return execute([...network, 'bash', '-c', command], { cwd, env });
}

const commandsOf = (output: string) =>
  output.split('\n').flatMap((line) => /^ {2}(npx doorward .*)$/.exec(line)?.[1] ?? []);

describe('npm start', () => {
  test('makes an identity, opens everything, and says how to call it; a caller hears the greeting', async () => {
    const { output } = await start();
    expect(output.match(/^making the identity: \d of 3 RSA-4096 keys/gm)).toHaveLength(4);
    expect(output).toMatch(/^doorward "front" is ready\.$/m);
    id = /^ {2}id {7}([0-9a-f]{40})$/m.exec(output)?.[1] ?? '';
    expect(id).not.toBe('');
    expect(output).toMatch(/^ {2}dht {6}udp 127\.0\.0\.1:4222$/m);
    expect(output).toMatch(/^ {2}mqtt {5}embedded broker at mqtt:\/\/127\.0\.0\.1:1883 /m);
    expect(output).toMatch(/^ {2}sound {4}\S/m);
    expect(output).toContain(`  control  ${state}/control.sock\n`);
    expect(commandsOf(output)).toHaveLength(2);

    expect((await stat(state)).mode & 0o777).toBe(0o700);
    expect((await stat(join(state, 'control.sock'))).mode & 0o777).toBe(0o600);
    const identity = join(state, 'identity');
    expect((await stat(identity)).mode & 0o777).toBe(0o700);
    const files = await readdir(identity);
    expect(files).toContain('device.key');
    for (const file of files) expect((await stat(join(identity, file))).mode & 0o777).toBe(0o600);

    for (const command of commandsOf(output)) {
      const outcome = await inTerminal(command);
      expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
      if (command.includes(' call ')) {
        expect(outcome.stdout).toMatch(/^answered after \d+ ms$/m);
        expect(outcome.stdout).toMatch(/^ended: we hung up, (?:9|10)\.\d s/m);
      }
    }
    const match = compareSpeech(
      await readWavFile(join(ROOT, 'agent/audio/greeting.wav')),
      await readWavFile(join(cwd, 'heard.wav')),
    );
    process.stdout.write(`greeting heard: correlation ${match.correlation.toFixed(3)}\n`);
    expect(match.correlation).toBeGreaterThan(0.85);
    expect(Math.abs(match.levelDb)).toBeLessThan(3);
  }, 90_000);

  test('runs a broker that tells how the station is, once it is started again as the same', async () => {
    const { output, startedAt } = await start();
    process.stdout.write(`second start: ${Math.round(performance.now() - startedAt)} ms\n`);
    expect(output).not.toContain('making the identity');
    expect(output).toContain(`  id       ${id}\n`);
    const { stdout } = await inTerminal(
      "mosquitto_sub -t 'doorward/front/availability' -t 'doorward/front/call/state' -C 2 -W 10 -v",
    );
    expect(stdout).toMatch(/^doorward\/front\/availability online$/m);
    expect(stdout).toMatch(/^doorward\/front\/call\/state \{.*"state":"idle"/m);
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    'ends cleanly within 2 s of %s, idle and in a call',
    async (signal) => {
      const expectCleanEnd = async (ending: Program) => {
        const at = performance.now();
        ending.child.kill(signal);
        expect(await ending.exited, ending.output).toBe(0);
        expect(performance.now() - at).toBeLessThan(2000);
        expect(await readdir(state)).not.toContain('control.sock');
      };
      await expectCleanEnd(await start());
      const inCall = await start();
      const call = inTerminal(commandsOf(inCall.output)[1] ?? '');
      await waitFor('a call', () => inCall.output.includes('call.answered'));
      await expectCleanEnd(inCall);
      const { code, stdout } = await call;
      expect({ code, stdout }).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('ended: they hung up'),
      });
      const heard = readFileSync(join(cwd, 'heard.wav'));
      expect(heard.readUInt32LE(4)).toBe(heard.length - 8);
    },
  );
});

describe('npm start beside others', () => {
  test('takes another port for its broker where 1883 is taken, and says so in one line', async () => {
    const [command = '', ...args] = [...network, 'mosquitto', '-p', '1883'];
    const other = workshop.start(command, args);
    await waitFor('mosquitto', () => other.output.includes('running'));
    const { output } = await start();
    const lines = output.split('\n').filter((line) => line.includes('1883'));
    expect(lines).toHaveLength(1);
    const port = /port 1883 is taken, the broker listens on 127\.0\.0\.1:(\d+)$/.exec(
      lines[0] ?? '',
    )?.[1];
    expect(output).toMatch(
      new RegExp(`^  mqtt     embedded broker at mqtt://127\\.0\\.0\\.1:${port} `, 'm'),
    );
    const { stdout } = await inTerminal(
      `mosquitto_sub -p ${port} -t doorward/front/availability -C 1 -W 10`,
    );
    expect(stdout).toBe('online\n');
    await other.kill();
  });

  test('ends with 75 and one sentence where UDP 4222 is taken', async () => {
    const script = "process.stdout.write('bound'); setTimeout(() => {}, 60_000)";
    const bind = `require('dgram').createSocket('udp4').bind(4222, '127.0.0.1', () => { ${script} })`;
    const [command = '', ...args] = [...network, process.execPath, '-e', bind];
    const other = workshop.start(command, args);
    await waitFor('somebody on 4222', () => other.output === 'bound');
    const refused = await start();
    expect(await refused.exited).toBe(75);
    expect(refused.output).toBe(
      'doorward: UDP 127.0.0.1:4222 is in use by another program\n' +
        '  stop that program ("ss -lunp" names it) or choose another port\n',
    );
    await other.kill();
  });
});
