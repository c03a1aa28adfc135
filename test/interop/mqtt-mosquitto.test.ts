import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../agent/base/clock.ts';
import { createLogger } from '../../agent/base/log.ts';
import { systemRandom } from '../../agent/base/random.ts';
import type { AgentCommand } from '../../agent/events.ts';
import { createMqtt, type Mqtt, type MqttConfig } from '../../agent/mqtt/client.ts';
import { type Connect, loadConnect } from '../../agent/mqtt/connection.ts';
import type { ProtocolVersion } from '../../agent/mqtt/link.ts';
import { exited, linesOf, Mosquitto, publish, run, subscribe } from '../mqtt/mosquitto.ts';
import { incoming, info, topics } from '../mqtt/samples.ts';
import { until } from './until.ts';

/** The driver and real mosquitto 2.0. */

const PORT = 46410;
const SILENT_PORT = 46411;
const STRICT_PORT = 46412;
const url = `mqtt://127.0.0.1:${PORT}`;

let broker: Mosquitto;
const stations: Mqtt[] = [];
const endings: (() => Promise<void>)[] = [];

beforeEach(async () => {
  broker = new Mosquitto(PORT);
  await broker.start();
});

afterEach(async () => {
  for (const station of stations.splice(0)) await station.stop();
  for (const end of endings.splice(0)) await end();
  await broker.remove();
});

interface Station {
  readonly mqtt: Mqtt;
  readonly commands: AgentCommand[];
  log(): string;
}

function start(config: Partial<MqttConfig> = {}, onlyVersion?: ProtocolVersion): Station {
  let log = '';
  const commands: AgentCommand[] = [];
  const pinned = async (): Promise<Connect> => {
    const connect = await loadConnect();
    return (options, handlers) =>
      connect({ ...options, ...(onlyVersion && { protocolVersion: onlyVersion }) }, handlers);
  };
  const mqtt = createMqtt({
    config: { url, base: 'doorward', ...config },
    node: 'front',
    info,
    privacy: { publishMessageText: false },
    clock: systemClock,
    random: systemRandom,
    logger: createLogger({
      level: 'debug',
      journal: true,
      write: (line) => {
        log += line;
      },
      unixMs: systemClock.unixMs,
    }),
    handle: async (command) => {
      commands.push(command);
      return { code: 'accepted', message: 'on it', data: { call_id: 'x' } };
    },
    loadConnect: pinned,
  });
  stations.push(mqtt);
  mqtt.start();
  return { mqtt, commands, log: () => log };
}

async function watch(filter: string, ...args: string[]) {
  const subscriber = await subscribe(PORT, filter, ...args);
  endings.push(subscriber.close);
  return subscriber;
}

function startProcess() {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/mqtt/station.ts', url], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endings.push(async () => {
    child.kill('SIGKILL');
    await exited(child);
  });
  return { child, output: linesOf(child) };
}

const isOnline = (station: Station) => until(() => station.mqtt.state() === 'connected');

describe('connecting', () => {
  test('the order on the wire is subscribe, states, online, what waited', async () => {
    const station = start();
    station.mqtt.publish(incoming);
    await until(() => broker.log.some((line) => line.includes(topics.callEvent)));
    const received = broker.log
      .filter((line) => /Received (SUBSCRIBE|PUBLISH) from doorward/.test(line))
      .map((line) => /'([^']+)'/.exec(line)?.[1] ?? 'subscribe');
    expect(received.slice(0, 6)).toEqual([
      'subscribe',
      topics.info,
      topics.callState,
      topics.netState,
      topics.availability,
      topics.callEvent,
    ]);
    expect(broker.log.join('\n')).toMatch(/as doorward-fedcba98 \(p5, c1, k30\)/);
  });

  test('a newcomer finds states retained and no event', async () => {
    const station = start();
    station.mqtt.publish(incoming);
    await until(() => broker.log.some((line) => line.includes(topics.callEvent)));
    const late = await watch('doorward/#');
    await until(() => late.deliveries().length >= 4);
    await sleep(100);
    expect(late.deliveries().map(({ topic, retain }) => [topic, retain])).toEqual(
      expect.arrayContaining([
        [topics.availability, true],
        [topics.info, true],
        [topics.callState, true],
        [topics.netState, true],
      ]),
    );
    expect(late.deliveries()).toHaveLength(4);
  });

  test('a clean stop says offline once and leaves no will behind', async () => {
    const station = start();
    await isOnline(station);
    const watcher = await watch(topics.availability);
    const before = performance.now();
    await station.mqtt.stop();
    expect(performance.now() - before).toBeLessThan(500);
    await until(() => watcher.payloads(topics.availability).at(-1) === 'offline');
    await sleep(200);
    expect(watcher.payloads(topics.availability)).toEqual(['online', 'offline']);
  });

  test('a broker that has frozen does not hold up the stop', async () => {
    const station = start();
    await isOnline(station);
    broker.kill('SIGSTOP');
    const before = performance.now();
    await station.mqtt.stop();
    expect(performance.now() - before).toBeLessThan(1_300);
    broker.kill('SIGCONT');
    const watcher = await watch(topics.availability);
    await until(() => watcher.payloads(topics.availability).at(-1) === 'offline');
  });

  test('something that listens and never answers is given up, and stopping does not wait for it', async () => {
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(SILENT_PORT, '127.0.0.1', resolve));
    endings.push(async () => {
      server.close();
    });
    const station = start({ url: `mqtt://127.0.0.1:${SILENT_PORT}` });
    await until(() => station.log().includes('code=timeout'), 15_000);
    expect(station.mqtt.state()).not.toBe('connected');
    const before = performance.now();
    await station.mqtt.stop();
    expect(performance.now() - before).toBeLessThan(300);
  });
});

describe('a station that dies', () => {
  test('is offline for everybody at once, by its will', async () => {
    const { child, output } = startProcess();
    await output.waitFor((line) => line.includes('connected to the broker'), 20_000);
    const watcher = await watch(topics.availability);
    await until(() => watcher.payloads(topics.availability).at(-1) === 'online');
    child.kill('SIGKILL');
    await until(() => watcher.payloads(topics.availability).at(-1) === 'offline', 2_000);
  });

  test('does not carry out afterwards what was ordered while it was away', async () => {
    const first = startProcess();
    await first.output.waitFor((line) => line.includes('connected to the broker'), 20_000);
    first.child.kill('SIGKILL');
    await exited(first.child);
    await publish(PORT, 'doorward/front/cmd/call', '{"id":"old","to":"alice"}', '-q', '1');
    const second = startProcess();
    await second.output.waitFor((line) => line.includes('connected to the broker'), 20_000);
    await publish(PORT, 'doorward/front/cmd/call', '{"id":"new","to":"bob"}', '-q', '1');
    await second.output.waitFor((line) => line.includes('"bob"'));
    expect(second.output.lines.join('\n')).not.toContain('alice');
  });

  test('ends cleanly on SIGTERM', async () => {
    const { child, output } = startProcess();
    await output.waitFor((line) => line.includes('connected to the broker'), 20_000);
    child.kill('SIGTERM');
    await exited(child);
    expect(child.exitCode).toBe(0);
    expect(broker.log.join('\n')).toContain('Received DISCONNECT from doorward-fedcba98');
  });
});

describe('commands', () => {
  test('are carried out and answered', async () => {
    const station = start();
    await isOnline(station);
    const results = await watch('doorward/front/result/#');
    await publish(PORT, 'doorward/front/cmd/message', '{"id":"7","to":"alice","text":"hi"}');
    await publish(PORT, 'doorward/front/cmd/answer', 'PRESS');
    await publish(PORT, 'doorward/front/cmd/reboot', '{"id":"8"}');
    await until(() => results.deliveries().length >= 2);
    expect(station.commands).toEqual([
      { type: 'message', to: 'alice', text: 'hi' },
      { type: 'answer' },
    ]);
    const result = (verb: string) =>
      results.payloads(`doorward/front/result/${verb}`).map((payload) => JSON.parse(payload));
    expect(result('message')).toMatchObject([
      { id: '7', ok: true, code: 'accepted', data: { call_id: 'x' } },
    ]);
    expect(result('reboot')).toMatchObject([{ id: '8', ok: false, code: 'unknown_verb' }]);
  });

  test('answer a request of MQTT 5 where it asked', async () => {
    const station = start();
    await isOnline(station);
    const reply = await run(
      'mosquitto_rr',
      ...['-p', `${PORT}`, '-V', '5', '-W', '5'],
      ...['-t', 'doorward/front/cmd/hangup', '-e', 'me/reply', '-m', '{"id":"9"}'],
    );
    expect(JSON.parse(reply)).toMatchObject({ id: '9', code: 'accepted' });
  });

  test('delivered twice act once and are answered twice with the same', async () => {
    const station = start();
    await isOnline(station);
    const results = await watch('doorward/front/result/call');
    for (const answers of [1, 2]) {
      await publish(PORT, 'doorward/front/cmd/call', '{"id":"b1f2","to":"alice"}', '-q', '1');
      await until(() => results.deliveries().length === answers);
    }
    expect(station.commands).toHaveLength(1);
    const [first, second] = results.payloads('doorward/front/result/call');
    expect(second).toBe(first);
  });

  test.each([5, 4] as const)('that are retained are refused, with version %i', async (version) => {
    const topic = 'doorward/front/cmd/call';
    await publish(PORT, topic, '{"id":"stored","to":"alice"}', '-r');
    const results = await watch('doorward/front/result/call');
    const station = start({}, version);
    await isOnline(station);
    await publish(PORT, topic, '{"id":"live","to":"alice"}', '-r');
    await until(() => results.payloads('doorward/front/result/call').some((p) => /live/.test(p)));
    const codes = results.deliveries().map(({ payload }) => {
      const { id, code } = JSON.parse(payload);
      return [id, code];
    });
    if (version === 5) {
      expect(codes).toEqual([['live', 'retained']]);
      expect(station.commands).toEqual([]);
    } else {
      // A 3.1.1 broker hides the retain bit of a live publish: it is new, and acts once.
      expect(codes).toEqual([
        ['stored', 'retained'],
        ['live', 'accepted'],
      ]);
      expect(station.commands).toHaveLength(1);
    }
  });

  test('too old by their own time are stale', async () => {
    const station = start();
    await isOnline(station);
    const results = await watch('doorward/front/result/hangup');
    const ts = new Date(Date.now() - 20_000).toISOString();
    await publish(PORT, 'doorward/front/cmd/hangup', `{"id":"1","ts":"${ts}"}`);
    await until(() => results.deliveries().length === 1);
    expect(results.deliveries()[0]?.payload).toContain('"code":"stale"');
    expect(station.commands).toEqual([]);
  });

  test.each([5, 4] as const)(
    'of a size that is no command harm nothing, with version %i',
    async (version) => {
      const station = start({}, version);
      await isOnline(station);
      await run(
        'bash',
        '-c',
        `head -c 2000000 /dev/zero | tr '\\0' a | mosquitto_pub -p ${PORT} -t doorward/front/cmd/call -s`,
      );
      if (version === 4) {
        // 3.1.1 cannot tell the broker a limit: the connection is dropped, and comes back.
        await until(() => station.log().includes('packet_too_large'));
      }
      await sleep(200);
      await isOnline(station);
      await publish(PORT, 'doorward/front/cmd/hangup', '');
      await until(() => station.commands.length === 1);
      expect(station.commands).toEqual([{ type: 'hangup' }]);
    },
  );
});

describe('a broker that goes and comes', () => {
  test('finds the station as it is now, with nobody doing anything', async () => {
    const station = start();
    await isOnline(station);
    await broker.stop('SIGKILL');
    await until(() => station.mqtt.state() === 'offline');
    station.mqtt.publish({ type: 'audio.state', state: 'no_capture' });
    station.mqtt.publish(incoming);
    await sleep(1_500);
    // Without persistence it comes back with an empty store.
    await broker.start();
    const watcher = await watch('doorward/#');
    await until(() => watcher.payloads(topics.availability).at(-1) === 'online', 15_000);
    await until(() => watcher.payloads(topics.callEvent).length === 1);
    expect(watcher.payloads(topics.audioState)).toEqual(['no_capture']);
    expect(watcher.payloads(topics.callState)[0]).toContain('"idle"');
    expect(station.log().match(/no connection to the broker/g)?.length).toBeLessThanOrEqual(2);
  });

  test('is not needed to start', async () => {
    await broker.stop();
    const station = start();
    await until(() => station.log().includes('ECONNREFUSED'));
    station.mqtt.publish(incoming);
    await broker.start();
    await until(() => station.mqtt.state() === 'connected', 15_000);
    await until(() => broker.log.some((line) => line.includes(topics.callEvent)));
  });

  test('that acknowledged and kept nothing gets everything again', async () => {
    // To 3.1.1 an access list that forbids writing looks like this: acknowledged, and dropped.
    const strict = new Mosquitto(STRICT_PORT, [
      'allow_anonymous true',
      `acl_file ${broker.folder}/acl`,
    ]);
    endings.push(() => strict.remove());
    const acl = `${broker.folder}/acl`;
    writeFileSync(acl, 'topic read #\n');
    await strict.start();
    const station = start({ url: `mqtt://127.0.0.1:${STRICT_PORT}` }, 4);
    await isOnline(station);
    writeFileSync(acl, 'topic readwrite #\n');
    strict.kill('SIGHUP');
    await until(() => station.mqtt.stats()['storesLost'] === 1, 6_000);
    await sleep(200);
    const watcher = await subscribe(STRICT_PORT, 'doorward/#');
    endings.push(watcher.close);
    await until(() => watcher.deliveries().length >= 4);
    expect(watcher.payloads(topics.availability)).toEqual(['online']);
    expect(station.log()).toContain('did not keep');
  });
});
