import { beforeEach, describe, expect, test } from 'vitest';
import type { AudioDevice, AudioSession, AudioState } from '../../agent/audio/device.ts';
import type { OpusBackend } from '../../agent/audio/opus.ts';
import type { MediaConnection } from '../../agent/call/media.ts';
import { CallVoices } from '../../agent/call-voice.ts';
import { FakeCodec } from '../audio/fake-codec.ts';
import { seededRandom } from '../sim/seeded.ts';
import { keptLog } from './logs.ts';

/** A card with one user. Opening and closing it end when the test says so. */
class OneUserDevice implements AudioDevice {
  readonly state = 'ok';
  readonly description = 'one user';
  users = 0;
  mostUsers = 0;
  opened = 0;
  opening: (() => void)[] = [];
  closing: (() => void)[] = [];

  async open(): Promise<AudioSession> {
    this.opened++;
    this.users++;
    this.mostUsers = Math.max(this.mostUsers, this.users);
    await new Promise<void>((resolve) => this.opening.push(resolve));
    return {
      start: (_onFrame, onState) => onState('ok'),
      write: () => {},
      stats: () => ({ droppedFrames: 0, xruns: 0, queuedMs: 0 }),
      close: async () => {
        await new Promise<void>((resolve) => this.closing.push(resolve));
        this.users--;
      },
    };
  }

  async finish(waiting: (() => void)[]): Promise<void> {
    for (const resolve of waiting.splice(0)) resolve();
    await turns();
  }
}

/** Let promises that wait for each other settle. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

interface FakeConnection {
  readonly connection: MediaConnection;
  hasHandler(): boolean;
}

function fakeConnection(): FakeConnection {
  let handler: ((packet: Uint8Array) => void) | undefined;
  const connection: MediaConnection = {
    localSsrc: 1,
    offer: () => {},
    answer: () => {},
    accept: () => {},
    addCandidates: () => {},
    sendRtp: () => true,
    onRtp: (next) => {
      handler = next;
    },
    bye: () => {},
    stats: () => ({ rtpSent: 0, rtpReceived: 0, malformed: 0, unsent: 0, path: undefined }),
    close: () => {},
  };
  return { connection, hasHandler: () => handler !== undefined };
}

let device: OneUserDevice;
let states: AudioState[];
let codecs: FakeCodec[];
let loads: number;
let loadFailure: Error | undefined;
let lines: string[];
let voices: CallVoices;

beforeEach(() => {
  device = new OneUserDevice();
  states = [];
  codecs = [];
  loads = 0;
  loadFailure = undefined;
  const kept = keptLog();
  lines = kept.lines;
  const backend: OpusBackend = {
    description: 'fake',
    open: () => {
      const codec = new FakeCodec();
      codecs.push(codec);
      return codec;
    },
  };
  voices = new CallVoices({
    loadCodec: async () => {
      loads++;
      if (loadFailure !== undefined) throw loadFailure;
      return backend;
    },
    device: () => device,
    clock: { now: () => 0, unixMs: () => 0 },
    random: seededRandom(1),
    log: kept.log,
    onAudioState: (state) => states.push(state),
  });
});

describe('the voice of a call', () => {
  test('begins when the device is open, and ends with its codec and device closed', async () => {
    const { connection, hasHandler } = fakeConnection();
    voices.start('one', connection);
    await turns();
    expect(voices.quality('one')).toBeUndefined();
    await device.finish(device.opening);
    expect(voices.quality('one')).toMatchObject({ lossPct: 0 });
    expect(states).toEqual(['ok']);
    voices.stop('one');
    expect(hasHandler()).toBe(false);
    await device.finish(device.closing);
    expect(codecs.map((codec) => codec.isClosed)).toEqual([true]);
    expect(device.users).toBe(0);
    expect(voices.stats()['voices']).toBe(0);
  });

  test('of a call that ends while the device opens, closes the device again', async () => {
    voices.start('one', fakeConnection().connection);
    await turns();
    voices.stop('one');
    await device.finish(device.opening);
    await device.finish(device.closing);
    await voices.settled();
    expect(device.users).toBe(0);
    expect(codecs).toEqual([]);
  });

  test('never opens the device while the call before still closes it', async () => {
    voices.start('one', fakeConnection().connection);
    await turns();
    await device.finish(device.opening);
    voices.stop('one');
    voices.start('two', fakeConnection().connection);
    await turns();
    expect(device.opened).toBe(1);
    await device.finish(device.closing);
    await device.finish(device.opening);
    expect(device.mostUsers).toBe(1);
    expect(voices.quality('two')).toBeDefined();
    voices.stop('two');
    await device.finish(device.closing);
  });

  test('moves to the second connection of its call on the same card', async () => {
    voices.start('one', fakeConnection().connection);
    await turns();
    await device.finish(device.opening);
    voices.start('one', fakeConnection().connection);
    await turns();
    await device.finish(device.closing);
    await device.finish(device.opening);
    expect(device.mostUsers).toBe(1);
    expect(device.opened).toBe(2);
    expect(voices.stats()['voices']).toBe(1);
    voices.stop('one');
    await device.finish(device.closing);
  });

  test('of a call that ends before its turn leaves the device alone', async () => {
    voices.start('one', fakeConnection().connection);
    await turns();
    await device.finish(device.opening);
    voices.stop('one');
    voices.start('two', fakeConnection().connection);
    voices.stop('two');
    await device.finish(device.closing);
    await voices.settled();
    expect(device.opened).toBe(1);
  });
});

describe('without a codec', () => {
  test('the device is not opened, the state says so, and the next call tries again', async () => {
    loadFailure = new Error('no codec');
    voices.start('one', fakeConnection().connection);
    await voices.settled();
    expect(device.opened).toBe(0);
    expect(states).toEqual(['both_missing']);
    expect(lines).toEqual(['doorward: there is no sound in this call why="no codec"']);
    voices.stop('one');

    loadFailure = undefined;
    voices.start('two', fakeConnection().connection);
    await turns();
    await device.finish(device.opening);
    expect(loads).toBe(2);
    expect(states).toEqual(['both_missing', 'ok']);
    voices.stop('two');
    await device.finish(device.closing);
  });
});
