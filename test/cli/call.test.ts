import { describe, expect, test } from 'vitest';
import { AgentError } from '../../agent/base/errors.ts';
import type { WireEvent } from '../../agent/control/protocol.ts';
import type { EndReason } from '../../agent/events.ts';
import { STATION_ID } from '../control/fake-station.ts';
import { FakeStation, FakeWorld } from './fake-world.ts';

const snapshot = (callId = 'c1') =>
  ({
    call_id: callId,
    direction: 'outgoing',
    phase: 'active',
    peer: 'alice',
    account_id: STATION_ID,
    since_unix_ms: 0,
  }) as const;

const answered = (callId?: string): WireEvent => ({
  type: 'call.answered',
  call: snapshot(callId),
});

const ended = (reason: EndReason, durationS = 0, callId?: string): WireEvent => ({
  type: durationS > 0 ? 'call.ended' : 'call.failed',
  call: snapshot(callId),
  reason,
  duration_s: durationS,
  ...(durationS > 0 && { quality: { loss_pct: 0.5, jitter_ms: 2, delay_ms: 40 } }),
});

const accept = async () =>
  ({ code: 'accepted', message: 'dialing', data: { call_id: 'c1' } }) as const;

/** A world whose station accepts the call and then does `script` by the clock. */
function calling(script: readonly (readonly [number, WireEvent])[]): [FakeWorld, FakeStation] {
  const station: FakeStation = new FakeStation({ call: accept });
  const world = new FakeWorld(station);
  for (const [ms, event] of script) world.at(ms, () => station.emit(event));
  return [world, station];
}

describe('call', () => {
  test('tells each step, and how it ended', async () => {
    const [world, station] = calling([
      [100, { type: 'call.ringing', call: snapshot() }],
      [812, answered()],
      [11_000, ended('remote_hangup', 10.2)],
    ]);
    expect(await world.run('call', 'alice')).toBe(0);
    expect(world.out).toBe(
      'dialing alice\nringing\nanswered after 812 ms\nended: they hung up, 10.2 s, loss 0.5 %\n',
    );
    expect(station.requests.map(({ method }) => method)).toEqual(['events.subscribe', 'call']);
    expect(station.requests.at(-1)?.params).toEqual({ to: 'alice', audio: 'station' });
    expect(station.isClosed).toBe(true);
  });

  test('puts all of it in one object with --json', async () => {
    const [world] = calling([
      [812, answered()],
      [2000, ended('hangup', 1.2)],
    ]);
    expect(await world.run('call', 'alice', '--for', '1s', '--json')).toBe(0);
    expect(JSON.parse(world.out)).toEqual({
      call_id: 'c1',
      peer: 'alice',
      reason: 'hangup',
      answered_after_ms: 812,
      duration_s: 1.2,
      quality: { loss_pct: 0.5, jitter_ms: 2, delay_ms: 40 },
    });
  });

  test.each<[EndReason, number, string]>([
    ['rejected', 3, 'they refused'],
    ['denied', 3, 'they do not let us call'],
    ['busy', 4, 'they are busy'],
    ['no_answer', 4, 'nobody answered'],
    ['unreachable', 4, 'they cannot be reached'],
    ['no_path', 4, 'no way for the sound was found'],
    ['error', 1, 'an error in the station'],
  ])('that ends with %s exits %d', async (reason, exit, words) => {
    const [world] = calling([[50, ended(reason)]]);
    expect(await world.run('call', 'alice')).toBe(exit);
    expect(world.out).toBe(`dialing alice\nended: ${words}\n`);
  });

  test('hears what comes before the answer to its request', async () => {
    const station: FakeStation = new FakeStation({
      call: async () => {
        station.emit(ended('unreachable'));
        return await accept();
      },
    });
    expect(await new FakeWorld(station).run('call', 'alice')).toBe(4);
  });

  test('does not mind other calls', async () => {
    const [world] = calling([
      [10, answered('c2')],
      [20, ended('remote_hangup', 3, 'c2')],
      [30, ended('rejected')],
    ]);
    expect(await world.run('call', 'alice')).toBe(3);
  });

  test('that the station does not try ends at once', async () => {
    const world = new FakeWorld(new FakeStation());
    expect(await world.run('call', 'zed')).toBe(6);
    expect(world.err).toBe('doorward: there is no such contact\n');
  });

  test('gives up on a station that never says how it went', async () => {
    const [world, station] = calling([]);
    expect(await world.run('call', 'alice')).toBe(5);
    expect(world.now).toBe(120_000);
    expect(station.requests.at(-1)).toEqual({ method: 'hangup', params: { call_id: 'c1' } });
  });

  test('gives up on a station that does not end it after --for', async () => {
    const [world, station] = calling([[100, answered()]]);
    expect(await world.run('call', 'alice', '--for', '10s')).toBe(5);
    expect(world.now).toBe(15_100);
    expect(station.requests[1]?.params).toEqual({ to: 'alice', audio: 'station', for_ms: 10_000 });
  });

  test('fails when the station goes away', async () => {
    const [world, station] = calling([[100, answered()]]);
    world.at(200, () => station.die());
    expect(await world.run('call', 'alice')).toBe(69);
  });

  test('hangs up at Ctrl-C, and then tells how it ended', async () => {
    const [world, station] = calling([[100, answered()]]);
    world.at(3000, () => world.interrupt());
    world.at(3050, () => {
      expect(station.requests.at(-1)).toEqual({ method: 'hangup', params: { call_id: 'c1' } });
      station.emit(ended('hangup', 2.9));
    });
    expect(await world.run('call', 'alice')).toBe(0);
    expect(world.err).toBe('hanging up\n');
    expect(world.out).toContain('ended: we hung up, 2.9 s');
  });
});

describe('call --play --record', () => {
  test('sends the file when answered, ahead of time but by less than a second', async () => {
    const [world, station] = calling([
      [1000, answered()],
      [9000, ended('remote_hangup', 8)],
    ]);
    world.playFrames = 123;
    const sentMs: [number, number][] = [];
    const send = station.sendAudio.bind(station);
    let frames = 0;
    station.sendAudio = (pcm) => {
      frames += pcm.length / 960;
      sentMs.push([world.now - 1000, frames * 20]);
      send(pcm);
    };
    expect(await world.run('call', 'alice', '--play', 'in.wav')).toBe(0);
    expect(station.requests.at(-1)?.params).toEqual({ to: 'alice', audio: 'stream' });
    expect(sentMs.length).toBeGreaterThan(10);
    for (const [now, sent] of sentMs) {
      expect(sent - now).toBeLessThan(1000);
      expect(sent - now).toBeGreaterThanOrEqual(sent === 2460 ? 0 : 400);
    }
    const heard = station.heard.flatMap((pcm) => Array.from(pcm));
    expect(heard).toHaveLength(123 * 960);
    expect(heard.every((sample, i) => sample === Math.floor(i / 960) + 1)).toBe(true);
  });

  test('writes what is heard, frame by frame, and finishes the file', async () => {
    const [world, station] = calling([
      [100, answered()],
      [900, ended('remote_hangup', 0.8)],
    ]);
    world.at(200, () => station.speak(new Int16Array(960).fill(7)));
    world.at(220, () => station.speak(Int16Array.from({ length: 1920 }, (_, i) => i)));
    expect(await world.run('call', 'alice', '--record', 'out.wav')).toBe(0);
    expect(world.recorded).toEqual([7, 0, 960]);
    expect(world.recordingClosed).toBe(true);
  });

  test('finishes the file when the station goes away, too', async () => {
    const [world, station] = calling([]);
    world.at(200, () => station.die());
    expect(await world.run('call', 'alice', '--record', 'out.wav')).toBe(69);
    expect(world.recordingClosed).toBe(true);
  });

  test.each([
    ['--play', 'broken.wav', 2, '--play: broken.wav is not a WAV file'],
    ['--record', 'nowhere/x.wav', 73, '--record: nowhere/x.wav cannot be written'],
  ])('%s %s rings nobody', async (option, file, exit, message) => {
    const [world, station] = calling([]);
    expect(await world.run('call', 'alice', option, file)).toBe(exit);
    expect(world.err).toBe(`doorward: ${message}\n`);
    expect(station.requests).toEqual([]);
  });
});

describe('call with a station of its own', () => {
  function privately(world: FakeWorld): FakeStation {
    const station: FakeStation = new FakeStation({
      call: async () => {
        station.emit(answered());
        station.emit(ended('remote_hangup', 1));
        return await accept();
      },
    });
    world.privateStation = station;
    return station;
  }

  test('when none runs: with the identity and contacts of the configuration', async () => {
    const world = new FakeWorld();
    privately(world);
    world.files.set('/srv/a.yaml', 'dht: { bootstrap: ["127.0.0.1:4223"], network: 5 }\n');
    expect(await world.run('call', 'alice', '-c', 'a.yaml')).toBe(0);
    expect(world.err).toBe('no station runs here: starting one for this command\n');
    expect(world.started).toMatchObject([
      {
        configFile: 'a.yaml',
        settings: [
          'dht.bind=127.0.0.1',
          'dht.port=0',
          'dht.network=5',
          'dht.bootstrap=127.0.0.1:4223',
          'dht.peer_discovery=off',
          'dht.republish=off',
          'mqtt.enabled=false',
          'audio.device=null',
          'log.level=warn',
        ],
      },
    ]);
    expect(world.privateStopped).toBe(1);
  });

  test('with --state: enters the network through the station that runs here', async () => {
    const running = new FakeStation();
    const world = new FakeWorld(running);
    privately(world);
    expect(await world.run('call', STATION_ID, '--state', './phone')).toBe(0);
    expect(world.started[0]?.settings).toEqual(
      expect.arrayContaining(['state=./phone', 'dht.bootstrap=127.0.0.1:4222']),
    );
    expect(running.requests.map(({ method }) => method)).toEqual(['status']);
    expect(running.isClosed).toBe(true);
  });

  test('with --bootstrap: enters there, reachable from outside when that is outside', async () => {
    const world = new FakeWorld();
    privately(world);
    await world.run(
      'call',
      'alice',
      '--state',
      'p',
      '--bootstrap',
      '192.0.2.1',
      '--bootstrap',
      '[2001:db8::1]:5',
    );
    expect(world.started[0]?.settings).toEqual(
      expect.arrayContaining(['dht.bind=0.0.0.0', 'dht.bootstrap=192.0.2.1:4222,[2001:db8::1]:5']),
    );
  });

  test('waits a while for the network, and then tries all the same', async () => {
    const world = new FakeWorld();
    const station = privately(world);
    const request = station.request.bind(station);
    station.request = async (method, params) => {
      const result = await request(method, params);
      if (method !== 'status') return result;
      const status = result as { dht: object };
      return { ...status, dht: { ...status.dht, state: 'connecting' } } as typeof result;
    };
    expect(await world.run('call', 'alice', '--bootstrap', '127.0.0.1:1')).toBe(0);
    expect(world.now).toBe(5000);
  });

  test('stops it when it cannot be talked to', async () => {
    const world = new FakeWorld();
    world.privateStation = new FakeStation({
      status: async () => {
        throw new AgentError('starting', 'the station is starting');
      },
    });
    expect(await world.run('call', 'alice', '--bootstrap', '127.0.0.1:1')).toBe(75);
    expect(world.privateStopped).toBe(1);
  });

  test('refuses a bootstrap that is no address', async () => {
    expect(await new FakeWorld().run('call', 'alice', '--bootstrap', 'a:b:c')).toBe(2);
  });
});
