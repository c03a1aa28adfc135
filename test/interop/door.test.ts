import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readWavFile } from '../../agent/audio/wav-file.ts';
import { compareSpeech } from '../audio/compare.ts';
import {
  doorward,
  type Program,
  type StationHandle,
  type Subscription,
  sleep,
  Workshop,
  waitFor,
} from './harness.ts';

/**
 * The whole path on real programs: three dhtnodes, mosquitto, and two stations as processes of their own with state of
 * their own. Alice's station calls the front door; it is answered because of her certificate; both hear each other.
 */

const DHT = 47_001;
const BROKER = 47_010;
const BASE = 'doorward';

const SAID_BY_ALICE =
  'Good morning, this is Alice. I am standing at the garden gate with a large parcel, please open the door.';
const SAID_BY_DOOR =
  'Welcome to the front door. The parcel can be left in the green box beside the stairs, thank you very much.';

let workshop: Workshop;
let ring: Program[];
let broker: Program;
let alice: StationHandle;
let front: StationHandle;
let seen: Subscription;
let saidByAlice: string;
let saidByDoor: string;

interface CallPayload {
  event_type: string;
  peer: string;
  reason?: string;
  call_id: string;
}

const callEvents = (node: string) => seen.json<CallPayload>(`${BASE}/${node}/event/call`);
const lastState = (node: string) => {
  const states = seen.json<{ state: string; peer?: string }>(`${BASE}/${node}/call/state`);
  return states.at(-1)?.state;
};
const availability = (node: string) =>
  seen.seen.filter((p) => p.topic === `${BASE}/${node}/availability`).map((p) => p.payload);

const publish = (node: string, topic: string, payload: object) => {
  const message = ['-t', `${BASE}/${node}/${topic}`, '-m', JSON.stringify(payload)];
  execFileSync('mosquitto_pub', ['-p', `${BROKER}`, '-q', '1', ...message]);
};

beforeAll(async () => {
  workshop = await Workshop.open('door');
  [ring, broker, saidByAlice, saidByDoor] = await Promise.all([
    workshop.dhtRing(3, DHT),
    workshop.mosquitto(BROKER),
    workshop.speak(SAID_BY_ALICE, 'alice-says', 'en+f3'),
    workshop.speak(SAID_BY_DOOR, 'door-says', 'en'),
  ]);
  seen = await workshop.subscribe(BROKER, `${BASE}/#`);
  alice = await workshop.station('alice', [
    `dht: { bind: 127.0.0.1, port: 47021, bootstrap: ["127.0.0.1:${DHT}"] }`,
    `audio: { device: file, input: ${saidByAlice}, output: ${join(workshop.folder, 'alice-heard.wav')} }`,
    `mqtt: { url: "mqtt://127.0.0.1:${BROKER}", base: ${BASE} }`,
  ]);
  front = await workshop.station('front', [
    `dht: { bind: 127.0.0.1, port: 47022, bootstrap: ["127.0.0.1:${DHT + 2}"] }`,
    `audio: { device: file, input: ${saidByDoor}, output: ${join(workshop.folder, 'door-heard.wav')} }`,
    `mqtt: { url: "mqtt://127.0.0.1:${BROKER}", base: ${BASE} }`,
  ]);
  // Keys first, both at once: RSA-4096 takes its time.
  await Promise.all([alice.json('init'), front.json('init')]);
  await Promise.all([alice.start(), front.start()]);
  const { id: aliceId } = await alice.json<{ id: string }>('id');
  const { id: frontId } = await front.json<{ id: string }>('id');
  await front.json('contact', 'add', 'alice', aliceId, '--can', 'ring,auto_answer');
  await alice.json('contact', 'add', 'front', frontId);
  await waitFor('both stations online', () =>
    ['alice', 'front'].every((node) => availability(node).at(-1) === 'online'),
  );
}, 120_000);

afterAll(async () => {
  await workshop.close();
});

describe('a call between two stations', () => {
  test('is answered because of the certificate, and both hear what the other said', async () => {
    const before = callEvents('front').length;
    const outcome = await alice.cli('call', 'front', '--for', '9s', '--json');
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    await waitFor(
      'both idle',
      () => lastState('front') === 'idle' && lastState('alice') === 'idle',
    );

    const events = callEvents('front').slice(before);
    expect(events.map((e) => e.event_type)).toEqual(['incoming', 'answered', 'ended']);
    expect(new Set(events.map((e) => e.peer))).toEqual(new Set(['alice']));
    expect(new Set(events.map((e) => e.call_id)).size).toBe(1);
    const states = seen.json<{ state: string }>(`${BASE}/front/call/state`).map((s) => s.state);
    expect(states.slice(-3)).toEqual(['incoming', 'active', 'idle']);

    for (const [said, heard] of [
      [saidByAlice, join(workshop.folder, 'door-heard.wav')],
      [saidByDoor, join(workshop.folder, 'alice-heard.wav')],
    ] as const) {
      const match = compareSpeech(await readWavFile(said), await readWavFile(heard));
      process.stdout.write(
        `heard: correlation ${match.correlation.toFixed(3)}, level ${match.levelDb.toFixed(1)} dB\n`,
      );
      expect(match.correlation).toBeGreaterThan(0.9);
      expect(Math.abs(match.levelDb)).toBeLessThan(3);
    }
    // What one heard is not what it said itself.
    const wrong = compareSpeech(
      await readWavFile(saidByDoor),
      await readWavFile(join(workshop.folder, 'door-heard.wav')),
    );
    expect(wrong.correlation).toBeLessThan(0.6);
  });

  test('goes on undisturbed while garbage arrives at the DHT port', async () => {
    const heard = join(workshop.folder, 'door-heard-garbage.wav');
    const call = alice.cli('call', 'front', '--for', '9s', '--json');
    await waitFor('active', () => lastState('front') === 'active');
    const socket = createSocket('udp4');
    for (let i = 0; i < 60; i++) {
      for (let n = 0; n < 50; n++)
        socket.send(randomBytes(1 + ((i * 50 + n) % 1400)), 47_022, '127.0.0.1');
      await sleep(100);
    }
    socket.close();
    expect((await call).code).toBe(0);
    await waitFor('idle', () => lastState('front') === 'idle');
    await copyFile(join(workshop.folder, 'door-heard.wav'), heard);
    const match = compareSpeech(await readWavFile(saidByAlice), await readWavFile(heard));
    process.stdout.write(`heard under garbage: correlation ${match.correlation.toFixed(3)}\n`);
    expect(match.correlation).toBeGreaterThan(0.9);
    const { stats } = await front.json<{ stats: { dht: Record<string, number> } }>('status');
    expect(stats.dht['rpc.malformed']).toBeGreaterThan(1000);
  });

  test('ends with a reason within 10 s when the other side is killed', async () => {
    const call = alice.cli('call', 'front', '--json');
    await waitFor('active', () => lastState('alice') === 'active');
    const killedAt = Date.now();
    await front.program.kill('SIGKILL');
    await waitFor('ended', () => callEvents('alice').at(-1)?.event_type === 'ended', 12_000);
    expect(Date.now() - killedAt).toBeLessThan(10_000);
    expect(callEvents('alice').at(-1)?.reason).toBe('lost');
    await call;
    expect(availability('front').at(-1)).toBe('offline');
    await front.start();
    await waitFor('online again', () => availability('front').at(-1) === 'online');
  });

  test('leaves a stranger unanswered, and nothing of the station changes', async () => {
    const { id: frontId } = await front.json<{ id: string }>('id');
    const states = seen.json(`${BASE}/front/call/state`).length;
    const events = callEvents('front').length;
    const stranger = await doorward(
      [
        ...['call', frontId, '--state', join(workshop.folder, 'stranger'), '--json'],
        ...['--bootstrap', `127.0.0.1:${DHT + 1}`, '--for', '2s'],
      ],
      90_000,
    );
    expect([3, 4]).toContain(stranger.code);
    await waitFor('the security event', () =>
      seen
        .json<{ event_type: string }>(`${BASE}/front/event/security`)
        .some((e) => e.event_type === 'unknown_caller'),
    );
    expect(seen.json(`${BASE}/front/call/state`).length).toBe(states);
    expect(callEvents('front').length).toBe(events);
  }, 100_000);

  test.each([
    ['doorward answer', async () => void (await front.json('answer'))],
    ['MQTT', async () => publish('front', 'cmd/answer', { id: 'a1' })],
  ])('rings for a contact without auto_answer, until %s answers', async (_by, answer) => {
    const { id: aliceId } = await alice.json<{ id: string }>('id');
    await front.json('contact', 'remove', 'alice');
    await front.json('contact', 'add', 'alice', aliceId);
    const call = alice.cli('call', 'front', '--for', '1s', '--json');
    await waitFor('incoming', () => lastState('front') === 'incoming');
    await waitFor('the caller hears that it rings', () => lastState('alice') === 'ringing');
    await sleep(1000);
    expect(lastState('front')).toBe('incoming');
    await answer();
    expect((await call).code).toBe(0);
    await waitFor('idle', () => lastState('front') === 'idle');
    expect(
      callEvents('front')
        .slice(-3)
        .map((e) => e.event_type),
    ).toEqual(['incoming', 'answered', 'ended']);
    await front.json('contact', 'remove', 'alice');
    await front.json('contact', 'add', 'alice', aliceId, '--can', 'ring,auto_answer');
  });
});

describe('a message', () => {
  test('arrives, is confirmed, and its text stays off MQTT', async () => {
    const text = 'The gate code is not in this message';
    await alice.json('send', 'front', text);
    await waitFor('received', () =>
      seen
        .json<{ event_type: string }>(`${BASE}/front/event/message`)
        .some((e) => e.event_type === 'received'),
    );
    await waitFor('delivered', () =>
      seen
        .json<{ event_type: string }>(`${BASE}/alice/event/message`)
        .some((e) => e.event_type === 'delivered'),
    );
    const { messages } = await front.json<{ messages: { peer: string; text: string }[] }>(
      'messages',
    );
    expect(messages.at(-1)).toMatchObject({ peer: 'alice', text });
    expect(seen.seen.some((p) => p.payload.includes('gate code'))).toBe(false);
  });
});

describe('the house over MQTT', () => {
  test('knows that both stations found the DHT', async () => {
    for (const node of ['alice', 'front']) {
      await waitFor(`${node} connected`, () => {
        const states = seen.json<{ dht: string; peers4: number }>(`${BASE}/${node}/net/state`);
        const last = states.at(-1);
        return last?.dht === 'connected' && last.peers4 > 0;
      });
    }
  });

  test('starts a call by a command and gets exactly one result', async () => {
    publish('alice', 'cmd/call', { id: 'c1', to: 'front' });
    await waitFor('active', () => lastState('front') === 'active');
    publish('alice', 'cmd/hangup', { id: 'h1' });
    await waitFor('idle', () => lastState('front') === 'idle' && lastState('alice') === 'idle');
    const results = seen.json<{ id: string; ok: boolean; code: string }>(
      `${BASE}/alice/result/call`,
    );
    expect(results.filter((r) => r.id === 'c1')).toMatchObject([{ ok: true, code: 'accepted' }]);
  });

  test('is told again by itself after the broker was killed and came back', async () => {
    await broker.kill('SIGKILL');
    await waitFor(
      'the subscriber noticed',
      () => !seen.program.alive || seen.program.output.includes('Error'),
      5_000,
    ).catch(() => undefined);
    // Calls do not need the broker.
    expect((await alice.cli('call', 'front', '--for', '1s', '--json')).code).toBe(0);
    broker = await workshop.mosquitto(BROKER);
    seen = await workshop.subscribe(BROKER, `${BASE}/#`);
    await waitFor(
      'both available again',
      () => ['alice', 'front'].every((node) => availability(node).at(-1) === 'online'),
      70_000,
    );
    await waitFor(
      'states are back',
      () => lastState('front') === 'idle' && lastState('alice') === 'idle',
    );
  }, 90_000);
});

describe('a network that shrinks', () => {
  test('still carries a new call when all real nodes but one are dead', async () => {
    await Promise.all(ring.slice(0, -1).map((node) => node.kill('SIGKILL')));
    const outcome = await alice.cli('call', 'front', '--for', '1s', '--json');
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  });
});

describe('the end of a station', () => {
  test('comes within 2 s of SIGTERM, in a call as well, with exit code 0', async () => {
    const call = alice.cli('call', 'front', '--json');
    await waitFor('active', () => lastState('front') === 'active');
    const program = front.program;
    const at = performance.now();
    program.child.kill('SIGTERM');
    expect(await program.exited, program.output).toBe(0);
    expect(performance.now() - at).toBeLessThan(2_000);
    await waitFor('the other side knows', () => lastState('alice') === 'idle');
    expect(callEvents('alice').at(-1)?.reason).toBe('remote_hangup');
    expect(availability('front').at(-1)).toBe('offline');
    const system = seen.json<{ event_type: string }>(`${BASE}/front/event/system`);
    expect(system.at(-1)?.event_type).toBe('stopping');
    await call;
  });

  test('leaves a WAV that is whole', async () => {
    const heard = await readFile(join(workshop.folder, 'door-heard.wav'));
    expect(heard.subarray(0, 4).toString()).toBe('RIFF');
    expect(heard.readUInt32LE(4)).toBe(heard.length - 8);
  });
});
