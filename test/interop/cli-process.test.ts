import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseWav, wavHeader } from '../../agent/audio/wav.ts';
import { VERSION } from '../../agent/base/version.ts';
import { STATION_ID } from '../control/fake-station.ts';
import { until } from './until.ts';

/** The command line and the life of the station's process, with real processes and a callee that echoes. */

const ROOT = resolve(import.meta.dirname, '../..');
/** Built once: through tsx every one of fifty processes would take a second to start. Below ROOT, to find its packages. */
const BUILD = join(ROOT, '.doorward/cli-test');
const MAIN = join(BUILD, 'agent/main.js');

beforeAll(async () => {
  await build({
    entryPoints: { main: resolve(import.meta.dirname, 'cli-fake-main.ts') },
    outdir: dirname(MAIN),
    bundle: true,
    splitting: true,
    minify: true,
    external: ['koffi'],
    banner: {
      js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);",
    },
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
  });
  // As cross/build.mjs does.
  cpSync(join(ROOT, 'config/doorward.yaml'), join(dirname(MAIN), 'doorward.yaml'));
});

afterAll(() => rmSync(BUILD, { recursive: true, force: true }));

let folder: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'doorward-cli-'));
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  rmSync(folder, { recursive: true, force: true });
});

interface Run {
  readonly child: ChildProcess;
  out: string;
  err: string;
  /** Resolves with the exit code, or the signal. */
  readonly exit: Promise<number | string>;
}

function doorward(argv: readonly string[], environment: Record<string, string> = {}): Run {
  // The pipes of a station of its own go into a temporary folder: ours, so that we see that nothing is left.
  const child = spawn(process.execPath, [MAIN, ...argv], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', HOME: folder, TMPDIR: folder, ...environment },
  });
  children.push(child);
  const run: Run = {
    child,
    out: '',
    err: '',
    exit: once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string),
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    run.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    run.err += text;
  });
  return run;
}

async function station(...argv: string[]): Promise<Run> {
  const run = doorward(['run', ...argv]);
  await until(() => run.out.includes('is ready') || run.child.exitCode !== null);
  expect(run.err).toBe('making keys\n');
  return run;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Left of what stations of our own put into the temporary folder. */
const leftovers = () => readdirSync(folder).filter((name) => name.startsWith('doorward-'));

describe('run', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'ends with 0 at %s, and takes its socket along',
    async (signal) => {
      const run = await station();
      expect(run.out).toContain(`id       ${STATION_ID}`);
      expect(run.out).toContain(`doorward call ${STATION_ID} --state ./caller`);
      const socket = join(folder, '.local/state/doorward/control.sock');
      expect(statSync(socket).mode & 0o777).toBe(0o600);
      run.child.kill(signal);
      expect(await run.exit).toBe(0);
      expect(existsSync(socket)).toBe(false);
    },
  );

  test('ends within 2 s even when the station hangs, and at once at a second Ctrl-C', async () => {
    const first = await station('--set', 'node=hangs');
    const began = performance.now();
    first.child.kill('SIGTERM');
    expect(await first.exit).toBe(1);
    expect(performance.now() - began).toBeGreaterThan(1900);
    const second = await station('--set', 'node=hangs');
    second.child.kill('SIGINT');
    await new Promise((wake) => setTimeout(wake, 300));
    second.child.kill('SIGINT');
    expect(await second.exit).toBe(130);
  });

  test('takes a Ctrl-C that npm hands on as well for one', async () => {
    const run = await station();
    run.child.kill('SIGINT');
    run.child.kill('SIGINT');
    await new Promise((wake) => setTimeout(wake, 20));
    if (run.child.exitCode === null) run.child.kill('SIGINT');
    expect(await run.exit).toBe(0);
  });

  test('says what is wrong with a configuration, with line and nearest key, and exits 78', async () => {
    writeFileSync(join(folder, 'bad.yaml'), 'node: front\ndht:\n  prot: 4222\n');
    const run = doorward(['run', '-c', 'bad.yaml']);
    expect(await run.exit).toBe(78);
    expect(run.err).toBe(
      'bad.yaml:3:3  dht.prot: unknown key, did you mean "port"?\n1 problem, nothing was started.\n',
    );
    expect(run.out).toBe('');
  });

  test.each([
    [
      ['--set', 'node=port'],
      75,
      /^doorward: UDP port 127\.0\.0\.1:4222 is in use\n {2}name another with dht\.port\n$/,
    ],
    [
      ['--set', 'state=/dev/null/state'],
      73,
      /^doorward: the state folder \/dev\/null\/state cannot be used: /,
    ],
    [['--loud'], 2, /^doorward: Unknown option '--loud'/],
  ] as const)('with %o exits %d', async (argv, exit, message) => {
    const run = doorward(['run', ...argv]);
    expect(await run.exit).toBe(exit);
    expect(run.err).toMatch(message);
  });

  test('does not start a second time on the same socket', async () => {
    await station();
    const second = doorward(['run']);
    expect(await second.exit).toBe(75);
    expect(second.err).toContain('doorward: a station already answers at ');
  });

  test('replaces the socket of one that was killed', async () => {
    const first = await station();
    first.child.kill('SIGKILL');
    await first.exit;
    await station();
  });
});

describe('commands', () => {
  test('talk to the station', async () => {
    const run = await station();
    const status = doorward(['status', '--json']);
    expect(await status.exit).toBe(0);
    expect(JSON.parse(status.out)).toMatchObject({ pid: run.child.pid });
    const remove = doorward(['contact', 'remove', 'nobody']);
    expect(await remove.exit).toBe(6);
    const send = doorward(['send', 'alice', '-', '--quiet']);
    send.child.stdin?.end('from a pipe\n');
    expect(await send.exit).toBe(0);
    expect(send.out + send.err).toBe('');
  });

  test('say that no station runs', async () => {
    const status = doorward(['status']);
    expect(await status.exit).toBe(69);
    expect(status.err).toContain('no station answers at ');
  });

  test('follow events until Ctrl-C, and end when nobody reads them', async () => {
    await station();
    const events = doorward(['events', '--type', 'call']);
    // Nothing tells when it listens: it hears the first call after that.
    while (!events.out.includes('call.answered')) {
      const call = doorward(['call', 'echo', '--for', '50ms']);
      expect(await call.exit).toBe(0);
      expect(call.out).toMatch(
        /^dialing echo\nringing\nanswered after \d+ ms\nended: we hung up, 1\.0 s\n$/,
      );
    }
    expect(JSON.parse(events.out.split('\n')[0] ?? '')).toMatchObject({ call: { call_id: 'c1' } });
    events.child.kill('SIGINT');
    expect(await events.exit).toBe(0);
    const unread = doorward(['events']);
    unread.child.stdout?.destroy();
    while (unread.child.exitCode === null) await doorward(['call', 'echo', '--for', '50ms']).exit;
    expect(await unread.exit).toBe(0);
  });

  test('make identities', async () => {
    const first = doorward(['id', '--state', 'phone']);
    expect(await first.exit).toBe(0);
    expect(first.out).toMatch(/^[0-9a-f]{40}\n$/);
    expect(first.err).toContain('making a new identity in phone');
    expect(statSync(join(folder, 'phone')).mode & 0o777).toBe(0o700);
    const second = doorward(['init', '--state', 'phone', '-c', 'new.yaml']);
    expect(await second.exit).toBe(0);
    expect(second.out).toBe(first.out);
    expect(readFileSync(join(folder, 'new.yaml'), 'utf8')).toContain('\nnode: front\n');
  });
});

/** `seconds` of a tone that never repeats a sample position by accident. */
function chirp(seconds: number): Int16Array {
  return Int16Array.from({ length: 48_000 * seconds }, (_, i) => {
    const t = i / 48_000;
    return Math.round(8000 * Math.sin(2 * Math.PI * (200 + 300 * t) * t));
  });
}

function writeWav(path: string, pcm: Int16Array): void {
  writeFileSync(path, Buffer.concat([wavHeader(48_000, pcm.byteLength), Buffer.from(pcm.buffer)]));
}

describe('call', () => {
  test('plays one file and records another, sample by sample', async () => {
    await station();
    const said = chirp(2);
    writeWav(join(folder, 'in.wav'), said);
    const call = doorward([
      'call',
      'echo',
      '--play',
      'in.wav',
      '--record',
      'out.wav',
      '--for',
      '3s',
    ]);
    expect(await call.exit).toBe(0);
    const heard = parseWav(readFileSync(join(folder, 'out.wav')));
    expect(heard.sampleRateHz).toBe(48_000);
    expect(heard.samples).toEqual(said);
    expect(statSync(join(folder, 'out.wav')).mode & 0o777).toBe(0o600);
  });

  test('with a broken WAV says so in a sentence, and rings nobody', async () => {
    writeFileSync(join(folder, 'in.wav'), 'RIFFnonsense');
    const call = doorward(['call', 'echo', '--play', 'in.wav']);
    expect(await call.exit).toBe(2);
    expect(call.err).toMatch(/^doorward: --play: in\.wav is not a WAV file\n/);
    expect(call.out).toBe('');
    mkdirSync(join(folder, 'out.wav'));
    const record = doorward(['call', 'echo', '--record', 'out.wav']);
    expect(await record.exit).toBe(73);
  });

  test('hangs up at Ctrl-C before it ends', async () => {
    await station();
    const call = doorward(['call', 'echo']);
    await until(() => call.out.includes('answered') || call.child.exitCode !== null);
    call.child.kill('SIGINT');
    expect(await call.exit).toBe(0);
    expect(call.out).toContain('ended: we hung up, 1.0 s\n');
  });
});

describe('a station for one command', () => {
  test('starts, calls and is gone', async () => {
    const call = doorward(['call', 'echo', '--for', '100ms', '--state', 'phone']);
    expect(await call.exit).toBe(0);
    expect(call.out).toContain('ended: we hung up');
    expect(call.err).toBe('starting a station for this command, identity in phone\nmaking keys\n');
    expect(existsSync(join(folder, 'phone'))).toBe(true);
    expect(leftovers()).toEqual([]);
  });

  test('does not hear Ctrl-C: the command hangs up first', async () => {
    const call = doorward(['call', 'echo']);
    await until(() => call.out.includes('answered') || call.child.exitCode !== null);
    call.child.kill('SIGINT');
    expect(await call.exit).toBe(0);
    expect(call.out).toContain('ended: we hung up');
    expect(leftovers()).toEqual([]);
  });

  test('hands on why it did not start', async () => {
    const call = doorward(['call', 'echo', '--state', '/dev/null/phone']);
    expect(await call.exit).toBe(73);
    expect(call.err).toContain('doorward: the state folder /dev/null/phone cannot be used');
    expect(call.err).toContain('doorward: the station for this command did not start\n');
    expect(leftovers()).toEqual([]);
  });

  test('ends when its command is killed', async () => {
    const call = doorward(['call', 'echo']);
    await until(() => call.out.includes('answered') || call.child.exitCode !== null);
    const socket = join(folder, leftovers()[0] ?? '', 'control.sock');
    const status = doorward(['status', '--json'], { DOORWARD_CONTROL: socket });
    expect(await status.exit).toBe(0);
    const { pid } = JSON.parse(status.out) as { pid: number };
    expect(isAlive(pid)).toBe(true);
    call.child.kill('SIGKILL');
    await until(() => !isAlive(pid));
    expect(leftovers()).toEqual([]);
  });
});

describe('the command in a clone', () => {
  test('runs from its sources', async () => {
    const bin = resolve(import.meta.dirname, '../../agent/bin.mjs');
    const child = spawn(bin, ['version'], { cwd: folder });
    let out = '';
    child.stdout.on('data', (text) => {
      out += text;
    });
    expect((await once(child, 'close'))[0]).toBe(0);
    expect(out).toBe(`doorward ${VERSION} (node ${process.version})\n`);
  });
});
