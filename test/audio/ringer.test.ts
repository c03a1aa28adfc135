import { beforeEach, expect, test } from 'vitest';
import type { AudioDevice, AudioSession } from '../../agent/audio/device.ts';
import { Ringer } from '../../agent/audio/ringer.ts';
import { silentLogger } from '../../agent/base/log.ts';

let users: number;
let mostUsers: number;
let closing: ((error?: Error) => void)[];
let ringer: Ringer;

beforeEach(() => {
  users = 0;
  mostUsers = 0;
  closing = [];
  const device: AudioDevice = {
    description: 'one user',
    state: 'ok',
    open: async (): Promise<AudioSession> => {
      users++;
      mostUsers = Math.max(mostUsers, users);
      return {
        start: () => {},
        write: () => {},
        stats: () => ({ droppedFrames: 0, xruns: 0, queuedMs: 0 }),
        close: () =>
          new Promise((resolve, reject) => {
            closing.push((error) => {
              users--;
              if (error === undefined) resolve();
              else reject(error);
            });
          }),
      };
    },
  };
  ringer = new Ringer(device, silentLogger);
});

async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

test('says that the device is free only when it is, to everyone who asks', async () => {
  ringer.ring();
  await turns();
  const free: string[] = [];
  void ringer.silence().then(() => free.push('first'));
  // Who takes the device asks a second time: the tone is stopping, not stopped.
  void ringer.silence().then(() => free.push('second'));
  await turns();
  expect(free).toEqual([]);
  closing.shift()?.();
  await turns();
  expect(free).toEqual(['first', 'second']);
  expect(users).toBe(0);
});

test('does not ring again before the tone before has let go of the device', async () => {
  ringer.ring();
  await turns();
  const silenced = ringer.silence();
  ringer.ring();
  await turns();
  expect(users).toBe(1);
  closing.shift()?.();
  await silenced;
  await turns();
  expect(mostUsers).toBe(1);
  expect(users).toBe(1);
  const ended = ringer.silence();
  await turns();
  closing.shift()?.();
  await ended;
});

test('a device that does not close is not the end of the station', async () => {
  ringer.ring();
  await turns();
  const silenced = ringer.silence();
  await turns();
  closing.shift()?.(new Error('gone'));
  await expect(silenced).resolves.toBeUndefined();
});

test('silence without a tone is at once', async () => {
  await expect(ringer.silence()).resolves.toBeUndefined();
});
