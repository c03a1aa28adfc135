import { createSocket, type Socket } from 'node:dgram';
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseIp } from '../../agent/base/address.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { readCompactNodes } from '../../agent/dht/addresses.ts';
import { INFOHASH_BYTES, InfoHash } from '../../agent/dht/infohash.ts';
import type { Message, QueryMessage, Reply } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { decodeState } from '../../agent/dht/state-file.ts';
import { VALUE_TYPE, type Value } from '../../agent/dht/value.ts';
import { packValue, unpackValue } from '../../agent/dht/value-codec.ts';
import { type Program, sleep, Workshop, waitFor } from './harness.ts';

/**
 * A real process of ours in a ring of real nodes, ended with and without warning: it comes back with its id, its nodes and
 * what it stored, and needs no bootstrap. Takes more than a minute: that is when a running node first saves.
 */

const RING = [47200, 47201, 47202];
const newId = () => new InfoHash(systemRandom.bytes(INFOHASH_BYTES));

/** A hand-made peer that asks one thing at a time and says that it is a client only. */
class Probe {
  readonly #socket: Socket = createSocket('udp4');
  readonly #id = newId();
  readonly #waiting = new Map<number, (message: Message) => void>();
  #tid = 1;

  constructor() {
    this.#socket.on('message', (packet) => {
      const message = decodeMessage(packet);
      this.#waiting.get(message.tid)?.(message);
    });
  }

  async ask(port: number, query: Partial<QueryMessage> & { type: string }): Promise<Reply> {
    const tid = this.#tid++;
    const answer = new Promise<Message>((resolve, reject) => {
      this.#waiting.set(tid, resolve);
      setTimeout(() => reject(new Error(`no answer of ${port}`)), 2000);
    });
    const message = { tid, id: this.#id, client: true, ...query } as QueryMessage;
    this.#socket.send(encodeMessage(message), port, '127.0.0.1');
    const reply = await answer;
    if (reply.type !== 'reply') throw new Error(`${port} answered with ${reply.type}`);
    return reply;
  }

  async put(port: number, key: InfoHash, value: Value): Promise<void> {
    const { token } = await this.ask(port, { type: 'get', key });
    if (token === undefined) throw new Error('no token');
    const values = [packValue(value)];
    await this.ask(port, { type: 'put', key, token, values } as Partial<QueryMessage> & {
      type: string;
    });
    expect(await this.get(port, key)).toEqual([value]);
  }

  async get(port: number, key: InfoHash): Promise<Value[]> {
    const { values = [] } = await this.ask(port, { type: 'get', key });
    return values.flatMap((value) => (typeof value === 'number' ? [] : [unpackValue(value)]));
  }

  /** Ports of the nodes that it gives out. */
  async neighbours(port: number): Promise<number[]> {
    const { nodes4 = new Uint8Array(0) } = await this.ask(port, { type: 'find', target: newId() });
    return readCompactNodes(nodes4, 4).map(({ address }) => address.port);
  }

  close(): void {
    this.#socket.close();
  }
}

const probe = new Probe();
let workshop: Workshop;

beforeAll(async () => {
  workshop = await Workshop.open('restart');
  await workshop.dhtRing(RING.length, RING[0] ?? 0);
}, 30_000);

afterAll(async () => {
  probe.close();
  await workshop.close();
});

/** Our node as a process of its own, with a state folder that outlives it. */
async function ours(name: string, port: number, bootstrap: readonly number[]): Promise<Program> {
  const { folder } = await workshop.station(name, []);
  const config = join(folder, 'dht-only.yaml');
  const hosts = bootstrap.map((other) => `127.0.0.1:${other}`).join(', ');
  await writeFile(
    config,
    `state: ${folder}/state\ncontrol: ${folder}/control.sock\ndht: { port: ${port}, bootstrap: [${hosts}] }\n`,
  );
  const program = workshop.doorward(['run', '--dht-only', '-c', config]);
  await waitFor(`our node on ${port}`, () =>
    probe.ask(port, { type: 'ping' }).catch(() => undefined),
  );
  return program;
}

const stateFile = (name: string) => join(workshop.folder, name, 'state/dht-only.state');

const someValue = (id: bigint, type: number, bytes = 100): Value => ({
  kind: 'plain',
  id,
  type,
  data: systemRandom.bytes(bytes),
});

/** It gives some of the ring out: those have answered it. */
const knowsTheRing = (port: number) =>
  waitFor(
    `${port} knows the ring`,
    async () => (await probe.neighbours(port)).some((other) => RING.includes(other)),
    40_000,
  );

describe.concurrent('a node comes back', () => {
  test('after kill -9, with what it had saved by the way, and without bootstrap', async () => {
    const port = 47210;
    const before = await ours('killed', port, RING.slice(0, 1));
    await knowsTheRing(port);
    const key = newId();
    const value = someValue(7n, VALUE_TYPE.userData, 300);
    await probe.put(port, key, value);
    const { id } = await probe.ask(port, { type: 'ping' });
    await waitFor(
      'the first save',
      async () => (await readFile(stateFile('killed')).catch(() => '')).length > 0,
      70_000,
    );
    await before.kill('SIGKILL');

    await ours('killed', port, []);
    expect(await waitFor('the value', () => probe.get(port, key))).toEqual([value]);
    expect((await probe.ask(port, { type: 'ping' })).id.hex).toBe(id.hex);
    await knowsTheRing(port);
    expect(await readdir(join(workshop.folder, 'killed/state'))).toEqual(['dht-only.state']);
  }, 150_000);

  test('after SIGTERM, and its values live no longer than they had left', async () => {
    const port = 47211;
    const before = await ours('stopped', port, RING.slice(1, 2));
    await knowsTheRing(port);
    const key = newId();
    // Of the type with the shortest life: a minute.
    const value = someValue(8n, VALUE_TYPE.iceCandidates);
    const end = Date.now() + 60_000;
    await probe.put(port, key, value);
    await sleep(10_000);
    await before.kill('SIGTERM');

    await ours('stopped', port, []);
    expect(await probe.get(port, key)).toEqual([value]);
    await knowsTheRing(port);
    await sleep(end - 3000 - Date.now());
    expect(await probe.get(port, key)).toEqual([value]);
    await sleep(4000);
    expect(await probe.get(port, key)).toEqual([]);
  }, 150_000);

  test('with a damaged file it starts anew, and keeps the file', async () => {
    const port = 47212;
    const before = await ours('damaged', port, RING.slice(2, 3));
    await knowsTheRing(port);
    await before.kill('SIGTERM');
    const file = stateFile('damaged');
    const bytes = await readFile(file);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await writeFile(file, bytes);

    const after = await ours('damaged', port, RING.slice(2, 3));
    await knowsTheRing(port);
    expect(after.output).toMatch(/dht-only\.state cannot be used \(.+\); kept as/);
    const names = await readdir(join(workshop.folder, 'damaged/state'));
    expect(names.filter((name) => name.includes('damaged'))).toHaveLength(1);
  }, 90_000);

  test('and dhtnode reads its file: the same id, the same nodes', async () => {
    const port = 47213;
    const before = await ours('lent', port, RING.slice(0, 1));
    await knowsTheRing(port);
    await before.kill('SIGTERM');
    const copy = join(workshop.folder, 'lent/for-dhtnode');
    await copyFile(stateFile('lent'), copy);
    const { id, nodes } = decodeState(await readFile(copy));
    expect(nodes.map(({ address }) => address)).toContainEqual({
      ip: parseIp('127.0.0.1'),
      port: RING[0],
    });

    workshop.start('dhtnode', ['-p', '47214', '-s', '-f', copy]);
    const { id: theirs } = await waitFor('dhtnode', () =>
      probe.ask(47214, { type: 'ping' }).catch(() => undefined),
    );
    expect(theirs.hex).toBe(id.hex);
    await knowsTheRing(47214);
  }, 90_000);
});
