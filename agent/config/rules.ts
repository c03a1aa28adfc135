import { isIP } from 'node:net';
import type { Settings } from './schema.ts';

/** What single keys cannot say: rules over two keys. Settings are valid key by key when they come here. */

export interface RuleProblem {
  readonly path: readonly (string | number)[];
  readonly reason: string;
}

/** Whether `host` of a URL is this machine, told without asking a name server. */
export function isLoopbackHost(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(host);
}

function isLoopbackIp(ip: string): boolean {
  return isLoopbackHost(isIP(ip) === 6 ? `[${ip}]` : ip);
}

export function brokenRules(settings: Settings): RuleProblem[] {
  return [
    ...dhtRules(settings),
    ...audioRules(settings),
    ...mqttRules(settings),
    ...contactRules(settings),
  ];
}

function* dhtRules({ dht }: Settings): Generator<RuleProblem> {
  if (dht.bind6 !== undefined && isIP(dht.bind) === 6) {
    yield { path: ['dht', 'bind6'], reason: 'is one too many: "bind" is an IPv6 address already' };
  }
  const reachable = [dht.bind, dht.bind6].some((ip) => ip !== undefined && !isLoopbackIp(ip));
  if (dht.peer_discovery === 'on' && !reachable) {
    yield {
      path: ['dht', 'peer_discovery'],
      reason: `finds nobody: "bind" is ${dht.bind}, this machine alone. Write bind: 0.0.0.0 to be reached by others`,
    };
  }
}

function* audioRules({ audio }: Settings): Generator<RuleProblem> {
  if (audio.device === 'file' && audio.input === undefined && audio.output === undefined) {
    yield {
      path: ['audio', 'device'],
      reason: 'file needs "input", a WAV file to play, or "output", one to write',
    };
  }
}

function* mqttRules({ mqtt }: Settings): Generator<RuleProblem> {
  if (!mqtt.enabled) return;
  const embedded = mqtt.embedded ?? mqtt.url === undefined;
  const url = mqtt.url === undefined ? undefined : new URL(mqtt.url);
  const isLoopback = url === undefined || isLoopbackHost(url.hostname);
  if (!embedded && url === undefined) {
    yield {
      path: ['mqtt', 'embedded'],
      reason:
        'is false and there is no "url": name a broker, or switch MQTT off with "enabled: false"',
    };
  }
  if (embedded && url !== undefined && (!isLoopback || url.protocol === 'mqtts:')) {
    yield {
      path: ['mqtt', 'url'],
      reason:
        'the embedded broker listens on this machine only: write mqtt://127.0.0.1:1883, or drop "embedded"',
    };
  } else if (url?.protocol === 'mqtt:' && !isLoopback && !mqtt.accept_plaintext) {
    yield {
      path: ['mqtt', 'url'],
      reason:
        'has no encryption and leaves this machine: use mqtts://, or set "accept_plaintext: true"',
    };
  }
  if (mqtt.ca_file !== undefined && url?.protocol !== 'mqtts:') {
    yield { path: ['mqtt', 'ca_file'], reason: 'is only for a broker with TLS (mqtts://)' };
  }
  if (mqtt.password_file !== undefined && mqtt.username === undefined) {
    yield { path: ['mqtt', 'password_file'], reason: 'needs "username"' };
  }
}

function* contactRules({ contacts }: Settings): Generator<RuleProblem> {
  const nameOf = new Map<string, string>();
  for (const [name, { id }] of Object.entries(contacts)) {
    const other = nameOf.get(id.toLowerCase());
    if (other !== undefined) {
      yield { path: ['contacts', name, 'id'], reason: `is already the id of "${other}"` };
    }
    nameOf.set(id.toLowerCase(), name);
  }
}
