import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemRandom } from '../../agent/base/random.ts';
import { ControlClient } from '../../agent/control/client.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { LIMITS } from '../../agent/dht/limits.ts';
import type { QueryMessage, Reply } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { brokenSizes, sumOfCaps } from '../dht/caps.ts';
import { type Program, sleep, Workshop, waitFor } from './harness.ts';
import { buildBundle, ROOT } from './outside.ts';

/**
 * `doorward run --dht-only`, bundled as it ships, under half a minute of everything that 400 hostile addresses can send
 * (test/peers/hostile-crowd.ts): what it keeps is less than the sum of its caps, and an honest node is served all the time.
 */

const PORT = 47_610;
const FLOOD_S = 25;
const QUIET_S = 12;
const ATTEMPTS = 20;
const PATIENCE_MS = 300;
/** At the height of it: bytes of datagrams that nobody holds any more, until V8 comes round. */
const UNCOLLECTED_MB = 32;

let workshop: Workshop;
let target: Program;
let control: ControlClient;
const honest = createSocket('udp4');
const honestId = new InfoHash(systemRandom.bytes(20));
/** Datagrams that the honest one sent, and those that were answered. */
let asked = 0;
let answered = 0;

async function stats(): Promise<Record<string, number>> {
  const { stats } = await control.request('status', {});
  return { ...stats['dht'] };
}

function residentMb(): number {
  const status = readFileSync(`/proc/${target.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

/** Ask until there is an answer, as any node does: a flood costs datagrams. */
async function ask(query: Partial<QueryMessage> & { type: string }): Promise<Reply> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const tid = systemRandom.uint32();
    asked++;
    honest.send(encodeMessage({ ...query, tid, id: honestId } as QueryMessage), PORT, '127.0.0.1');
    const signal = AbortSignal.timeout(PATIENCE_MS);
    try {
      for (;;) {
        const [packet] = (await once(honest, 'message', { signal })) as [Uint8Array];
        const message = decodeMessage(packet);
        if (message.type !== 'reply' || message.tid !== tid) continue;
        answered++;
        return message;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
  throw new Error(`no answer to ${query.type} in ${ATTEMPTS} attempts`);
}

/**
 * Put a value at the target and get it back from there. The key is next to the target's id: of all others the crowd can be
 * closer than it is, with as many ids as it likes.
 * @returns ms
 */
async function serves(): Promise<number> {
  const start = performance.now();
  const { id, token } = await ask({ type: 'find', target: honestId });
  const bytes = id.bytes.slice();
  bytes.set(systemRandom.bytes(2), 18);
  const key = new InfoHash(bytes);
  const data = systemRandom.bytes(300);
  const values = [packValue({ kind: 'plain', id: 5n, type: 0, data })];
  await ask({ type: 'put', key, values, token });
  expect((await ask({ type: 'get', key })).values).toEqual(values);
  return performance.now() - start;
}

beforeAll(async () => {
  workshop = await Workshop.open('flood');
  const main = await buildBundle(workshop.folder);
  const socket = `${workshop.folder}/control.sock`;
  const settings = [
    `dht.port=${PORT}`,
    'dht.bind=127.0.0.1',
    `state=${workshop.folder}/state`,
    `control=${socket}`,
  ].flatMap((setting) => ['--set', setting]);
  target = workshop.start(process.execPath, [main, 'run', '--dht-only', ...settings], {
    XDG_CONFIG_HOME: workshop.folder,
  });
  await waitFor('our node', () => {
    if (!target.alive) throw new Error(`our node ended: ${target.output}`);
    return target.output.includes('ready');
  });
  control = await ControlClient.connect(socket);
});

afterAll(async () => {
  honest.close();
  control.close();
  await workshop.close();
});

test('a flood raises memory by no more than the sum of the caps, and the honest are served', async () => {
  await serves();
  const before = residentMb();
  const crowd = promisify(execFile)(process.execPath, [
    '--import',
    'tsx',
    join(ROOT, 'test/peers/hostile-crowd.ts'),
    String(PORT),
    String(FLOOD_S),
  ]);
  let peak = before;
  let slowest = 0;
  const broken: string[] = [];
  let flooding = true;
  const ended = () => {
    flooding = false;
  };
  crowd.then(ended, ended);
  while (flooding) {
    slowest = Math.max(slowest, await serves());
    peak = Math.max(peak, residentMb());
    broken.push(...brokenSizes(await stats()));
    await sleep(250);
  }
  const { stdout } = await crowd;
  await sleep(QUIET_S * 1000);
  const after = residentMb();
  peak = Math.max(peak, after);
  const cap = sumOfCaps() / 2 ** 20;
  const mb = (value: number) => value.toFixed(1);
  console.log(
    `${stdout.trim()}\nresident ${mb(before)} MB before, ${mb(peak)} at most, ${mb(after)} after ${QUIET_S} s of quiet; the caps sum up to ${mb(cap)}; the honest node sent ${asked} datagrams, ${answered} were answered, find, put and get took ${slowest.toFixed(0)} ms at most`,
  );
  expect(broken).toEqual([]);
  expect(after - before).toBeLessThan(cap);
  expect(peak - before).toBeLessThan(cap + UNCOLLECTED_MB);
  const counted = await stats();
  // Half-sent values and known nodes met their bounds, long queries were dropped.
  for (const name of ['rpc.assembliesEvicted', 'rpc.assembliesAbandoned', 'rpc.malformed'])
    expect(counted[name], name).toBeGreaterThan(0);
  expect(counted['rpc.nodes4']).toBe(LIMITS.nodes);
  expect(counted['storage.values']).toBeGreaterThan(500);
  await serves();
}, 120_000);
