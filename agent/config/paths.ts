import { join } from 'node:path';

/** Where things are when nobody says. Pure: the environment comes in. */

export type Environment = Readonly<Record<string, string | undefined>>;

/** Read when it exists and no `-c` is given. */
export const SYSTEM_CONFIG = '/etc/doorward/doorward.yaml';

/** Where the packaged service listens: tried by the command line after its own default. */
export const SYSTEM_CONTROL = '/run/doorward/control.sock';

/** sockaddr_un.sun_path holds 108 bytes with the closing zero (unix(7)). */
export const MAX_SOCKET_PATH_BYTES = 107;

/** systemd gives several folders separated by colons (systemd.exec(5), StateDirectory=); ours is the first. */
function first(folders: string | undefined): string | undefined {
  const folder = folders?.split(':')[0];
  return folder === '' ? undefined : folder;
}

/** XDG Base Directory Specification: a relative path is ignored. */
function absolute(folder: string | undefined): string | undefined {
  return folder?.startsWith('/') ? folder : undefined;
}

export function defaultState(environment: Environment): string {
  const fromSystemd = first(environment['STATE_DIRECTORY']);
  if (fromSystemd !== undefined) return fromSystemd;
  const xdg = absolute(environment['XDG_STATE_HOME']);
  if (xdg !== undefined) return join(xdg, 'doorward');
  const home = absolute(environment['HOME']);
  return home === undefined ? '/var/lib/doorward' : join(home, '.local/state/doorward');
}

/** @param state the state folder in effect */
export function defaultControl(environment: Environment, state: string): string {
  const fromSystemd = first(environment['RUNTIME_DIRECTORY']);
  if (fromSystemd !== undefined) return join(fromSystemd, 'control.sock');
  const xdg = absolute(environment['XDG_RUNTIME_DIR']);
  return xdg === undefined ? join(state, 'control.sock') : join(xdg, 'doorward/control.sock');
}
