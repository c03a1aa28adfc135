import { AgentError } from '../../agent/base/errors.ts';
import type { ControlHandlers } from '../../agent/control/server.ts';

export const STATION_ID = 'a1'.repeat(20);

/** Handlers of a station that knows alice and does nothing; override what a test is about. */
export function fakeHandlers(more: Partial<ControlHandlers> = {}): ControlHandlers {
  const alice = {
    name: 'alice',
    id: 'b2'.repeat(20),
    can: ['ring', 'auto_answer'],
    source: 'config',
  } as const;
  return {
    id: async () => ({ id: STATION_ID }),
    version: async () => ({ version: '0.0.0', node: 'v20' }),
    status: async () => ({
      mode: 'station',
      pid: 4711,
      version: '0.0.0',
      node: 'front',
      id: STATION_ID,
      uptime_s: 3723,
      state: '/var/lib/doorward',
      dht: {
        id: 'd4'.repeat(20),
        address: '127.0.0.1:4222',
        network: 0,
        state: 'connected',
        peers4: 3,
        peers6: 0,
      },
      mqtt: { mode: 'embedded', url: 'mqtt://127.0.0.1:1883', connected: true },
      audio: { description: 'ALSA default', state: 'ok' },
      calls: [],
      memory: { rss_bytes: 71_000_000 },
      stats: { control: { clients: 1 } },
    }),
    'contact.add': async ({ name, id, can = ['ring'] }) => ({ name, id, can, source: 'station' }),
    'contact.list': async () => ({ contacts: [alice] }),
    'contact.remove': async ({ name }) => {
      if (name !== 'alice')
        throw new AgentError('no-such-contact', `there is no contact "${name}"`);
      return {};
    },
    call: async () => ({ code: 'not_found', message: 'there is no such contact' }),
    answer: async () => ({ code: 'not_found', message: 'no call rings here' }),
    hangup: async () => ({ code: 'ok', message: 'hung up' }),
    send: async () => ({ code: 'accepted', message: 'queued', data: { message_id: 'm1' } }),
    messages: async () => ({ messages: [] }),
    'dht.get': async () => ({ values: 0, dropped: 0 }),
    'dht.listen': async () => ({}),
    'dht.stop': async () => ({}),
    'dht.put': async ({ id = '42' }) => ({ id, acknowledged: 3 }),
    'dht.put_signed': async ({ id = '43' }) => ({ id, acknowledged: 1 }),
    'dht.put_encrypted': async ({ id = '44' }) => ({
      puts: [{ device: 'e5'.repeat(32), id, acknowledged: 2 }],
    }),
    'dht.cancel_put': async () => ({}),
    'dht.ping': async ({ host, port }) => ({
      id: 'f6'.repeat(20),
      address: `${host}:${port}`,
      rtt_ms: 0.5,
    }),
    'dht.nodes': async () => ({ id: 'd4'.repeat(20), nodes: [] }),
    'dht.stats': async () => ({ id: 'd4'.repeat(20), sizes: [], counters: {} }),
    ...more,
  };
}
