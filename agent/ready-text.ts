import type { Config } from './config/config.ts';
import type { Environment } from './config/paths.ts';
import type { NodeReady, ReadyInfo } from './station.ts';

export interface ReadyContext {
  readonly environment: Environment;
  readonly config: Config;
  /** `-c` */
  readonly file: string | undefined;
}

/** What `run` prints when it is ready: what was opened, and how to call it from a second terminal. Pure. */
export function readyText(ready: ReadyInfo, { environment, config, file }: ReadyContext): string {
  // npm says that it started us; what it started is then not in the shell's path.
  const command = environment['npm_execpath'] === undefined ? 'doorward' : 'npx doorward';
  if (ready.mode === 'dht-only') return nodeText(ready, command, file, config);
  const station = file === undefined ? command : `${command} -c ${quote(file)}`;
  const caller = '--state ./caller';
  return [
    `doorward "${config.node}" is ready.`,
    `  id       ${ready.id}`,
    `  dht      udp ${ready.dht}`,
    `  mqtt     ${ready.mqtt}`,
    `  sound    ${ready.sound}`,
    `  control  ${config.control}`,
    '',
    'Call it from a second terminal: let a caller in, then be that caller.',
    `  ${station} contact add caller $(${command} id ${caller}) --can ring,auto_answer`,
    `  ${station} call ${ready.id} ${caller} --record heard.wav --for 10s`,
    '',
    '',
  ].join('\n');
}

function nodeText(
  { id, dht }: NodeReady,
  command: string,
  file: string | undefined,
  { control }: Config,
): string {
  const node = file === undefined ? command : `${command} -c ${quote(file)}`;
  return [
    'A node of the DHT is ready.',
    `  id       ${id}`,
    `  dht      udp ${dht}`,
    `  control  ${control}`,
    '',
    'Use it from a second terminal:',
    `  ${node} dht put greeting "hello world"`,
    `  ${node} dht get greeting`,
    '',
    '',
  ].join('\n');
}

/** For a POSIX shell. */
function quote(word: string): string {
  return /^[\w./@%+=:,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
