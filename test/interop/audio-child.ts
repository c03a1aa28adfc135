import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Run one program of this folder in a process of its own, for what must not touch this one: another environment, native code
 * that may abort.
 * @returns the JSON it printed, and what it wrote to stderr
 */
export async function runChild(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ result: unknown; stderr: string }> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const { stdout, stderr } = await run(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--import', 'tsx', path, ...args],
    { env: { ...process.env, ...env }, timeout: 30_000 },
  );
  return { result: JSON.parse(stdout), stderr };
}

/**
 * An environment in which the shared library `fileName` cannot be loaded: the loader finds a broken one first.
 */
export function withoutLibrary(folder: string, fileName: string): Record<string, string> {
  const broken = join(folder, `without-${fileName}`);
  mkdirSync(broken, { recursive: true });
  writeFileSync(join(broken, fileName), 'not a library\n');
  return { LD_LIBRARY_PATH: broken };
}
