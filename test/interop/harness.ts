import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

/** Real programs for the interop suite: started on loopback, ended by process id. */

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');

/** How this run starts the program: from source, or the built bundle with `STATION_PROGRAM=dist/main.js`. */
const program =
  process.env['STATION_PROGRAM'] === undefined
    ? ['--import', 'tsx', join(root, 'agent/main.ts')]
    : [resolve(root, process.env['STATION_PROGRAM'])];

export const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Ask again and again until `probe` gives something. */
export async function waitFor<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = 15_000,
): Promise<T> {
  const end = Date.now() + limitMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await sleep(25);
  }
}

export class Workshop {
  readonly folder: string;
  readonly #children: Program[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(name: string): Promise<Workshop> {
    return new Workshop(await mkdtemp(join(tmpdir(), `doorward-${name}-`)));
  }

  start(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
    const child = new Program(command, args, env);
    this.#children.push(child);
    return child;
  }

  /** Our program with these arguments. @param within what the command begins with, such as another network */
  doorward(args: readonly string[], within: readonly string[] = []): Program {
    const [command = '', ...rest] = [...within, process.execPath, ...program, ...args];
    return this.start(command, rest);
  }

  /** A chain of real nodes; each bootstraps at the one before it. */
  async dhtRing(count: number, firstPort: number): Promise<Program[]> {
    const ring: Program[] = [];
    for (let i = 0; i < count; i++) {
      const port = firstPort + i;
      const bootstrap = i === 0 ? [] : ['-b', `127.0.0.1:${port - 1}`];
      ring.push(this.start('dhtnode', ['-p', `${port}`, '-s', ...bootstrap]));
      await waitFor(`dhtnode on ${port}`, () => answersPing(port));
    }
    return ring;
  }

  async mosquitto(port: number): Promise<Program> {
    const file = join(this.folder, `mosquitto-${port}.conf`);
    await writeFile(file, `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\n`);
    await chmod(this.folder, 0o755);
    const broker = this.start('mosquitto', ['-c', file]);
    await waitFor(`mosquitto on ${port}`, () => listens(port));
    return broker;
  }

  /** Everything that is published below `filter`, with its time of arrival. */
  async subscribe(port: number, filter: string): Promise<Subscription> {
    const args = ['-h', '127.0.0.1', '-p', `${port}`, '-t', filter, '-F', '%r %t %p', '-q', '1'];
    const program = this.start('stdbuf', ['-oL', 'mosquitto_sub', ...args]);
    await sleep(300);
    return new Subscription(program);
  }

  /** A sentence as 48 kHz mono 16 bit WAV. */
  async speak(text: string, name: string, voice = 'en'): Promise<string> {
    const raw = join(this.folder, `${name}-raw.wav`);
    const file = join(this.folder, `${name}.wav`);
    await run('espeak-ng', ['-v', voice, '-s', '150', '-w', raw, text]);
    await run('sox', [raw, '-r', '48000', '-c', '1', '-b', '16', file]);
    return file;
  }

  /** Write a station's config; its state and socket live in a folder of its own. */
  async station(name: string, settings: readonly string[]): Promise<StationHandle> {
    const folder = join(this.folder, name);
    await mkdir(folder, { recursive: true });
    const config = join(folder, 'doorward.yaml');
    const own = [
      'version: 1',
      `node: ${name}`,
      `state: ${folder}/state`,
      `control: ${folder}/control.sock`,
    ];
    await writeFile(config, `${[...own, ...settings].join('\n')}\n`);
    return new StationHandle(this, folder, config);
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.kill()));
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** One running process and what it wrote. */
export class Program {
  readonly child: ChildProcess;
  readonly startedAt = performance.now();
  output = '';
  readonly exited: Promise<number | null>;

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const keep = (chunk: Buffer) => {
      this.output += chunk.toString();
    };
    this.child.stdout?.on('data', keep);
    this.child.stderr?.on('data', keep);
    this.exited = once(this.child, 'close').then(([code]) => code as number | null);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.alive) return;
    this.child.kill(signal);
    await this.exited;
  }
}

export interface CommandOutcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function doorward(args: readonly string[], limitMs = 60_000): Promise<CommandOutcome> {
  return new Promise((done) => {
    const options = { cwd: root, timeout: limitMs, maxBuffer: 1 << 24 };
    const child = execFile(
      process.execPath,
      [...program, ...args],
      options,
      (_error, stdout, stderr) => {
        done({ code: child.exitCode, stdout, stderr });
      },
    );
  });
}

export class StationHandle {
  readonly folder: string;
  readonly config: string;
  readonly #workshop: Workshop;
  #running: Program | undefined;

  constructor(workshop: Workshop, folder: string, config: string) {
    this.#workshop = workshop;
    this.folder = folder;
    this.config = config;
  }

  /** Start it and do not wait. */
  spawn(): Program {
    this.#running = this.#workshop.doorward(['run', '-c', this.config]);
    return this.#running;
  }

  /** Start it and wait until it is ready. */
  async start(): Promise<Program> {
    const running = this.spawn();
    await waitFor(
      `station ${this.config} ready`,
      async () => {
        if (!running.alive) throw new Error(`the station ended: ${running.output}`);
        return (await this.cli('status', '--json')).code === 0;
      },
      60_000,
    );
    return running;
  }

  get program(): Program {
    if (this.#running === undefined) throw new Error('not started');
    return this.#running;
  }

  cli(command: string, ...args: string[]): Promise<CommandOutcome> {
    return doorward([command, ...args, '-c', this.config]);
  }

  /** Run a command that must succeed, and give its `--json` object. */
  async json<T>(command: string, ...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.cli(command, ...args, '--json');
    if (code !== 0) throw new Error(`doorward ${command}: exit ${code}: ${stderr}${stdout}`);
    return JSON.parse(stdout) as T;
  }
}

export interface Publication {
  readonly retained: boolean;
  readonly topic: string;
  readonly payload: string;
}

export class Subscription {
  readonly program: Program;

  constructor(program: Program) {
    this.program = program;
  }

  get seen(): Publication[] {
    return this.program.output
      .split('\n')
      .slice(0, -1)
      .map((line) => /^([01]) (\S+) (.*)$/.exec(line))
      .filter((match) => match !== null)
      .map((match) => ({
        retained: match[1] === '1',
        topic: match[2] ?? '',
        payload: match[3] ?? '',
      }));
  }

  /** Parsed payloads of one topic, in order. */
  json<T>(topic: string): T[] {
    return this.seen.filter((p) => p.topic === topic).map((p) => JSON.parse(p.payload) as T);
  }
}

function answersPing(port: number): Promise<boolean> {
  // {a: {id: 11…}, q: "ping", t: 1, y: "q"} as opendht.md 5.1.
  const head = Buffer.from('84a16181a26964c414', 'hex');
  const tail = Buffer.from('a171a470696e67a17401a179a171', 'hex');
  return new Promise((done) => {
    const socket = createSocket('udp4');
    const end = (answer: boolean) => {
      clearTimeout(timer);
      socket.close();
      done(answer);
    };
    const timer = setTimeout(() => end(false), 300);
    socket.on('message', () => end(true));
    socket.on('error', () => end(false));
    socket.send(Buffer.concat([head, Buffer.alloc(20, 0x11), tail]), port, '127.0.0.1');
  });
}

function listens(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.on('error', () => done(false));
  });
}
