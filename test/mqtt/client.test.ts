import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createLogger } from '../../agent/base/log.ts';
import type { AgentCommand, CommandResult } from '../../agent/events.ts';
import { createMqtt, type Mqtt, type MqttOptions } from '../../agent/mqtt/client.ts';
import { seededRandom } from '../sim/seeded.ts';
import { MemoryBroker } from './memory-broker.ts';
import { incoming, info, topics, UNIX_MS } from './samples.ts';

/** The real driver against the broker in memory, on virtual time. */
describe('createMqtt', () => {
  let broker: MemoryBroker;
  let log: string;
  let commands: AgentCommand[];
  let answer: () => Promise<CommandResult>;

  beforeEach(() => {
    vi.useFakeTimers({ now: UNIX_MS, toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    broker = new MemoryBroker();
    log = '';
    commands = [];
    answer = async () => ({ code: 'accepted', message: 'on it' });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

  function create(overrides: Partial<MqttOptions> = {}): Mqtt {
    return createMqtt({
      config: { url: 'mqtt://127.0.0.1', base: 'doorward' },
      node: 'front',
      info,
      privacy: { publishMessageText: false },
      clock: { now: () => Date.now() - UNIX_MS, unixMs: () => Date.now() },
      random: seededRandom(7),
      logger: createLogger({
        level: 'debug',
        journal: true,
        write: (line) => {
          log += line;
        },
        unixMs: () => 0,
      }),
      handle: (command) => {
        commands.push(command);
        return answer();
      },
      loadConnect: async () => broker.connect,
      ...overrides,
    });
  }

  test('connects, announces, carries out a command and stops clean', async () => {
    const mqtt = create();
    expect(mqtt.state()).toBe('offline');
    mqtt.start();
    expect(mqtt.state()).toBe('connecting');
    await pass(0);
    expect(mqtt.state()).toBe('connected');
    expect(broker.retained.get(topics.availability)).toBe('online');

    broker.publish('doorward/front/cmd/call', '{"id":"b1f2","to":"alice"}');
    await pass(0);
    expect(commands).toEqual([{ type: 'call', to: 'alice' }]);
    expect(broker.published('doorward/front/result/call')).toMatchObject([
      { id: 'b1f2', code: 'accepted' },
    ]);

    const stopped = mqtt.stop();
    await pass(0);
    await stopped;
    expect(broker.retained.get(topics.availability)).toBe('offline');
    expect(broker.seen.at(-1)?.what).toBe('disconnect');
    expect(broker.seen.some(({ what }) => what === 'will')).toBe(false);
  });

  test('gives correlation data back where the requester asked', async () => {
    create().start();
    await pass(0);
    broker.publish('doorward/front/cmd/hangup', '', { responseTopic: 'me/reply' });
    await pass(0);
    expect(broker.published('me/reply')).toMatchObject([{ code: 'accepted' }]);
  });

  test('comes back by itself after a broker that was away for an hour, and lost nothing that counts', async () => {
    const mqtt = create();
    mqtt.start();
    await pass(60_000);
    broker.isDown = true;
    broker.cut();
    expect(mqtt.state()).toBe('offline');
    mqtt.publish({ type: 'audio.state', state: 'no_capture' });
    mqtt.publish(incoming);
    await pass(60 * 60_000);
    broker.isDown = false;
    broker.retained.clear();
    await pass(60_000);
    expect(mqtt.state()).toBe('connected');
    expect([...broker.retained.keys()].sort()).toEqual(
      [
        topics.audioState,
        topics.availability,
        topics.callState,
        topics.info,
        topics.netState,
      ].sort(),
    );
    expect(broker.retained.get(topics.availability)).toBe('online');
    expect(broker.published(topics.callEvent)).toMatchObject([
      { event_type: 'incoming', late: true },
    ]);
    expect(log.split('\n').length).toBeLessThan(15);
  });

  test('publishes everything again for a broker that keeps nothing, and does not loop', async () => {
    broker.isForgetful = true;
    create().start();
    await pass(60_000);
    expect(broker.published(topics.availability)).toEqual(['online', 'online']);
    expect(log).toContain('did not keep');
  });

  test('speaks 3.1.1 to a broker that knows no better', async () => {
    broker.versions = [4];
    const mqtt = create();
    mqtt.start();
    await pass(0);
    expect(mqtt.state()).toBe('connected');
    expect(broker.attempts).toEqual([5, 4]);
    expect(mqtt.stats()).toMatchObject({ protocolVersion: 4 });
  });

  test.each([4, 5] as const)('refuses what is retained, with version %i', async (version) => {
    broker.versions = [version];
    broker.retained.set('doorward/front/cmd/call', '{"id":"old","to":"alice"}');
    create().start();
    await pass(0);
    broker.publish('doorward/front/cmd/call', '{"id":"live","to":"alice"}', { retain: true });
    await pass(0);
    const refused = broker.published('doorward/front/result/call');
    if (version === 5) {
      // The old one is not even delivered, the live one shows its retain bit.
      expect(refused).toMatchObject([{ id: 'live', code: 'retained' }]);
      expect(commands).toEqual([]);
    } else {
      // The live one looks like any other: it was published now, and acts once.
      expect(refused).toMatchObject([
        { id: 'old', code: 'retained' },
        { id: 'live', code: 'accepted' },
      ]);
      expect(commands).toHaveLength(1);
    }
  });

  test('a station that throws is one log line and an honest result', async () => {
    answer = async () => {
      throw new Error('no such file');
    };
    create().start();
    await pass(0);
    broker.publish('doorward/front/cmd/hangup', '{"id":"1"}');
    await pass(0);
    expect(broker.published('doorward/front/result/hangup')).toMatchObject([{ code: 'internal' }]);
    expect(log).toContain('no such file');
    expect(JSON.stringify(broker.seen)).not.toContain('no such file');
  });

  test('stops within a second when the broker has gone silent', async () => {
    const mqtt = create();
    mqtt.start();
    await pass(0);
    broker.isMute = true;
    let isStopped = false;
    void mqtt.stop().then(() => {
      isStopped = true;
    });
    await pass(1_000);
    expect(isStopped).toBe(true);
    expect(broker.retained.get(topics.availability)).toBe('offline');
  });

  test('stops at once, and for good, while it connects or waits', async () => {
    broker.isDown = true;
    const mqtt = create();
    mqtt.start();
    await mqtt.stop();
    await mqtt.stop();
    mqtt.start();
    await pass(120_000);
    expect(broker.attempts.length).toBeLessThanOrEqual(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a client library that is missing is logged and retried, not thrown', async () => {
    let loads = 0;
    const mqtt = create({
      loadConnect: async () => {
        loads++;
        throw new Error('Cannot find package');
      },
    });
    mqtt.start();
    await pass(5 * 60_000);
    expect(loads).toBeGreaterThan(5);
    expect(mqtt.state()).toBe('offline');
    expect(log.match(/Cannot find package/g)).toHaveLength(1);
  });

  test('a file that cannot be read is told with its key', () => {
    const config = {
      url: 'mqtt://127.0.0.1',
      base: 'doorward',
      username: 'front',
      passwordFile: '/nonexistent/password',
    };
    expect(() => create({ config })).toThrow(
      expect.objectContaining({
        code: 'named-file',
        hint: expect.stringContaining('mqtt.password_file'),
      }),
    );
  });

  test('an authority that is no certificate is told, not tried', () => {
    const config = { url: 'mqtts://127.0.0.1', base: 'doorward', caFile: '/dev/null' };
    expect(() => create({ config })).toThrow(
      expect.objectContaining({
        code: 'mqtt-file',
        message: '/dev/null holds no certificate',
        hint: expect.stringContaining('mqtt.ca_file'),
      }),
    );
  });
});
