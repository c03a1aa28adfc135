import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type HostPort, parseHostPort } from '../base/address.ts';
import { errorCode, errorText } from '../base/errors.ts';
import type { LogLevel } from '../base/log.ts';
import type { Right } from '../events.ts';
import {
  type CheckResult,
  type ConfigProblem,
  checkLayers,
  type EffectiveValue,
  inOrder,
  type Layer,
} from './check.ts';
import { commandLineLayer, environmentLayer, fileLayer } from './layers.ts';
import {
  defaultControl,
  defaultState,
  type Environment,
  MAX_SOCKET_PATH_BYTES,
  SYSTEM_CONFIG,
} from './paths.ts';
import type { Settings } from './schema.ts';

/**
 * The configuration in effect, read once and frozen; parts get their slice. What each key means: config/doorward.yaml.
 * Defaults < file < environment < command line.
 */
export interface Config {
  readonly version: 1;
  readonly node: string;
  /** Absolute path of the state folder. */
  readonly state: string;
  /** Absolute path of the control socket. */
  readonly control: string;
  readonly dht: DhtConfig;
  readonly audio: AudioConfig;
  readonly mqtt: MqttConfig;
  readonly ice: IceConfig;
  readonly contacts: readonly ConfiguredContact[];
  readonly log: { readonly level: LogLevel };
  readonly privacy: { readonly publishMessageText: boolean };
}

export interface DhtConfig {
  /** IP address. */
  readonly bind: string;
  /** IPv6 address to listen on as well. */
  readonly bind6?: string;
  /** 0: any free port. */
  readonly port: number;
  readonly network: number;
  readonly bootstrap: readonly HostPort[];
  /** false: queries are answered however many come. */
  readonly rateLimit: boolean;
  /** true: find nodes of the local network by multicast, and be found. */
  readonly peerDiscovery: boolean;
  /** Hand values of others over to closer nodes, and all of them at the end. */
  readonly republish: boolean;
  /** Use the network without being a node that others count on. */
  readonly client: boolean;
}

export interface AudioConfig {
  readonly device: 'alsa' | 'file' | 'tone' | 'null';
  readonly card: string;
  readonly input?: string;
  readonly output?: string;
}

export interface MqttConfig {
  /** false: no MQTT; the rest does not count. */
  readonly enabled: boolean;
  /** true: start a broker that listens at `url`, a loopback address. */
  readonly embedded: boolean;
  /** `mqtt://host:port` or `mqtts://host:port` */
  readonly url: string;
  readonly base: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly caFile?: string;
}

export interface TurnServer extends HostPort {
  readonly username: string;
  readonly passwordFile: string;
}

export interface IceConfig {
  readonly stun: readonly HostPort[];
  readonly turn: readonly TurnServer[];
}

export interface ConfiguredContact {
  readonly name: string;
  /** 40 lower-case hex digits. */
  readonly id: string;
  readonly can: readonly Right[];
}

export interface ConfigSources {
  /** `-c`. */
  readonly file?: string | undefined;
  /** Read when there is no `file` and this exists. Default: /etc/doorward/doorward.yaml. */
  readonly systemFile?: string;
  readonly environment: Environment;
  /** `--set key=value`, in order. */
  readonly settings?: readonly string[] | undefined;
  /** Relative paths in environment and command line count from here. */
  readonly workingFolder: string;
  /** Default: the file system. */
  readonly read?: (path: string) => Promise<string>;
}

export type LoadedConfig =
  | {
      readonly ok: true;
      readonly config: Config;
      /** The file that was read. */
      readonly file: string | undefined;
      /** Each key in the order of the file, with its value and where that came from. */
      readonly effective: readonly EffectiveValue[];
    }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

const DEFAULT_BROKER_URL = 'mqtt://127.0.0.1:1883';
const DEFAULT_DHT_PORT = 4222;
const DEFAULT_STUN_PORT = 3478;

/** Read and check every source. Nothing that a person wrote wrongly is thrown: it comes back as problems. */
export async function loadConfig(sources: ConfigSources): Promise<LoadedConfig> {
  const { environment, workingFolder } = sources;
  const problems: ConfigProblem[] = [];
  const layers: Layer[] = [];

  const file = await readConfigFile(sources, problems);
  if (file !== undefined) {
    // `yaml` costs the process 2 to 9 MB: only who has a file pays.
    const { readConfigText } = await import('./file.ts');
    const tree = readConfigText(file.text);
    layers.push(fileLayer(file.name, workingFolder, tree));
    for (const { place, path, reason } of tree.problems) {
      problems.push({ source: file.name, place, path, reason });
    }
  }
  for (const text of [
    environmentLayer(environment, workingFolder),
    commandLineLayer(sources.settings ?? [], workingFolder),
  ]) {
    layers.push(text.layer);
    problems.push(...text.problems);
  }

  const result = withPlaces(checkLayers(layers), environment);
  if (!result.ok) return { ok: false, problems: inOrder([...problems, ...result.problems]) };
  if (problems.length > 0) return { ok: false, problems };
  return {
    ok: true,
    config: freeze(toConfig(result.settings, environment)),
    file: file?.name,
    effective: result.effective,
  };
}

/** One line per problem, and the last line that says what it means. */
export function formatProblems(problems: readonly ConfigProblem[]): string {
  const lines = problems.map(({ source, place, path, reason }) => {
    const where = place === undefined ? source : `${source}:${place.line}:${place.column}`;
    return path === '' ? `${where}  ${reason}` : `${where}  ${path}: ${reason}`;
  });
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  return [...lines, `${count}, nothing was started.`].join('\n');
}

async function readConfigFile(
  sources: ConfigSources,
  problems: ConfigProblem[],
): Promise<{ name: string; text: string } | undefined> {
  const name = sources.file ?? sources.systemFile ?? SYSTEM_CONFIG;
  const read = sources.read ?? ((path) => readFile(path, 'utf8'));
  try {
    return { name, text: await read(resolve(sources.workingFolder, name)) };
  } catch (error) {
    const code = errorCode(error);
    // Not named, and not there or not for us: then it is not ours. Who may not read it runs a station of their own.
    if (sources.file === undefined && (code === 'ENOENT' || code === 'EACCES')) return undefined;
    const reason = code === 'ENOENT' ? 'there is no such file' : errorText(error);
    problems.push({ source: name, path: '', reason: `cannot be read: ${reason}` });
    return undefined;
  }
}

/** Fill in the paths that depend on the environment, and check what they came to. */
function withPlaces(result: CheckResult, environment: Environment): CheckResult {
  if (!result.ok) return result;
  const state = result.settings.state ?? defaultState(environment);
  const control = result.settings.control ?? defaultControl(environment, state);
  if (Buffer.byteLength(control) > MAX_SOCKET_PATH_BYTES) {
    const reason = `is longer than the ${MAX_SOCKET_PATH_BYTES} bytes that the path of a socket may have`;
    return { ok: false, problems: [{ source: control, path: 'control', reason }] };
  }
  const filled: Readonly<Record<string, unknown>> = {
    state,
    control,
    ...(result.settings.mqtt.url === undefined && { 'mqtt.url': DEFAULT_BROKER_URL }),
    'mqtt.embedded': result.settings.mqtt.embedded ?? result.settings.mqtt.url === undefined,
  };
  const effective = result.effective.map((item) =>
    item.path in filled ? { ...item, value: filled[item.path] } : item,
  );
  return { ...result, effective };
}

function toConfig(settings: Settings, environment: Environment): Config {
  const { audio, dht, ice, mqtt } = settings;
  const state = settings.state ?? defaultState(environment);
  return {
    version: settings.version,
    node: settings.node,
    state,
    control: settings.control ?? defaultControl(environment, state),
    dht: {
      bind: dht.bind,
      ...(dht.bind6 !== undefined && { bind6: dht.bind6 }),
      port: dht.port,
      network: dht.network,
      bootstrap: dht.bootstrap.map((text) => parseHostPort(text, DEFAULT_DHT_PORT)),
      rateLimit: dht.rate_limit === 'on',
      peerDiscovery: dht.peer_discovery === 'on',
      republish: dht.republish === 'on',
      client: dht.client === 'on',
    },
    audio: {
      device: audio.device ?? 'null',
      card: audio.card,
      ...(audio.input !== undefined && { input: audio.input }),
      ...(audio.output !== undefined && { output: audio.output }),
    },
    mqtt: {
      enabled: mqtt.enabled,
      embedded: mqtt.embedded ?? mqtt.url === undefined,
      url: mqtt.url ?? DEFAULT_BROKER_URL,
      base: mqtt.base,
      ...(mqtt.username !== undefined && { username: mqtt.username }),
      ...(mqtt.password_file !== undefined && { passwordFile: mqtt.password_file }),
      ...(mqtt.ca_file !== undefined && { caFile: mqtt.ca_file }),
    },
    ice: {
      stun: ice.stun.map((text) => parseHostPort(text, DEFAULT_STUN_PORT)),
      turn: ice.turn.map(({ host, username, password_file }) => ({
        ...parseHostPort(host, DEFAULT_STUN_PORT),
        username,
        passwordFile: password_file,
      })),
    },
    contacts: Object.entries(settings.contacts).map(([name, { id, can }]) => ({
      name,
      id: id.toLowerCase(),
      can: [...new Set(can)],
    })),
    log: settings.log,
    privacy: { publishMessageText: settings.privacy.publish_message_text },
  };
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(freeze);
    Object.freeze(value);
  }
  return value;
}
