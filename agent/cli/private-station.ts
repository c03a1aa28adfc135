import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Millis, systemClock, WakeUp } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import { ControlClient } from '../control/client.ts';
import { EXIT } from './exit-codes.ts';
import type { PrivateStation, StationOptions } from './world.ts';

/** Driver: a station for the time of one command, as a child process with a control socket of its own. */

/** The first start of a new identity makes RSA keys, minutes on the smallest boards. */
const START_LIMIT_MS: Millis = 300_000;
/** It stops within 2 s by itself. */
const STOP_LIMIT_MS: Millis = 3000;

/** @throws {AgentError} `exit-N` when it ended with exit code N instead of being ready, `timeout` */
export async function startPrivateStation(options: StationOptions): Promise<PrivateStation> {
  const folder = await mkdtemp(join(tmpdir(), 'doorward-'));
  const control = join(folder, 'control.sock');
  const settings = [...options.settings, `control=${control}`].flatMap((s) => ['--set', s]);
  const file = options.configFile === undefined ? [] : ['-c', options.configFile];
  const entry = process.argv[1] ?? '';
  const kind = options.dhtOnly ? ['--dht-only'] : [];
  const child = spawn(
    process.execPath,
    [...process.execArgv, entry, 'run', '--tied', '--json', ...kind, ...file, ...settings],
    // A group of its own: Ctrl-C is for the command, which hangs up before it stops the station. Its standard input ends
    // with this process, however that goes, and then it stops.
    { stdio: ['pipe', 'pipe', 'pipe'], detached: true },
  );
  // It may be dead when we end its input: then there is nothing to tell it.
  child.stdin.on('error', () => {});
  child.stderr.setEncoding('utf8').on('data', (text: string) => options.onLog(text));
  // What `run --json` prints, and prints when it is ready: one line.
  const ready = new Promise<'ready'>((resolve) => child.stdout.on('data', () => resolve('ready')));
  const exited = new Promise<number>((resolve) => {
    child.on('error', () => resolve(EXIT.failed));
    // After 'exit': what it said on standard error has been read, too.
    child.on('close', (code) => resolve(code ?? EXIT.failed));
  });
  const stop = async () => {
    child.stdin.end();
    const kill = new WakeUp(systemClock, () => child.kill('SIGKILL'));
    kill.arm(systemClock.now() + STOP_LIMIT_MS);
    await exited;
    kill.disarm();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const outcome = await Promise.race([ready, exited, timeout(START_LIMIT_MS)]);
    if (typeof outcome === 'number') {
      throw new AgentError(`exit-${outcome}`, 'the station for this command did not start');
    }
    if (outcome === 'timeout') {
      throw new AgentError('timeout', 'the station for this command was not ready in time');
    }
    const client = await ControlClient.connect(control);
    return {
      connection: client,
      stop: async () => {
        client.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Does not keep the process alive that waits for something faster. */
async function timeout(ms: Millis): Promise<'timeout'> {
  return await new Promise<'timeout'>((resolve) => {
    setTimeout(() => resolve('timeout'), ms).unref();
  });
}
