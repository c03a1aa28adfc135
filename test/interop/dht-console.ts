import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from './harness.ts';

/** Private key and certificate chain of a node, as files in PEM. */
export interface IdentityFiles {
  readonly key: string;
  readonly chain: string;
}

export async function writeIdentity(
  folder: string,
  name: string,
  keyPem: string,
  chainPem: string,
): Promise<IdentityFiles> {
  const files = { key: join(folder, `${name}.key`), chain: join(folder, `${name}.pem`) };
  await writeFile(files.key, keyPem);
  await writeFile(files.chain, chainPem);
  return files;
}

/** `dhtnode` with its console and an identity. */
export class DhtConsole {
  readonly #child: ChildProcess;
  output = '';

  constructor(port: number, bootstrapPort: number, { key, chain }: IdentityFiles) {
    const network = ['-p', `${port}`, '-b', `127.0.0.1:${bootstrapPort}`];
    const identity = ['--privkey', key, '--certificate', chain];
    this.#child = spawn('stdbuf', ['-oL', 'dhtnode', ...network, ...identity]);
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      this.output += chunk.toString();
    });
  }

  /** Enter `line` and wait for `answer` in what it prints from then on. */
  async command(line: string, answer: RegExp): Promise<RegExpExecArray> {
    const from = this.output.length;
    this.#child.stdin?.write(`${line}\n`);
    return waitFor(line, () => answer.exec(this.output.slice(from)) ?? undefined, 20_000);
  }

  async close(): Promise<void> {
    this.#child.kill('SIGKILL');
    await once(this.#child, 'close');
  }
}
