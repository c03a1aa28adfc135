import { existsSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { systemClock, WakeUp } from '../base/clock.ts';
import { AgentError, errorCode, errorText } from '../base/errors.ts';
import { ControlClient } from '../control/client.ts';
import { runCli } from './cli.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { identityOf } from './identity.ts';
import { onInterrupt } from './interrupt.ts';
import { startPrivateStation } from './private-station.ts';
import { soundFiles } from './sound.ts';
import type { World } from './world.ts';

/** Driver: the world that commands run in, when it is the real one. */
export async function cliProcess(argv: readonly string[]): Promise<ExitCode> {
  // `doorward … | head` closes the pipe early: nobody reads on, so there is nothing left to do.
  process.stdout.on('error', (error) => {
    process.exit(errorCode(error) === 'EPIPE' ? EXIT.done : EXIT.failed);
  });
  return await runCli(argv, {
    environment: process.env,
    workingFolder: process.cwd(),
    clock: systemClock,
    stdout: (text) => {
      process.stdout.write(text);
    },
    stdoutBytes: (bytes) => {
      process.stdout.write(bytes);
    },
    stderr: (text) => {
      process.stderr.write(text);
    },
    stdinBytes: readStdin,
    alarm: (callback) => new WakeUp(systemClock, callback),
    onInterrupt: (listener) => onInterrupt(systemClock, listener),
    connect: (path) => ControlClient.connect(path),
    startStation: startPrivateStation,
    sound: soundFiles,
    identity: identityOf,
    exampleConfig,
    readFile: (path) => readFile(path, 'utf8'),
    createFile,
  } satisfies World);
}

/** In the bundle the example lies beside the program, in the source tree in config/. */
async function exampleConfig(): Promise<string> {
  const beside = new URL('./doorward.yaml', import.meta.url);
  const inTree = new URL('../../config/doorward.yaml', import.meta.url);
  return readFile(existsSync(beside) ? beside : inTree, 'utf8');
}

/** More than the longest message and the largest value, so that a file by mistake does not fill the memory. */
const MAX_STDIN_BYTES = 1024 * 1024;

async function readStdin(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_STDIN_BYTES) {
      throw new AgentError(
        'message-too-long',
        'standard input is too long for a message or a value',
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function createFile(path: string, text: string): Promise<void> {
  try {
    const file = await open(path, 'wx', 0o644);
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new AgentError(
      'cannot-write',
      `${path} cannot be written: ${errorText(error)}`,
      undefined,
      { cause: error },
    );
  }
}
