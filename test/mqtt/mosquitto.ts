import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../interop/until.ts';

/** Real mosquitto and its clients as child processes, for the interop tests. Debian: mosquitto, mosquitto-clients. */

export interface Lines {
  readonly lines: readonly string[];
  /** Resolves with the first line, old or new, that fits. */
  waitFor(fits: (line: string) => boolean, timeoutMs?: number): Promise<string>;
}

/** The lines of a child's output, as they come. */
export function linesOf(child: ChildProcess): Lines {
  const lines: string[] = [];
  let rest = '';
  const take = (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
  };
  child.stdout?.on('data', take);
  child.stderr?.on('data', take);
  return {
    lines,
    waitFor: async (fits, timeoutMs = 10_000) => {
      let found: string | undefined;
      await until(() => {
        found = lines.find(fits);
        return found !== undefined;
      }, timeoutMs);
      return found ?? '';
    },
  };
}

export async function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise((resolve) => child.once('exit', resolve));
}

async function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** One mosquitto with a configuration of its own; `stop` and `start` as often as wanted. */
export class Mosquitto {
  readonly port: number;
  readonly folder = mkdtempSync(join(tmpdir(), 'doorward-mosquitto-'));
  readonly #config: readonly string[];
  #child: ChildProcess | undefined;
  #log: Lines | undefined;

  /** @param config lines of mosquitto.conf(5) for the listener, instead of letting everybody in */
  constructor(port: number, config: readonly string[] = ['allow_anonymous true']) {
    this.port = port;
    this.#config = config;
  }

  /** What mosquitto -v said since it was last started. */
  get log(): readonly string[] {
    return this.#log?.lines ?? [];
  }

  async start(): Promise<void> {
    const path = join(this.folder, 'mosquitto.conf');
    const lines = ['user root', `listener ${this.port} 127.0.0.1`, ...this.#config, ''];
    writeFileSync(path, lines.join('\n'));
    this.#child = spawn('mosquitto', ['-v', '-c', path], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#log = linesOf(this.#child);
    for (let tries = 0; !(await isListening(this.port)); tries++) {
      if (tries > 200) throw new Error(`mosquitto does not listen:\n${this.log.join('\n')}`);
      await sleep(20);
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#child === undefined) return;
    this.kill(signal);
    await exited(this.#child);
    this.#child = undefined;
  }

  async remove(): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs a mosquitto client to its end. @returns its output */
export async function run(program: string, ...args: string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = linesOf(child);
  await exited(child);
  await sleep(5);
  return output.lines.join('\n');
}

export async function publish(port: number, topic: string, payload: string, ...args: string[]) {
  return run('mosquitto_pub', '-p', `${port}`, '-t', topic, '-m', payload, ...args);
}

/** One delivery to mosquitto_sub. */
export interface Delivery {
  readonly retain: boolean;
  readonly topic: string;
  readonly payload: string;
}

/** A mosquitto_sub that is subscribed when this resolves; end it with `close`. */
export async function subscribe(port: number, filter: string, ...args: string[]) {
  // Into a pipe it would hold back its lines until a message comes.
  const child = spawn(
    'stdbuf',
    [
      '-oL',
      'mosquitto_sub',
      '-d',
      '-p',
      `${port}`,
      '-t',
      filter,
      '-q',
      '1',
      '-F',
      '\t%r\t%t\t%p',
      ...args,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const output = linesOf(child);
  await output.waitFor((line) => line.startsWith('Subscribed'));
  const deliveries = (): Delivery[] =>
    output.lines
      .filter((line) => line.startsWith('\t'))
      .map((line) => {
        const [, retain, topic = '', payload = ''] = line.split('\t');
        return { retain: retain === '1', topic, payload };
      });
  return {
    child,
    deliveries,
    payloads: (topic: string) =>
      deliveries()
        .filter((delivery) => delivery.topic === topic)
        .map(({ payload }) => payload),
    close: async () => {
      child.kill('SIGKILL');
      await exited(child);
    },
  };
}
