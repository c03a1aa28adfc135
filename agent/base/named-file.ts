import { readFileSync } from 'node:fs';
import { AgentError, errorText } from './errors.ts';

/** Driver for the files that the configuration names: read once, at the start. */

/**
 * @param key the configuration key that names `path`, for the error
 * @throws {AgentError} `named-file`
 */
export function readNamedFile(path: string, key: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new AgentError(
      'named-file',
      `${path} cannot be read: ${errorText(error)}`,
      `${key} names it; the user that runs doorward must be able to read it`,
      { cause: error },
    );
  }
}

/** The first line: an editor ends it with a line feed that is no part of the password. @throws {AgentError} `named-file` */
export function readPasswordFile(path: string, key: string): string {
  const [password = ''] = readNamedFile(path, key).split(/\r?\n/, 1);
  return password;
}
