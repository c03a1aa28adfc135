import { type Address, formatAddress } from '../base/address.ts';
import { AgentError } from '../base/errors.ts';

/** What a person reads when a UDP socket cannot be had. `code` is the name of the errno. */
export function bindError(code: string, address: Address, cause?: unknown): AgentError {
  const where = `UDP ${formatAddress(address)}`;
  const options = cause === undefined ? undefined : { cause };
  switch (code) {
    case 'EADDRINUSE':
      return new AgentError(
        'port-in-use',
        `${where} is in use by another program`,
        'stop that program ("ss -lunp" names it) or choose another port',
        options,
      );
    case 'EADDRNOTAVAIL':
      return new AgentError(
        'bind-failed',
        `${where} cannot be opened: this machine does not have that address`,
        'name an address of this machine, or 0.0.0.0 for all of them',
        options,
      );
    case 'EACCES':
      return new AgentError(
        'bind-denied',
        `${where} cannot be opened: not permitted`,
        'ports below 1024 belong to root: choose a higher one',
        options,
      );
    default:
      return new AgentError(
        'bind-failed',
        `${where} cannot be opened: ${code}`,
        undefined,
        options,
      );
  }
}
