import { EventEmitter } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { AgentError, errorCode, errorText } from '../base/errors.ts';
import { isLoopback } from './endpoint.ts';
import {
  BROKER_CLIENTS,
  BROKER_CLOSE_MS,
  BROKER_INFLIGHT_QOS2,
  BROKER_PATIENCE_MS,
  BROKER_RETAINED_BYTES,
  BROKER_RETAINED_TOPICS,
  BROKER_SUBSCRIPTIONS,
  PACKET_BYTES,
} from './limits.ts';
import { guardPacketSize } from './packet-size.ts';
import { RetainedBudget } from './retained-budget.ts';

export interface BrokerOptions {
  /** 0: any free one. */
  readonly port: number;
  /** Loopback only: whoever reaches this broker may command the station. */
  readonly host?: string;
}

export interface EmbeddedBroker {
  readonly port: number;
  /** One line for a person when it is not the port that was asked for. */
  readonly notice: string | undefined;
  /** Ends within 1 s, with clients connected too. Idempotent, never rejects. */
  close(): Promise<void>;
  stats(): Readonly<Record<string, number>>;
}

/**
 * A broker inside the station, so that it works with none configured: MQTT 3.1.1, loopback, no users, nothing kept over
 * a restart, and no sessions: whoever was away finds the retained topics and no old commands.
 * @throws {AgentError} `broker-host` (not loopback), `broker-listen`
 */
export async function startBroker(options: BrokerOptions): Promise<EmbeddedBroker> {
  const host = options.host ?? '127.0.0.1';
  if (!isLoopback(host)) {
    throw new AgentError(
      'broker-host',
      `the embedded broker has no passwords and cannot listen on ${host}`,
      'run mosquitto with users for other machines, and name it in mqtt.url',
    );
  }
  const [{ Aedes }, { default: mqttPacket }] = await Promise.all([
    import('aedes'),
    // By its default: in a bundle a CommonJS package that is loaded late has no other export.
    import('mqtt-packet'),
  ]);
  // Shared with the client: see clientOptions in connection.ts.
  mqttPacket.writeToStream.cacheNumbers = false;

  const budget = new RetainedBudget(BROKER_RETAINED_TOPICS, BROKER_RETAINED_BYTES);
  const subscriptions = new WeakMap<object, Set<string>>();
  const counters = {
    clientErrors: 0,
    brokerErrors: 0,
    packetsTooLarge: 0,
    subscriptionsRefused: 0,
    connectionsRefused: 0,
  };

  const aedes = await Aedes.createBroker({
    connectTimeout: BROKER_PATIENCE_MS,
    drainTimeout: BROKER_PATIENCE_MS,
    maxInflightInbound: BROKER_INFLIGHT_QOS2,
    preConnect: (_client, packet, done) => {
      packet.clean = true;
      done(null, true);
    },
    authorizePublish: (_client, packet, done) => {
      if (packet.topic.startsWith('$')) done(new Error('reserved topic'));
      else if (packet.retain && !budget.admit(packet.topic, packet.payload.length)) {
        done(new Error('too much is retained'));
      } else done(null);
    },
    authorizeSubscribe: (client, subscription, done) => {
      const filters = subscriptions.get(client) ?? new Set();
      subscriptions.set(client, filters);
      if (filters.size < BROKER_SUBSCRIPTIONS) filters.add(subscription.topic);
      if (filters.has(subscription.topic)) {
        done(null, subscription);
      } else {
        counters.subscriptionsRefused++;
        done(null, null);
      }
    },
  });
  aedes.on('unsubscribe', (filters, client) => {
    for (const filter of filters) subscriptions.get(client)?.delete(filter);
  });
  const onClientError = () => {
    counters.clientErrors++;
  };
  aedes.on('clientError', onClientError);
  aedes.on('connectionError', onClientError);
  const onBrokerError = () => {
    counters.brokerErrors++;
  };
  EventEmitter.prototype.on.call(aedes, 'error', onBrokerError);

  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    aedes.handle(socket);
    guardPacketSize(socket, PACKET_BYTES, () => {
      counters.packetsTooLarge++;
    });
  });
  server.maxConnections = BROKER_CLIENTS;
  server.on('drop', () => {
    counters.connectionsRefused++;
  });

  const { port, notice } = await listen(server, options.port, host);
  // From here on an error is one of accepting, such as too many open files.
  server.on('error', onBrokerError);
  let closing: Promise<void> | undefined;

  return {
    port,
    notice,
    close: () => {
      closing ??= new Promise((resolve) => {
        const force = setTimeout(() => {
          for (const socket of sockets) socket.destroy();
        }, BROKER_CLOSE_MS);
        server.close(() => {
          clearTimeout(force);
          resolve();
        });
        // Closes each client, wills included; connections without CONNECT are no clients yet.
        aedes.close(() => {
          for (const socket of sockets) socket.destroy();
        });
      });
      return closing;
    },
    stats: () => ({
      ...counters,
      clients: aedes.connectedClients,
      retainedTopics: budget.topics,
      retainedBytes: budget.bytes,
      retainedRefused: budget.refused,
    }),
  };
}

async function listen(
  server: Server,
  port: number,
  host: string,
): Promise<{ port: number; notice: string | undefined }> {
  try {
    return { port: await bind(server, port, host), notice: undefined };
  } catch (error) {
    if (errorCode(error) !== 'EADDRINUSE') throw listenError(error, host, port);
  }
  try {
    const free = await bind(server, 0, host);
    return { port: free, notice: `port ${port} is taken, the broker listens on ${host}:${free}` };
  } catch (error) {
    throw listenError(error, host, 0);
  }
}

function bind(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.removeListener('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

function listenError(error: unknown, host: string, port: number): AgentError {
  return new AgentError(
    'broker-listen',
    `the embedded broker cannot listen on ${host}:${port}: ${errorText(error)}`,
    undefined,
    { cause: error },
  );
}
