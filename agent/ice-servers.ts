import { readPasswordFile } from './base/named-file.ts';
import type { IceServer } from './call/ice-server.ts';
import type { IceConfig } from './config/config.ts';

/**
 * The STUN and TURN servers of the configuration, passwords read from their files.
 * @throws {AgentError} `named-file`
 */
export function iceServers({ stun, turn }: IceConfig): IceServer[] {
  const relays = turn.map(({ host, port, username, passwordFile }) => {
    const password = readPasswordFile(passwordFile, 'ice.turn.password_file');
    return { kind: 'turn' as const, host, port, username, password };
  });
  return [...stun.map((server) => ({ kind: 'stun' as const, ...server })), ...relays];
}
