import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Millis, systemClock, WakeUp } from './base/clock.ts';
import { AgentError } from './base/errors.ts';
import type { PrivateStation, StationOptions } from './cli-world.ts';
import { ControlClient } from './control-client.ts';
import { EXIT } from './exit-codes.ts';

/** Driver: a station for the time of one command, as a child process with a control socket of its own. */

/** The first start of a new identity makes RSA keys, minutes on the smallest boards. */
const START_LIMIT_MS: Millis = 300_000;
const CONNECT_POLL_MS: Millis = 25;
/** It stops within 2 s by itself. */
const STOP_LIMIT_MS: Millis = 3000;

/** @throws {AgentError} `exit-N` when it ended with exit code N instead of being ready, `timeout` */
export async function startPrivateStation(options: StationOptions): Promise<PrivateStation> {
  const folder = await mkdtemp(join(tmpdir(), 'doorward-'));
  const control = join(folder, 'control.sock');
  const settings = [...options.settings, `control=${control}`].flatMap((s) => ['--set', s]);
  const file = options.configFile === undefined ? [] : ['-c', options.configFile];
  const entry = process.argv[1] ?? '';
  const child = spawn(
    process.execPath,
    [...process.execArgv, entry, 'run', '--tied', ...file, ...settings],
    // A group of its own: Ctrl-C is for the command, which hangs up before it stops the station. Its standard input ends
    // with this process, however that goes, and then it stops.
    { stdio: ['pipe', 'pipe', 'pipe'], detached: true },
  );
  child.stdout.resume();
  child.stderr.setEncoding('utf8').on('data', (text: string) => options.onLog(text));
  let died: number | undefined;
  const exited = new Promise<void>((resolve) => {
    const end = (code: number | null) => {
      died = code ?? EXIT.failed;
      resolve();
    };
    child.on('error', () => end(EXIT.failed));
    // After 'exit': what it said on standard error has been read, too.
    child.on('close', end);
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
    const client = await connectWhenReady(control, () => died);
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

async function connectWhenReady(
  control: string,
  exitCode: () => number | undefined,
): Promise<ControlClient> {
  const giveUp = systemClock.now() + START_LIMIT_MS;
  while (exitCode() === undefined && systemClock.now() < giveUp) {
    try {
      return await ControlClient.connect(control);
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'not-running') throw error;
    }
    await new Promise<void>((resolve) => {
      new WakeUp(systemClock, resolve).arm(systemClock.now() + CONNECT_POLL_MS);
    });
  }
  const code = exitCode();
  throw code === undefined
    ? new AgentError('timeout', 'the station for this command was not ready in time')
    : new AgentError(`exit-${code}`, 'the station for this command did not start');
}
