import { type HostPort, parseHostPort } from '../base/address.ts';
import { AgentError } from '../base/errors.ts';

/** A server that helps two stations find a way. `turn` relays over UDP only (webrtc-sip.md 5). */
export interface IceServer {
  readonly kind: 'stun' | 'turn';
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
}

const DEFAULT_PORT = 3478;

/**
 * `ice.stun` and `ice.turn` of the configuration: `stun:host[:port]` and
 * `turn:user:password@host[:port]` (RFC 7064, RFC 7065 with the credentials in front). The scheme
 * may be left out. Percent signs escape `:` and `@` in credentials.
 * @throws {AgentError} `bad-ice-server`; the password is not in its text
 */
export function parseIceServer(kind: IceServer['kind'], text: string): IceServer {
  const rest = text.startsWith(`${kind}:`) ? text.slice(kind.length + 1) : text;
  const at = rest.lastIndexOf('@');
  const hostPort = rest.slice(at + 1);
  const bad = (reason: string) =>
    new AgentError(
      'bad-ice-server',
      `the ${kind} server ${JSON.stringify(hostPort)} cannot be used: ${reason}`,
      kind === 'stun' ? 'write stun:host:port' : 'write turn:user:password@host:port',
    );
  if (/[\s/?]/.test(hostPort)) throw bad('only a host and a port, over UDP');
  const address = addressOf(hostPort);
  if (address === undefined) throw bad('that is no host:port');
  if (kind === 'stun') {
    if (at >= 0) throw bad('STUN needs no user');
    return { kind, ...address };
  }
  const [username, password, ...more] = rest.slice(0, Math.max(at, 0)).split(':').map(unescaped);
  if (!username || !password || more.length > 0) throw bad('TURN needs a user and a password');
  return { kind, ...address, username, password };
}

function addressOf(hostPort: string): HostPort | undefined {
  try {
    return parseHostPort(hostPort, DEFAULT_PORT);
  } catch {
    return undefined; // the caller says it in terms of the server
  }
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a percent sign that escapes nothing is itself
  }
}
