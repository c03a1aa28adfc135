import { readFile } from 'node:fs/promises';
import { AgentError, errorText } from './base/errors.ts';
import type { IceServer } from './call/ice-server.ts';
import type { IceConfig } from './config/config.ts';

/**
 * The STUN and TURN servers of the configuration, passwords read from their files.
 * @throws {AgentError} `ice-password` when one cannot be read
 */
export async function iceServers({ stun, turn }: IceConfig): Promise<IceServer[]> {
  const relays = turn.map(async ({ host, port, username, passwordFile }) => {
    const password = await readPassword(passwordFile);
    return { kind: 'turn' as const, host, port, username, password };
  });
  return [
    ...stun.map((server) => ({ kind: 'stun' as const, ...server })),
    ...(await Promise.all(relays)),
  ];
}

async function readPassword(path: string): Promise<string> {
  try {
    const [first = ''] = (await readFile(path, 'utf8')).split(/\r?\n/, 1);
    return first;
  } catch (error) {
    throw new AgentError(
      'ice-password',
      `${path} cannot be read: ${errorText(error)}`,
      'ice.turn.password_file names it; the user that runs doorward must be able to read it',
      { cause: error },
    );
  }
}
