import type { Clock } from './base/clock.ts';
import { errorText } from './base/errors.ts';
import type { Logger } from './base/log.ts';
import type { Random } from './base/random.ts';
import { VERSION } from './base/version.ts';
import type { Config } from './config/config.ts';
import type { StatusResult } from './control/protocol.ts';
import type { AgentCommand, AgentEvent, CommandResult } from './events.ts';
import type { Identity } from './identity/identity.ts';

/** The MQTT side as configured: none, a client, or a client with a broker of our own. */
export interface MqttPart {
  /** For a person. */
  readonly description: string;
  readonly status: () => NonNullable<StatusResult['mqtt']>;
  readonly stats: () => Readonly<Record<string, number>>;
  publish(event: AgentEvent): void;
  /** About a second at most. */
  stop(): Promise<void>;
}

export interface MqttPartDeps {
  readonly identity: Identity;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly handle: (command: AgentCommand) => Promise<CommandResult>;
}

const OFF: MqttPart = {
  description: 'off',
  status: () => ({ mode: 'off', url: '', connected: false }),
  stats: () => ({}),
  publish: () => {},
  stop: async () => {},
};

/**
 * A broker that cannot be started is a warning: the door works without it.
 * @throws {AgentError} as `createMqtt`, for what a person must mend
 */
export async function startMqtt(config: Config, deps: MqttPartDeps): Promise<MqttPart> {
  const { enabled, embedded, base, username, passwordFile, caFile } = config.mqtt;
  if (!enabled) return OFF;
  const { identity, logger, clock, random, handle } = deps;
  const broker = embedded ? await startEmbedded(config.mqtt.url, logger) : undefined;
  const url = broker?.url ?? config.mqtt.url;
  const { createMqtt } = await import('./mqtt/client.ts');
  const client = createMqtt({
    config: {
      url,
      base,
      ...(username !== undefined && { username }),
      ...(passwordFile !== undefined && { passwordFile }),
      ...(caFile !== undefined && { caFile }),
      acceptPlaintext: true, // config/rules.ts asked for a line of its own where that leaves the machine
    },
    node: config.node,
    info: { version: VERSION, stationId: identity.accountId },
    privacy: config.privacy,
    clock,
    random,
    logger,
    handle,
  });
  client.start();
  return {
    description: embedded ? `embedded broker at ${url} (this machine only)` : url,
    status: () => ({
      mode: embedded ? 'embedded' : 'client',
      url,
      connected: client.state() === 'connected',
    }),
    stats: () => ({ ...client.stats(), ...prefixed('broker_', broker?.stats() ?? {}) }),
    publish: (event) => client.publish(event),
    stop: async () => {
      await client.stop();
      await broker?.close();
    },
  };
}

async function startEmbedded(
  url: string,
  logger: Logger,
): Promise<
  { url: string; close(): Promise<void>; stats(): Readonly<Record<string, number>> } | undefined
> {
  const { hostname, port } = new URL(url);
  try {
    const { startBroker } = await import('./mqtt/broker.ts');
    const host = hostname.replace(/^\[|\]$/g, '');
    const broker = await startBroker({ host, port: port === '' ? 1883 : Number(port) });
    if (broker.notice !== undefined) logger.warn(broker.notice);
    return {
      url: `mqtt://${hostname}:${broker.port}`,
      close: () => broker.close(),
      stats: () => broker.stats(),
    };
  } catch (error) {
    logger.warn('the embedded broker did not start', { why: errorText(error) });
    return undefined;
  }
}

function prefixed(
  prefix: string,
  stats: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(stats).map(([key, value]) => [prefix + key, value]));
}
