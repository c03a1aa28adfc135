import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { IClientOptions, IPublishPacket } from 'mqtt';
import type { Endpoint } from './endpoint.ts';
import {
  CONNECT_TIMEOUT_MS,
  DISCONNECT_TIMEOUT_MS,
  INFLIGHT_PUBLISHES,
  KEEPALIVE_S,
  PACKET_BYTES,
} from './limits.ts';
import type { LinkFailure, ProtocolVersion } from './link.ts';
import type { IncomingMessage, OutgoingMessage } from './message.ts';
import { guardPacketSize } from './packet-size.ts';

export interface ConnectionOptions {
  readonly endpoint: Endpoint;
  readonly protocolVersion: ProtocolVersion;
  readonly clientId: string;
  readonly will: OutgoingMessage;
  readonly username?: string;
  readonly password?: string;
  /** PEM; without it the system's authorities are trusted. */
  readonly ca?: string;
}

export interface ConnectionHandlers {
  /** CONNACK says yes. At most once, first. */
  opened(receiveMaximum: number | undefined): void;
  received(message: IncomingMessage): void;
  /** Exactly once, last. */
  closed(failure: LinkFailure): void;
}

/** One connection to a broker, from TCP to its end. The in-memory twin is test/mqtt/memory-broker.ts. */
export interface Connection {
  /** QoS 1. `done` is not called once the connection is gone. */
  publish(message: OutgoingMessage, done: (accepted: boolean) => void): void;
  /** `storedToo` false: no retained messages, and the retain bit of live ones (both MQTT 5 only). */
  subscribe(filter: string, storedToo: boolean, done: (accepted: boolean) => void): void;
  unsubscribe(filter: string): void;
  /** `clean`: with DISCONNECT, so that the will is not published. Resolves when the socket is gone; never rejects. */
  close(clean: boolean): Promise<void>;
}

export type Connect = (options: ConnectionOptions, handlers: ConnectionHandlers) => Connection;

/** CONNACK return codes of 3.1.1 and reason codes of MQTT 5 that tell a person what to mend. */
const REASONS: Record<number, string> = {
  1: 'protocol_version',
  132: 'protocol_version',
  2: 'client_id',
  133: 'client_id',
  4: 'bad_login',
  134: 'bad_login',
  5: 'not_authorized',
  135: 'not_authorized',
  139: 'broker_stops',
  141: 'keepalive',
  142: 'session_taken_over',
};

/** Load the client library; a station without a broker never pays for it. */
export async function loadConnect(): Promise<Connect> {
  // By its default: in a bundle a CommonJS package that is loaded late has no other export.
  const { MqttClient } = (await import('mqtt')).default;

  return (options, handlers) => {
    let socket: Socket | undefined;
    let isOpen = false;
    let isClosed = false;
    let failure: LinkFailure | undefined;

    const client = new MqttClient(() => {
      socket = openSocket(options);
      guardPacketSize(socket, PACKET_BYTES, () => {
        failure ??= { code: 'packet_too_large' };
      });
      return socket;
    }, clientOptions(options));

    client.on('connect', () => {
      isOpen = true;
      handlers.opened(client.serverProperties?.receiveMaximum);
    });
    client.on('message', (topic, payload, packet) => {
      handlers.received(incoming(topic, payload, packet));
    });
    client.on('disconnect', ({ reasonCode }) => {
      failure ??= { code: reasonName(reasonCode ?? 0) };
    });
    client.on('error', (error) => {
      failure ??= describe(error, !isOpen);
      // Not every error ends the stream by itself, a parser's does not.
      socket?.destroy();
    });
    client.on('close', () => {
      if (isClosed) return;
      isClosed = true;
      handlers.closed(
        failure ?? { code: 'closed', ...(!isOpen && { versionRefused: 'maybe' as const }) },
      );
    });

    return {
      publish: ({ topic, payload, retain, correlationData }, done) => {
        const properties =
          correlationData === undefined
            ? undefined
            : { correlationData: Buffer.from(correlationData) };
        const settled = (error?: Error | null) => {
          if (!isClosed && client.connected) done(error === undefined || error === null);
        };
        client.publish(
          topic,
          payload,
          { qos: 1, retain, ...(properties !== undefined && { properties }) },
          settled,
        );
      },
      subscribe: (filter, storedToo, done) => {
        // Retain Handling and Retain As Published are left out of a 3.1.1 packet by the library.
        const wishes = storedToo ? { rh: 0 } : { rh: 2, rap: true };
        client.subscribe(filter, { qos: 1, ...wishes }, (error) => {
          if (!isClosed && client.connected) done(error === null);
        });
      },
      unsubscribe: (filter) => {
        client.unsubscribe(filter);
      },
      close: (clean) =>
        new Promise((resolve) => {
          if (isClosed || socket === undefined || socket.destroyed) {
            resolve();
            return;
          }
          socket.once('close', () => resolve());
          if (!clean) {
            client.end(true);
            return;
          }
          const force = setTimeout(() => socket?.destroy(), DISCONNECT_TIMEOUT_MS);
          client.end(false, () => clearTimeout(force));
        }),
    };
  };
}

function clientOptions(options: ConnectionOptions): IClientOptions {
  const { protocolVersion, clientId, will, username, password } = options;
  return {
    protocolVersion,
    clientId,
    // A session that outlived us would replay commands of hours ago, with the retain bit clear.
    clean: true,
    ...(protocolVersion === 5 && {
      properties: {
        sessionExpiryInterval: 0,
        receiveMaximum: INFLIGHT_PUBLISHES,
        maximumPacketSize: PACKET_BYTES,
      },
    }),
    will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: will.retain },
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    keepalive: KEEPALIVE_S,
    connectTimeout: CONNECT_TIMEOUT_MS,
    // Reconnecting, resubscribing and queueing are ours: link.ts, bridge.ts.
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    timerVariant: 'native',
    // The table of all 65,536 two-byte numbers costs 10 MB and more: test/bench/mqtt.ts.
    writeCache: false,
  };
}

function openSocket({ endpoint: { host, port, tls }, ca }: ConnectionOptions): Socket {
  if (!tls) return connectTcp({ host, port, noDelay: true });
  // Verification of chain and name is Node's default and cannot be switched off.
  return connectTls({ host, port, ...(ca !== undefined && { ca }) });
}

function incoming(topic: string, payload: Uint8Array, packet: IPublishPacket): IncomingMessage {
  const { responseTopic, correlationData } = packet.properties ?? {};
  return {
    topic,
    payload,
    retain: packet.retain,
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlationData !== undefined && { correlationData }),
  };
}

function reasonName(code: number): string {
  return REASONS[code] ?? `reason_${code}`;
}

function describe(
  error: Error | { readonly code: number | string },
  connecting: boolean,
): LinkFailure {
  const code = 'code' in error ? error.code : undefined;
  if (typeof code === 'number') {
    const name = reasonName(code);
    return name === 'protocol_version' ? { code: name, versionRefused: 'refused' } : { code: name };
  }
  if (code === 'ECONNRESET' && connecting) return { code, versionRefused: 'maybe' };
  if (typeof code === 'string') return { code };
  if (error instanceof Error && /timeout/i.test(error.message)) return { code: 'timeout' };
  // The answer to CONNECT could not be read: perhaps it was written in another version.
  return connecting ? { code: 'bad_packet', versionRefused: 'maybe' } : { code: 'bad_packet' };
}
