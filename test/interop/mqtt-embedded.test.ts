import { spawn } from 'node:child_process';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { generate } from 'mqtt-packet';
// @ts-expect-error: internal to the package, without types
import numberTable from 'mqtt-packet/numbers.js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { systemRandom } from '../../agent/base/random.ts';
import type { AgentCommand } from '../../agent/events.ts';
import { type EmbeddedBroker, startBroker } from '../../agent/mqtt/broker.ts';
import { createMqtt } from '../../agent/mqtt/client.ts';
import {
  BROKER_CLIENTS,
  BROKER_RETAINED_BYTES,
  BROKER_SUBSCRIPTIONS,
  PACKET_BYTES,
} from '../../agent/mqtt/limits.ts';
import { exited, linesOf, publish, run, subscribe } from '../mqtt/mosquitto.ts';
import { incoming, info, topics } from '../mqtt/samples.ts';
import { until } from './until.ts';

/** The embedded broker, driven by mosquitto's clients and by bytes. */

const PORT = 46430;
let broker: EmbeddedBroker;
const sockets: Socket[] = [];

beforeEach(async () => {
  broker = await startBroker({ port: PORT });
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await broker.close();
});

async function open(): Promise<Socket> {
  const socket = connect(PORT, '127.0.0.1');
  socket.on('error', () => {});
  sockets.push(socket);
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

const hello = (clientId: string) =>
  generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId, keepalive: 0 });

describe('the embedded broker', () => {
  test('carries a station: states, events, commands, results', async () => {
    const commands: AgentCommand[] = [];
    const mqtt = createMqtt({
      config: { url: `mqtt://127.0.0.1:${broker.port}`, base: 'doorward' },
      node: 'front',
      info,
      privacy: { publishMessageText: false },
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      handle: async (command) => {
        commands.push(command);
        return { code: 'accepted', message: 'on it' };
      },
    });
    mqtt.start();
    await until(() => mqtt.state() === 'connected');
    const watcher = await subscribe(PORT, 'doorward/#');
    mqtt.publish(incoming);
    await publish(PORT, 'doorward/front/cmd/call', '{"id":"1","to":"alice"}');
    await until(() => watcher.payloads('doorward/front/result/call').length === 1);
    await until(() => watcher.payloads(topics.callEvent).length === 1);
    expect(commands).toEqual([{ type: 'call', to: 'alice' }]);
    expect(watcher.payloads(topics.availability)).toEqual(['online']);
    expect(mqtt.stats()).toMatchObject({ protocolVersion: 4, storesLost: 0 });
    // The table of numbers that mqtt-packet fills with its first packet, unless told not to.
    expect(Object.keys(numberTable.cache)).toHaveLength(0);
    await mqtt.stop();
    await until(() => watcher.payloads(topics.availability).at(-1) === 'offline');
    await watcher.close();
  });

  test('publishes the will of a client that dies', async () => {
    const watcher = await subscribe(PORT, 'will');
    const dying = await subscribe(PORT, 'x', '--will-topic', 'will', '--will-payload', 'gone');
    await dying.close();
    await until(() => watcher.payloads('will').length === 1);
    await watcher.close();
  });

  test('takes a free port when its own is taken, and says so', async () => {
    const second = await startBroker({ port: PORT });
    expect(second.port).not.toBe(PORT);
    expect(second.notice).toBe(
      `port ${PORT} is taken, the broker listens on 127.0.0.1:${second.port}`,
    );
    expect(broker.notice).toBeUndefined();
    await publish(second.port, 'a', 'b', '-r');
    expect(await run('mosquitto_sub', '-p', `${second.port}`, '-t', 'a', '-C', '1')).toBe('b');
    await second.close();
  });

  test('listens on loopback only', async () => {
    await expect(startBroker({ port: 0, host: '0.0.0.0' })).rejects.toMatchObject({
      code: 'broker-host',
    });
  });

  test('ends within a second with clients connected, and frees its port', async () => {
    const watcher = await subscribe(PORT, '#');
    await open();
    (await open()).write(hello('one'));
    await sleep(50);
    const before = performance.now();
    await Promise.all([broker.close(), broker.close()]);
    expect(performance.now() - before).toBeLessThan(1_000);
    await watcher.close();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(PORT, '127.0.0.1', resolve));
    await new Promise((resolve) => server.close(resolve));
  });

  test('keeps no session: who was away finds no old command', async () => {
    const session = ['-p', `${PORT}`, '-t', 'cmd', '-q', '1', '-i', 'keeper', '-c'];
    await run('mosquitto_sub', ...session, '-E');
    await publish(PORT, 'cmd', 'OPEN', '-q', '1');
    expect(await run('mosquitto_sub', ...session, '-W', '1')).not.toContain('OPEN');
  });
});

describe('its bounds', () => {
  test('a packet that is too large ends its connection at the header', async () => {
    const socket = await open();
    socket.write(hello('big'));
    const huge = generate({
      cmd: 'publish',
      topic: 'a',
      payload: Buffer.alloc(PACKET_BYTES),
      qos: 0,
      retain: false,
      dup: false,
    });
    socket.write(huge.subarray(0, 100));
    await new Promise((resolve) => socket.once('close', resolve));
    expect(broker.stats()).toMatchObject({ packetsTooLarge: 1 });
    expect(await publish(PORT, 'a', 'still there')).toBe('');
  });

  test('garbage ends its connection and nothing else', async () => {
    const watcher = await subscribe(PORT, '#');
    for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\x00'.repeat(64), '\x10\x05MQTT!']) {
      const socket = await open();
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.end(Buffer.from(bytes, 'latin1'));
      await closed;
    }
    await publish(PORT, 'a', 'b');
    await until(() => watcher.payloads('a').length === 1);
    await watcher.close();
  });

  test('so many connections, then no more', async () => {
    for (let i = 0; i < BROKER_CLIENTS; i++) await open();
    const refused = await open();
    await new Promise((resolve) => refused.once('close', resolve));
    expect(broker.stats()['connectionsRefused']).toBe(1);
  });

  test('so much is retained, then the publisher is sent away', async () => {
    const payload = 'x'.repeat(100_000);
    let kept = 0;
    for (let i = 0; i * payload.length < BROKER_RETAINED_BYTES * 1.2; i++) {
      const socket = await open();
      socket.write(hello(`p${i}`));
      const packet = { cmd: 'publish', topic: `r/${i}`, payload, retain: true } as const;
      const before = broker.stats()['retainedTopics'] ?? 0;
      const refusedBefore = broker.stats()['retainedRefused'] ?? 0;
      socket.write(generate({ ...packet, qos: 0, dup: false }));
      await until(
        () =>
          broker.stats()['retainedTopics'] !== before ||
          broker.stats()['retainedRefused'] !== refusedBefore,
      );
      if (broker.stats()['retainedTopics'] !== before) kept++;
      socket.destroy();
    }
    expect(kept).toBe(Math.floor(BROKER_RETAINED_BYTES / (payload.length + 4)));
    expect(broker.stats()['retainedBytes']).toBeLessThanOrEqual(BROKER_RETAINED_BYTES);
  });

  test('so many subscriptions per client; one that ends makes room', async () => {
    const socket = await open();
    socket.write(hello('greedy'));
    const subscribeTo = (topic: string, messageId: number) =>
      generate({ cmd: 'subscribe', messageId, subscriptions: [{ topic, qos: 0 }] });
    for (let i = 0; i <= BROKER_SUBSCRIPTIONS; i++) socket.write(subscribeTo(`t/${i}`, i + 1));
    await until(() => broker.stats()['subscriptionsRefused'] === 1);
    socket.write(generate({ cmd: 'unsubscribe', messageId: 900, unsubscriptions: ['t/0'] }));
    await sleep(50);
    socket.write(subscribeTo('again', 901));
    await sleep(50);
    expect(broker.stats()['subscriptionsRefused']).toBe(1);
  });
});

test('a process that only runs the broker spends nothing on a table of numbers, and ends when it is closed', async () => {
  const script = `
    import { connect } from 'node:net';
    import { startBroker } from './agent/mqtt/broker.ts';
    import numbers from 'mqtt-packet/numbers.js';
    const broker = await startBroker({ port: 0 });
    const socket = connect(broker.port, '127.0.0.1');
    socket.write(Buffer.from('${hello('raw').toString('hex')}', 'hex'));
    const connack = await new Promise((resolve) => socket.once('data', resolve));
    console.log(connack.toString('hex'), Object.keys(numbers.cache).length);
    await broker.close();`;
  const flags = ['--import', 'tsx', '--input-type=module', '-e', script];
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  const output = linesOf(child);
  await exited(child);
  expect(output.lines).toEqual(['20020000 0']);
  expect(child.exitCode).toBe(0);
});
