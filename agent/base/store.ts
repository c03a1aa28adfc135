import { randomBytes } from 'node:crypto';
import {
  chmod,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AgentError, errorCode, errorText } from './errors.ts';

/** Driver for private files: folders 0700, files 0600, every write whole or not at all. */

/**
 * Make `path` a folder only we can enter.
 * @throws {AgentError} `store-unusable` when it cannot be made, entered or written, or is open to others and cannot be closed
 */
export async function openPrivateFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) await chmod(path, 0o700);
    const probe = join(path, `.probe-${randomBytes(4).toString('hex')}`);
    await (await open(probe, 'wx', 0o600)).close();
    await rm(probe);
  } catch (error) {
    throw new AgentError(
      'store-unusable',
      `the state folder ${path} cannot be used: ${errorText(error)}`,
      'give the user that runs doorward its own folder, or name another with "state:"',
      { cause: error },
    );
  }
}

/**
 * Write `data` to `path` so that a reader, or the next start after a power cut, finds the old content or the new one.
 * Temporary file, fsync, rename, fsync of the folder; mode 0600.
 * @param data pieces are asked for one by one, as the disk takes them: other work runs in between
 * @throws {AgentError} `store-write`
 */
export async function writePrivateFile(
  path: string,
  data: string | Uint8Array | Iterable<Uint8Array>,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await writeFile(file, data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    // What failed first is what counts, not that the remains could not be removed either.
    await rm(temporary, { force: true }).catch(() => {});
    throw new AgentError(
      'store-write',
      `${path} cannot be written: ${errorText(error)}`,
      undefined,
      { cause: error },
    );
  }
}

/**
 * Give a folder of finished files the name under which it is looked for, where there is nothing or an empty folder yet: several
 * files appear whole or not at all.
 * @throws {AgentError} `store-write`
 */
export async function renamePrivateFolder(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
    await syncFolder(dirname(to));
  } catch (error) {
    throw new AgentError('store-write', `${to} cannot be written: ${errorText(error)}`, undefined, {
      cause: error,
    });
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * @param maxBytes of a larger file nothing is read
 * @returns the content, or undefined when there is no such file
 * @throws {AgentError} `store-read` when it is there and cannot be read, `store-too-large`
 */
export async function readPrivateFile(
  path: string,
  maxBytes = Number.POSITIVE_INFINITY,
): Promise<Buffer | undefined> {
  try {
    const { size } = await stat(path);
    if (size > maxBytes)
      throw new AgentError('store-too-large', `${path} is larger than ${maxBytes} bytes`);
    return await readFile(path);
  } catch (error) {
    if (error instanceof AgentError) throw error;
    if (errorCode(error) === 'ENOENT') return undefined;
    throw new AgentError('store-read', `${path} cannot be read: ${errorText(error)}`, undefined, {
      cause: error,
    });
  }
}

/**
 * Remove what writes of `path` left behind that were cut off by the end of the process.
 * @throws {AgentError} `store-write`
 */
export async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path);
  const isLeftover = (name: string) =>
    name.startsWith(`${basename(path)}.`) && /\.[0-9a-f]{12}\.tmp$/.test(name);
  try {
    const names = (await readdir(folder)).filter(isLeftover);
    await Promise.all(names.map((name) => rm(join(folder, name), { force: true })));
  } catch (error) {
    throw new AgentError(
      'store-write',
      `${folder} cannot be tidied up: ${errorText(error)}`,
      undefined,
      { cause: error },
    );
  }
}

/** Set a file aside that cannot be understood, so that nothing is lost: `path` becomes `path.damaged-<unixMs>`. */
export async function setAside(path: string, unixMs: number): Promise<string> {
  const aside = `${path}.damaged-${unixMs}`;
  await rename(path, aside);
  return aside;
}
