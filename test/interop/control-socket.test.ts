import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AgentError } from '../../agent/base/errors.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { ControlClient } from '../../agent/control/client.ts';
import { CONTROL_LIMITS } from '../../agent/control/limits.ts';
import {
  type ControlHandlers,
  type ControlPeer,
  ControlServer,
} from '../../agent/control/server.ts';
import { fakeHandlers, STATION_ID } from '../control/fake-station.ts';
import { until } from './until.ts';

let folder: string;
let path: string;
const servers: ControlServer[] = [];
const clients: ControlClient[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'doorward-control-'));
  path = join(folder, 'run', 'control.sock');
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const server of servers.splice(0)) await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function start(handlers: Partial<ControlHandlers> = {}): Promise<ControlServer> {
  const server = new ControlServer({
    path,
    handlers: fakeHandlers(handlers),
    logger: silentLogger,
  });
  await server.start();
  servers.push(server);
  return server;
}

async function open(): Promise<ControlClient> {
  const client = await ControlClient.connect(path);
  clients.push(client);
  return client;
}

async function openRaw(): Promise<Socket> {
  const socket = connect(path);
  await once(socket, 'connect');
  return socket;
}

const phase = {
  type: 'call.phase',
  call: {
    callId: 'c1',
    direction: 'outgoing',
    phase: 'dialing',
    peer: 'alice',
    accountId: 'b2'.repeat(20),
    sinceUnixMs: 1,
  },
} as const;

describe('the control socket', () => {
  test('answers requests, in a socket and a folder for its owner alone', async () => {
    await start();
    const client = await open();
    expect(await client.request('id', {})).toEqual({ id: STATION_ID });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'run')).mode & 0o777).toBe(0o700);
  });

  test('brings code and hint of an error to the client', async () => {
    await start({
      send: async () => {
        throw new AgentError('too-many-messages', 'too many wait', 'try later');
      },
    });
    const client = await open();
    await expect(client.request('send', { to: 'alice', text: 'hi' })).rejects.toMatchObject({
      code: 'too-many-messages',
      message: 'too many wait',
      hint: 'try later',
    });
  });

  test('tells events to who subscribed, in snake_case', async () => {
    const server = await start();
    const [listening, deaf] = [await open(), await open()];
    const heard: unknown[] = [];
    listening.onEvent((event) => heard.push(event));
    deaf.onEvent(() => heard.push('deaf'));
    await listening.request('events.subscribe', { types: ['call'] });
    server.broadcast({ type: 'system', kind: 'started' });
    server.broadcast(phase);
    await deaf.request('id', {});
    await until(() => heard.length > 0);
    expect(heard).toEqual([
      {
        type: 'call.phase',
        call: expect.objectContaining({ call_id: 'c1', account_id: 'b2'.repeat(20) }),
      },
    ]);
  });

  test('carries sound both ways and tells when the client is gone', async () => {
    let peer: ControlPeer | undefined;
    let isClosed = false;
    const atStation: Int16Array[] = [];
    await start({
      call: async (_, client) => {
        peer = client;
        client.onAudio((pcm) => atStation.push(pcm));
        client.onClose(() => {
          isClosed = true;
        });
        return { code: 'accepted', message: 'dialing', data: { call_id: 'c1' } };
      },
    });
    const client = await open();
    const here: Int16Array[] = [];
    client.onAudio((pcm) => here.push(pcm));
    await client.request('call', { to: 'alice', audio: 'stream' });
    const pcm = Int16Array.from({ length: 960 }, (_, i) => ((i * 7919) % 65536) - 32768);
    client.sendAudio(pcm);
    expect(peer?.sendAudio(pcm)).toBe(true);
    await until(() => atStation.length > 0 && here.length > 0);
    expect(atStation).toEqual([pcm]);
    expect(here).toEqual([pcm]);
    client.close();
    await until(() => isClosed);
    expect(peer?.sendAudio(pcm)).toBe(false);
  });

  test('replaces the socket of a station that was killed', async () => {
    const dead = spawn(process.execPath, [
      '-e',
      `require('fs').mkdirSync(${JSON.stringify(join(folder, 'run'))});
       require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`,
    ]);
    await once(dead.stdout, 'data');
    dead.kill('SIGKILL');
    await once(dead, 'exit');
    expect(existsSync(path)).toBe(true);
    await expect(ControlClient.connect(path)).rejects.toMatchObject({ code: 'not-running' });
    await start();
    expect(await (await open()).request('id', {})).toEqual({ id: STATION_ID });
  });

  test('does not push aside a station that lives', async () => {
    await start();
    await expect(start()).rejects.toMatchObject({
      code: 'already-running',
      message: `a station already answers at ${path}`,
    });
    expect(await (await open()).request('id', {})).toEqual({ id: STATION_ID });
  });

  test('does not remove what is no socket', async () => {
    path = join(folder, 'precious');
    writeFileSync(path, 'data');
    await expect(start()).rejects.toMatchObject({ code: 'control-unusable' });
    expect(existsSync(path)).toBe(true);
  });

  test('removes its socket when it stops, and loses its clients', async () => {
    const server = await start({ status: () => new Promise(() => {}) });
    const client = await open();
    let lost = '';
    client.onLost(({ code }) => {
      lost = code;
    });
    const waiting = client.request('status', {});
    await server.stop();
    await expect(waiting).rejects.toMatchObject({ code: 'station-lost' });
    await expect(client.request('id', {})).rejects.toMatchObject({ code: 'station-lost' });
    expect(lost).toBe('station-lost');
    expect(existsSync(path)).toBe(false);
    await expect(ControlClient.connect(path)).rejects.toMatchObject({ code: 'not-running' });
  });

  test('drops a client that subscribes and does not read, and no other', async () => {
    const server = await start();
    const slow = await openRaw();
    slow.pause();
    slow.write('{"jsonrpc":"2.0","id":1,"method":"events.subscribe"}\n');
    const good = await open();
    await good.request('id', {});
    const text = 'x'.repeat(16_000);
    const message = { messageId: 'm', peer: 'a', accountId: 'b', text, unixMs: 0 } as const;
    await until(() => {
      server.broadcast({ type: 'message', message: { ...message, state: 'received' } });
      return server.stats()['tooSlow'] === 1;
    });
    await until(() => server.stats()['clients'] === 1);
    expect(await good.request('id', {})).toEqual({ id: STATION_ID });
    slow.destroy();
  });

  test('refuses one client more than it takes, and takes one when one leaves', async () => {
    const server = await start();
    for (let i = 0; i < CONTROL_LIMITS.clients; i++) await (await open()).request('id', {});
    const extra = await openRaw();
    await once(extra, 'close');
    expect(server.stats()).toMatchObject({ clients: CONTROL_LIMITS.clients, refused: 1 });
    clients.pop()?.close();
    await until(() => server.stats()['clients'] === CONTROL_LIMITS.clients - 1);
    expect(await (await open()).request('id', {})).toEqual({ id: STATION_ID });
  });

  test('outlives hostile lines', async () => {
    const server = await start();
    const attacks = [
      'GET / HTTP/1.1\r\n\r\n'.repeat(100),
      '{"jsonrpc":"2.0","id":1,"method":"call","params":{"to":'.padEnd(4_000_000, '['),
      `${'{"a":'.repeat(20_000)}\n`,
      '\0\xff\n'.repeat(50),
      '{"jsonrpc":"2.0","id":1,"method":"__proto__","params":{"__proto__":{}}}\n',
    ];
    for (const attack of attacks) {
      const socket = await openRaw();
      socket.on('error', () => {});
      socket.resume();
      socket.end(attack);
      await once(socket, 'close');
    }
    expect(await (await open()).request('id', {})).toEqual({ id: STATION_ID });
    expect(server.stats()['invalid']).toBeGreaterThan(0);
  });

  test('leaves a client alone with what answers there but is no station', async () => {
    await start();
    const { createServer } = await import('node:net');
    const other = createServer((socket) => socket.end('220 smtp ready\r\n'));
    const otherPath = join(folder, 'other.sock');
    await new Promise<void>((resolve) => other.listen(otherPath, resolve));
    const client = await ControlClient.connect(otherPath);
    await expect(client.request('id', {})).rejects.toMatchObject({
      code: 'station-lost',
      message: 'the connection to the station broke: what answers there is no station',
    });
    other.close();
  });
});
