import { execFile } from 'node:child_process';
import { mkdir, symlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type CommandOutcome, type Program, type Workshop, waitFor } from './harness.ts';

/** The program as a stranger has it: elsewhere, with an environment and a network of its own. */

export const ROOT = resolve(import.meta.dirname, '../..');

const EXTERNAL = ['koffi', 'node-datachannel', '@evan/opus'];

/** Build the bundle into `folder`, with nothing beside it but the packages that it asks for. @returns its main.js */
export async function buildBundle(folder: string): Promise<string> {
  const out = join(folder, 'dist');
  const script = join(ROOT, 'cross/build.mjs');
  await promisify(execFile)(process.execPath, [script, '--out', out], { cwd: folder });
  for (const name of EXTERNAL) {
    const link = join(out, 'node_modules', name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(ROOT, 'node_modules', name), link);
  }
  return join(out, 'main.js');
}

export interface Surroundings {
  readonly cwd: string;
  /** Added to ours; undefined takes a variable away. */
  readonly env: NodeJS.ProcessEnv;
}

/** Run one command to its end. A signal is exit code null. */
export function execute(
  [command = '', ...args]: readonly string[],
  { cwd, env }: Surroundings,
  limitMs = 60_000,
): Promise<CommandOutcome> {
  return new Promise((done) => {
    const options = { cwd, env: { ...process.env, ...env }, timeout: limitMs };
    const child = execFile(command, args, options, (_error, stdout, stderr) => {
      done({ code: child.exitCode, stdout, stderr });
    });
  });
}

/** No home, state, runtime folder or configuration but this. */
export function freshEnvironment(home: string): NodeJS.ProcessEnv {
  return {
    HOME: home,
    XDG_STATE_HOME: undefined,
    XDG_RUNTIME_DIR: undefined,
    STATE_DIRECTORY: undefined,
    RUNTIME_DIRECTORY: undefined,
    NOTIFY_SOCKET: undefined,
    JOURNAL_STREAM: undefined,
    npm_execpath: undefined,
  };
}

/**
 * A network with nothing but a loopback interface, in which every port is free.
 * @returns what a command begins with to run there; nothing where the machine allows no such network, and then the default
 *   ports must be free on it
 */
export async function privateNetwork(workshop: Workshop): Promise<readonly string[]> {
  const script = 'ip link set lo up && echo up && exec sleep 600';
  const holder: Program = workshop.start('unshare', ['-n', 'sh', '-c', script]);
  await waitFor('a network', () => holder.output.includes('up\n') || !holder.alive);
  return holder.alive ? ['nsenter', `--net=/proc/${holder.pid}/ns/net`] : [];
}
