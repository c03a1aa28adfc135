import { isIPv6 } from 'node:net';
import { type HostPort, parseHostPort } from '../base/address.ts';
import { AgentError } from '../base/errors.ts';
import { type Config, type ConfigSources, formatProblems, loadConfig } from '../config/config.ts';
import { SYSTEM_CONTROL } from '../config/paths.ts';
import type { ControlConnection } from '../control/client.ts';
import type { StatusResult } from '../control/protocol.ts';
import type { Output } from './output.ts';
import { sleep, type World } from './world.ts';

/** Which station a command talks to. */

export interface StationArguments {
  /** `-c` */
  readonly config: string | undefined;
  /** `--state`: never the running station, one of our own with this identity. */
  readonly state?: string | undefined;
  /** `--bootstrap`, for one of our own. */
  readonly bootstrap?: readonly string[] | undefined;
}

export interface StationLink {
  readonly connection: ControlConnection;
  /** One that was started for this command. */
  readonly isPrivate: boolean;
  /** Let go of it; stop it when it is ours. */
  close(): Promise<void>;
}

export function configSources(
  world: World,
  file: string | undefined,
  settings: readonly string[] | undefined,
): ConfigSources {
  const { environment, workingFolder } = world;
  return { file, environment, settings, workingFolder, read: (path) => world.readFile(path) };
}

/** @throws {AgentError} `config-invalid` with every problem in its message */
export async function configOf(
  world: World,
  file: string | undefined,
  settings: readonly string[] = [],
): Promise<{ config: Config; hasControl: boolean }> {
  const loaded = await loadConfig(configSources(world, file, settings));
  if (!loaded.ok) throw new AgentError('config-invalid', formatProblems(loaded.problems));
  const control = loaded.effective.find(({ path }) => path === 'control');
  return { config: loaded.config, hasControl: control?.origin !== 'default' };
}

/** @throws {AgentError} `not-running`, `control-denied`, `config-invalid` */
export async function connectStation(
  world: World,
  { config: file }: StationArguments,
): Promise<ControlConnection> {
  const { config, hasControl } = await configOf(world, file);
  try {
    return await world.connect(config.control);
  } catch (error) {
    // Nobody said where: then it may be the packaged service, which listens elsewhere.
    const isMissing = error instanceof AgentError && error.code === 'not-running';
    if (!isMissing || hasControl || file !== undefined) throw error;
    try {
      return await world.connect(SYSTEM_CONTROL);
    } catch (second) {
      throw second instanceof AgentError && second.code === 'control-denied' ? second : error;
    }
  }
}

/** The running station; or one of our own, when `--state` asks for it or none runs. */
export async function openStation(
  world: World,
  args: StationArguments,
  output: Output,
): Promise<StationLink> {
  let running: ControlConnection | undefined;
  try {
    running = await connectStation(world, args);
  } catch (error) {
    const isMissing = error instanceof AgentError && error.code === 'not-running';
    if (args.state === undefined && !isMissing) throw error;
  }
  if (running !== undefined && args.state === undefined) {
    const connection = running;
    return { connection, isPrivate: false, close: async () => connection.close() };
  }
  const neighbour = await running?.request('status', {});
  running?.close();
  return await startPrivateStation(world, args, neighbour, output, false);
}

/**
 * For commands on the DHT: what runs here; or with `--bootstrap` or `--state` a node of our own, which has entered the network
 * when this resolves. One with `--state` is a whole station, as it has an identity.
 * @throws {AgentError} also `usage`, `no-answer`
 */
export async function openNode(
  world: World,
  args: StationArguments,
  needsIdentity: boolean,
  output: Output,
): Promise<StationLink> {
  const { bootstrap, state } = args;
  if (bootstrap === undefined && state === undefined) {
    const connection = await connectNode(world, args);
    return { connection, isPrivate: false, close: async () => connection.close() };
  }
  if (needsIdentity && state === undefined) {
    throw new AgentError(
      'usage',
      'a node for this command has no identity to sign with',
      'name one with --state FOLDER; it is made if missing',
    );
  }
  let neighbour: StatusResult | undefined;
  if (bootstrap === undefined) {
    const running = await connectNode(world, args);
    neighbour = await running.request('status', {});
    running.close();
  }
  const link = await startPrivateStation(world, args, neighbour, output, state === undefined);
  const { dht } = await link.connection.request('status', {});
  if (dht.state === 'connected') return link;
  await link.close();
  throw new AgentError(
    'no-answer',
    `no node of network ${dht.network} answered in ${DHT_WAIT_MS / 1000} s`,
    'is there one at the address of --bootstrap, and in this network (dht.network)?',
  );
}

async function connectNode(world: World, args: StationArguments): Promise<ControlConnection> {
  try {
    return await connectStation(world, args);
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'not-running') throw error;
    const hint = `${error.hint ?? ''}; or enter the network for this command alone with --bootstrap HOST:PORT`;
    throw new AgentError(error.code, error.message, hint, { cause: error.cause });
  }
}

/** How long a station of our own may look for the DHT before we go on without. */
const DHT_WAIT_MS = 5000;
const DHT_POLL_MS = 50;

async function startPrivateStation(
  world: World,
  args: StationArguments,
  neighbour: StatusResult | undefined,
  output: Output,
  dhtOnly: boolean,
): Promise<StationLink> {
  const { config } = await configOf(world, args.config);
  const bootstrap = bootstrapFor(args.bootstrap, neighbour, config);
  const isLocal = bootstrap.every(({ host }) => /^(?:localhost|127\..*|::1)$/.test(host));
  output.note(introduction(args, dhtOnly));
  const station = await world.startStation({
    dhtOnly,
    configFile: args.config,
    settings: [
      ...(args.state === undefined ? [] : [`state=${args.state}`]),
      `dht.bind=${isLocal ? '127.0.0.1' : '0.0.0.0'}`,
      ...(bootstrap.some(({ host }) => isIPv6(host))
        ? [`dht.bind6=${isLocal ? '::1' : '::'}`]
        : []),
      'dht.port=0',
      `dht.network=${neighbour?.dht.network ?? config.dht.network}`,
      `dht.bootstrap=${bootstrap.map(formatHostPort).join(',')}`,
      // Of the configuration, but for nodes that stay.
      'dht.peer_discovery=off',
      'dht.republish=off',
      'mqtt.enabled=false',
      'audio.device=null',
      'log.level=warn',
    ],
    onLog: (text) => output.note(text.trimEnd()),
  });
  try {
    if (bootstrap.length > 0) await waitForDht(world, station.connection);
  } catch (error) {
    await station.stop();
    throw error;
  }
  return { connection: station.connection, isPrivate: true, close: () => station.stop() };
}

function introduction({ state }: StationArguments, dhtOnly: boolean): string {
  if (dhtOnly) return 'starting a node for this command';
  return state === undefined
    ? 'no station runs here: starting one for this command'
    : `starting a station for this command, identity in ${state}`;
}

async function waitForDht(world: World, connection: ControlConnection): Promise<void> {
  const giveUp = world.clock.now() + DHT_WAIT_MS;
  while (world.clock.now() < giveUp) {
    const { dht } = await connection.request('status', {});
    if (dht.state === 'connected') return;
    await sleep(world, DHT_POLL_MS);
  }
}

/** What was said, else the station that runs here, else what the configuration says. */
function bootstrapFor(
  given: readonly string[] | undefined,
  neighbour: StatusResult | undefined,
  config: Config,
): readonly HostPort[] {
  if (given !== undefined) return given.map((text) => parseHostPort(text, 4222));
  if (neighbour === undefined) return config.dht.bootstrap;
  const { host, port } = parseHostPort(neighbour.dht.address, 4222);
  return [{ host: isUnspecified(host) ? '127.0.0.1' : host, port }];
}

/** Bound to every address: then it is at ours, too. */
function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || /^[0:]+$/.test(host);
}

function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
