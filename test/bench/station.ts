import { readdirSync, readFileSync } from 'node:fs';
import { systemClock } from '../../agent/base/clock.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { ControlClient } from '../../agent/control/client.ts';
import { VALUE_TYPE } from '../../agent/dht/value.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { sealValue } from '../../agent/identity/envelope.ts';
import { openIdentity } from '../../agent/identity/keystore.ts';
import { randomValueId } from '../../agent/identity/value-id.ts';
import { type Program, type StationHandle, sleep, Workshop, waitFor } from '../interop/harness.ts';
import { type Memory, memoryOf } from './lib/process.ts';

/**
 * Two stations, two real DHT nodes and a real broker on loopback: time to ready, call set-up, memory and CPU idle and in a
 * call, bytes of a call on the DHT. `STATION_PROGRAM=dist/main.js npm run bench -- station` measures the bundle.
 */

const DHT = 47_201;
const BROKER = 47_210;
const STARTS = 5;
const CALLS = 10;
/** A station takes a dozen offers of one contact at once, then one every 5 s. */
const CALL_GAP_MS = 3_000;
const IDLE_S = 20;
const TALK_S = 15;

/** Seconds on a processor so far, all threads: the scheduler's own nanoseconds, as ticks of 10 ms are too coarse for idling. */
function cpuOf(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const ns = threads.map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  );
  return ns.reduce((sum, each) => sum + each, 0) / 1e9;
}

async function cpuShare(pid: number, seconds: number): Promise<number> {
  const before = cpuOf(pid);
  const from = performance.now();
  await sleep(seconds * 1000);
  return (100 * (cpuOf(pid) - before)) / ((performance.now() - from) / 1000);
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
const range = (values: readonly number[]) =>
  `${median(values).toFixed(0)} ms median (${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)}, ${values.length} times)`;
const show = ({ rssMb, privateMb }: Memory) =>
  `${rssMb.toFixed(1)} MB resident, ${privateMb.toFixed(1)} MB private`;
const print = (what: string, figure: string) =>
  process.stdout.write(`${what.padEnd(36)} ${figure}\n`);

async function startedIn(station: StationHandle): Promise<{ program: Program; ms: number }> {
  const program = station.spawn();
  await waitFor('ready', () => program.output.includes('is ready') && true, 60_000);
  return { program, ms: performance.now() - program.startedAt };
}

/** From the request to the first sample that is not silence. */
async function callSetUp(socket: string): Promise<number> {
  const client = await ControlClient.connect(socket);
  const heard = new Promise<void>((resolve) => {
    client.onAudio((pcm) => {
      if (pcm.some((sample) => Math.abs(sample) > 500)) resolve();
    });
  });
  const from = performance.now();
  await client.request('call', { to: 'front', audio: 'stream' });
  await heard;
  const ms = performance.now() - from;
  await client.request('hangup', {});
  client.close();
  return ms;
}

const workshop = await Workshop.open('bench');
try {
  const [dhtnode] = await workshop.dhtRing(2, DHT);
  const mosquitto = await workshop.mosquitto(BROKER);
  const station = (name: string, port: number) =>
    workshop.station(name, [
      `dht: { bind: 127.0.0.1, port: ${port}, bootstrap: ["127.0.0.1:${DHT}"] }`,
      'audio: { device: tone }',
      'log: { level: debug }', // tells the size of each signal
      `mqtt: { url: "mqtt://127.0.0.1:${BROKER}" }`,
    ]);
  const [alice, front] = [await station('alice', 47_221), await station('front', 47_222)];
  const began = performance.now();
  await alice.json('init');
  print('making an identity (3 RSA-4096)', `${((performance.now() - began) / 1000).toFixed(1)} s`);
  await front.json('init');

  const starts: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    const { program, ms } = await startedIn(front);
    starts.push(ms);
    await program.kill('SIGTERM');
  }
  print('command to ready', range(starts));

  await alice.start();
  const { pid } = await front.start();
  const { id: aliceId } = await alice.json<{ id: string }>('id');
  const { id: frontId } = await front.json<{ id: string }>('id');
  await front.json('contact', 'add', 'alice', aliceId, '--can', 'ring,auto_answer');
  await alice.json('contact', 'add', 'front', frontId);

  await sleep(IDLE_S * 1000);
  const bare = workshop.start(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await sleep(1000);
  print('memory: bare Node', show(memoryOf(bare.pid)));
  if (dhtnode !== undefined) print('memory: dhtnode', show(memoryOf(dhtnode.pid)));
  print('memory: mosquitto', show(memoryOf(mosquitto.pid)));
  print('memory: idle, before the first call', show(memoryOf(pid)));
  print('CPU: idle', `${(await cpuShare(pid, IDLE_S)).toFixed(2)} % of a core`);

  const setUps: number[] = [];
  for (let i = 0; i < CALLS; i++) {
    setUps.push(await callSetUp(`${alice.folder}/control.sock`));
    await sleep(CALL_GAP_MS);
  }
  print('dial to first heard sample', range(setUps));

  const call = alice.cli('call', 'front', '--for', `${TALK_S + 5}s`);
  await waitFor('talking', async () => {
    const { calls } = await front.json<{ calls: { phase: string }[] }>('status');
    return calls[0]?.phase === 'active';
  });
  await sleep(2000);
  print('CPU: in a call', `${(await cpuShare(pid, TALK_S)).toFixed(2)} % of a core`);
  print('memory: in a call', show(memoryOf(pid)));
  await call;
  await sleep(IDLE_S * 1000);
  print('memory: idle, after calls', show(memoryOf(pid)));

  const identity = await openIdentity({
    state: `${alice.folder}/state`,
    clock: systemClock,
    random: systemRandom,
  });
  for (const [kind, program] of [
    ['offer', alice.program],
    ['answer', front.program],
  ] as const) {
    const line = new RegExp(`signal kind=${kind} .*bytes=(\\d+)`).exec(program.output);
    const bytes = Number(line?.[1]);
    const data = new Uint8Array(bytes);
    const content = { type: VALUE_TYPE.userData, userType: 'doorward.signal', data };
    const { devicePrivateKey, device } = identity;
    const id = randomValueId(systemRandom);
    const value = await sealValue(content, devicePrivateKey, device.publicKeyDer, {
      id,
      random: systemRandom,
    });
    print(`bytes: ${kind}`, `${bytes} as a signal, ${packValue(value).length} sealed on the DHT`);
  }
  identity.devicePrivateKey.close();
} finally {
  await workshop.close();
}
