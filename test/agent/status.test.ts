import { expect, test } from 'vitest';
import type { Config } from '../../agent/config/config.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { stationStatus } from '../../agent/status.ts';

const config = {
  node: 'front',
  state: '/var/lib/doorward',
  dht: { bind: '127.0.0.1', network: 3 },
} as Config;

test('shows every part as it is now, and the counters of parts within parts under their names', () => {
  let now = 10_000;
  let peers4 = 0;
  const status = stationStatus({
    config,
    accountId: 'a'.repeat(40),
    startedAt: now,
    clock: { now: () => now, unixMs: () => 0 },
    dht: {
      id: InfoHash.of('node'),
      port: 4222,
      // What is no number is no counter.
      stats: () => ({ jobs: 2, state: 'connected', rpc: { sent: 5, deep: { er: 1 } } }) as never,
    },
    dhtState: () => ({ state: 'connected', peers4, peers6: 0 }),
    mqtt: {
      status: () => ({ mode: 'off', url: '', connected: false }),
      stats: () => ({ published: 3 }),
    },
    device: { description: 'tone' },
    audioState: () => 'no_capture',
    calls: {
      snapshots: () => [
        {
          ...{ callId: 'c1', direction: 'incoming', phase: 'active', peer: 'bob' },
          ...{ accountId: 'b'.repeat(40), sinceUnixMs: 7 },
        },
      ],
      stats: () => ({ live: 1, dropped: { stale: 4 }, media: {} }) as never,
    },
    parts: { post: { stats: () => ({ kept: 1 }) } },
  });
  now += 1_600;
  peers4 = 9;
  expect(status()).toMatchObject({
    pid: process.pid,
    node: 'front',
    uptime_s: 2,
    state: '/var/lib/doorward',
    dht: {
      id: InfoHash.of('node').hex,
      address: '127.0.0.1:4222',
      network: 3,
      state: 'connected',
      peers4: 9,
      peers6: 0,
    },
    mqtt: { mode: 'off' },
    audio: { description: 'tone', state: 'no_capture' },
    calls: [{ call_id: 'c1', phase: 'active', since_unix_ms: 7 }],
    stats: {
      dht: { jobs: 2, 'rpc.sent': 5, 'rpc.deep.er': 1 },
      calls: { live: 1, 'dropped.stale': 4 },
      mqtt: { published: 3 },
      post: { kept: 1 },
    },
  });
  expect(status().stats['dht']).not.toHaveProperty('state');
});
