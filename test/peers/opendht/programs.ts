import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** Real OpenDHT programs as child processes for the interop tests. Each is ended by its own id. */

export interface Program {
  readonly process: ChildProcess;
  /** Gone without a word. */
  kill(): Promise<void>;
}

function programOf(process: ChildProcess): Program {
  const gone = once(process, 'exit');
  return {
    process,
    async kill() {
      process.kill('SIGKILL');
      await gone;
    },
  };
}

/** A `dhtnode` without console. It binds `port` on every address of the machine. */
export function startDhtnode(port: number, bootstrap?: string): Program {
  const more = bootstrap === undefined ? [] : ['-b', bootstrap];
  return programOf(spawn('dhtnode', ['-s', '-p', String(port), ...more], { stdio: 'ignore' }));
}

/** A `dhtnode` with its console, for what it signs and encrypts: the identity is in its arguments. */
export class DhtnodeConsole {
  readonly #program: Program;
  output = '';

  constructor(args: readonly string[]) {
    const process = spawn('stdbuf', ['-oL', 'dhtnode', ...args]);
    process.stdout.on('data', (chunk: Buffer) => {
      this.output += chunk.toString();
    });
    this.#program = programOf(process);
  }

  /** Type `line`, and wait until `answer` has been printed after it. */
  async command(line: string, answer: RegExp): Promise<RegExpExecArray> {
    const from = this.output.length;
    this.#program.process.stdin?.write(`${line}\n`);
    const end = performance.now() + 20_000;
    while (performance.now() < end) {
      const found = answer.exec(this.output.slice(from));
      if (found !== null) return found;
      await sleep(25);
    }
    throw new Error(`dhtnode: no ${answer} after "${line}"`);
  }

  kill(): Promise<void> {
    return this.#program.kill();
  }
}

export const CONFORMANCE = fileURLToPath(new URL('conformance.py', import.meta.url));
const CRYPTO_NODE = fileURLToPath(new URL('crypto_node.py', import.meta.url));
export const OUR_NODE = fileURLToPath(new URL('dht-node.ts', import.meta.url));

/** Debian's, which the binding belongs to. */
export const PYTHON = '/usr/bin/python3';

export interface PythonValue {
  readonly id: number;
  /** Hex. */
  readonly data: string;
  readonly expired?: boolean;
}

/** A Python program that is driven by lines of JSON: one answer to each, and events (`ev`) in between. */
class PythonProgram {
  readonly #program: Program;
  readonly #answers: ((answer: Record<string, unknown>) => void)[] = [];
  readonly heard: PythonValue[] = [];
  /** What it says first, once it is up. */
  readonly ready: Promise<Record<string, unknown>>;

  constructor(script: string, args: readonly string[]) {
    const process = spawn(PYTHON, ['-u', script, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#program = programOf(process);
    createInterface({ input: process.stdout }).on('line', (line) => {
      const message = JSON.parse(line) as Record<string, unknown>;
      if ('ev' in message) this.heard.push(message as unknown as PythonValue);
      else this.#answers.shift()?.(message);
    });
    this.ready = this.#answer();
  }

  #answer(): Promise<Record<string, unknown>> {
    return new Promise((resolve) => this.#answers.push(resolve));
  }

  protected call(line: Record<string, unknown>): Promise<Record<string, unknown>> {
    this.#program.process.stdin?.write(`${JSON.stringify(line)}\n`);
    return this.#answer();
  }

  /** Wait for it to be up and tell it a node. */
  async join(host: string, port: number): Promise<void> {
    await this.ready;
    await this.call({ op: 'boot', host, port });
  }

  async listen(key: string): Promise<void> {
    await this.call({ op: 'listen', key });
  }

  kill(): Promise<void> {
    return this.#program.kill();
  }
}

/** A node of python3-opendht (the `--peer` half of conformance.py). */
export class PythonNode extends PythonProgram {
  constructor() {
    super(CONFORMANCE, ['--peer', '0']);
  }

  async put(key: string, data: string, id: number): Promise<boolean> {
    return (await this.call({ op: 'put', key, data, id }))['ok'] === true;
  }

  async get(key: string): Promise<readonly PythonValue[]> {
    const { values } = await this.call({ op: 'get', key, signed: false });
    return values as readonly PythonValue[];
  }
}

/** What a `CryptoNode` has read. */
export interface CheckedByReference {
  /** Decimal. */
  readonly id: string;
  readonly data: string;
  readonly utype: string;
  /** Short key ids in hex; who signed, null for nobody, and for whom, all zero for everybody. */
  readonly owner: string | null;
  readonly to: string;
}

/** A node of libopendht with an identity, through the C interface (crypto_node.py). */
export class CryptoNode extends PythonProgram {
  /** @param files of the private key and the certificate chain, in PEM */
  constructor(port: number, files: { readonly key: string; readonly chain: string }) {
    super(CRYPTO_NODE, [String(port), files.key, files.chain]);
  }

  /** @param name the same again is an edit, with the same data */
  async putSigned(key: string, name: string, data: string): Promise<string> {
    const { ok, id } = await this.call({ op: 'put_signed', key, name, data });
    if (ok !== true) throw new Error('the reference could not put');
    return id as string;
  }

  /** @returns false when it found no certificate */
  async putEncrypted(key: string, to: string, data: string): Promise<boolean> {
    return (await this.call({ op: 'put_encrypted', key, to, data }))['ok'] === true;
  }

  async get(key: string): Promise<readonly CheckedByReference[]> {
    const { values } = await this.call({ op: 'get', key });
    return values as readonly CheckedByReference[];
  }
}
