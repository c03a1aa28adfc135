import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromUtf8, toHex, utf8 } from '../../agent/base/bytes.ts';
import { systemClock } from '../../agent/base/clock.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { DhtNode } from '../../agent/dht/udp.ts';
import type { PlainValue, Value } from '../../agent/dht/value.ts';
import { getAll } from '../../agent/dht-library.ts';
import type { Identity } from '../../agent/identity/identity.ts';
import { openPrivateKey } from '../../agent/identity/private-key.ts';
import { SecureDht } from '../../agent/identity/secure-dht.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import { createValuePolicy } from '../../agent/identity/value-policy.ts';
import { fixtureIdentity, fixtureKey, vector } from '../identity/fixtures.ts';
import { type Program, PythonNode, startDhtnode } from '../peers/opendht/programs.ts';
import { seededRandom } from '../sim/seeded.ts';
import { DhtConsole, writeIdentity } from './dht-console.ts';
import { Workshop } from './harness.ts';
import { until } from './until.ts';

/**
 * Eight real `dhtnode`s and eight nodes of ours in one ring in which, all the time, one is killed and another joins, of either
 * kind in turn. What one kind puts the other gets and hears.
 */

const FIRST_PORT = 47_500;
const OF_EACH = 8;
const CONSOLE_PORT = 47_590;
const CHURN_MS = 2500;
/** Which of those that live is killed; printed with a failure by the name of the test. */
const SEED = 11;

interface Member {
  readonly port: number;
  readonly isReal: boolean;
  kill(): Promise<void>;
}

const random = seededRandom(SEED);
const verifier = new SignatureVerifier();
const members: Member[] = [];
let nextPort = FIRST_PORT;
let killed = 0;

function ourNode(port: number, bootstrap: number | undefined): DhtNode {
  return new DhtNode({
    id: new InfoHash(systemRandom.bytes(20)),
    bind: ['127.0.0.1'],
    port,
    bootstrap: bootstrap === undefined ? [] : [{ host: '127.0.0.1', port: bootstrap }],
    policy: createValuePolicy(verifier),
  });
}

/** One more, that knows one of the other kind and nobody else. */
async function join(isReal: boolean): Promise<Member> {
  const others = members.filter((member) => member.isReal !== isReal);
  const at = others[Math.floor(random.fraction() * others.length)]?.port;
  const port = nextPort++;
  let member: Member;
  if (isReal) {
    const program: Program = startDhtnode(port, at === undefined ? undefined : `127.0.0.1:${at}`);
    member = { port, isReal, kill: () => program.kill() };
  } else {
    const node = ourNode(port, at);
    await node.start();
    member = { port, isReal, kill: () => node.stop() }; // says nothing either
  }
  members.push(member);
  return member;
}

const churn = new AbortController();
let churning: Promise<void> = Promise.resolve();

async function keepChanging(): Promise<void> {
  for (let isReal = true; ; isReal = !isReal) {
    await sleep(CHURN_MS, undefined, { signal: churn.signal });
    const same = members.filter((member) => member.isReal === isReal);
    const victim = same[Math.floor(random.fraction() * same.length)];
    if (victim === undefined) continue;
    members.splice(members.indexOf(victim), 1);
    await victim.kill();
    killed++;
    await join(isReal);
  }
}

const newKey = () => new InfoHash(systemRandom.bytes(20));
const dataOf = (value: Value) => (value.kind === 'plain' ? toHex(value.data) : value.kind);

let workshop: Workshop;
let ours: DhtNode;
let real: PythonNode;
let reference: DhtConsole;
let station: SecureDht;
const front = fixtureIdentity('front');
const alice = vector('keys').keys.alice;

beforeAll(async () => {
  workshop = await Workshop.open('mixed');
  for (let i = 0; i < OF_EACH; i++) {
    await join(false);
    await join(true);
    await sleep(300);
  }
  // Those that ask: a real one which enters at one of ours, and one of ours which enters at a real one.
  const [ourEntry = 0, realEntry = 0] = [false, true].map(
    (isReal) => members.find((member) => member.isReal === isReal)?.port,
  );
  real = new PythonNode();
  await real.join('127.0.0.1', ourEntry);
  ours = ourNode(0, realEntry);
  await ours.start();
  const { pem_chain } =
    vector('certificates').hand_made['alice (issued by the vector authority, key carol)'];
  const files = await writeIdentity(workshop.folder, 'alice', alice.private_pkcs8_pem, pem_chain);
  reference = new DhtConsole(CONSOLE_PORT, ourEntry, files);
  await reference.command('', /running on port/);
  // A real node looks for others 3 to 5 s after its first answer.
  await sleep(8000);
  const device: Identity = {
    ...front,
    devicePrivateKey: openPrivateKey(fixtureKey('front', 'device.key'), { clock: systemClock }),
  };
  station = new SecureDht({
    dht: ours,
    identity: device,
    random: systemRandom,
    now: () => systemClock.now(),
    unixMs: () => systemClock.unixMs(),
    verifier,
  });
  await station.publish();
  churning = keepChanging().catch((error: unknown) => {
    if (!churn.signal.aborted) throw error;
  });
}, 60_000);

afterAll(async () => {
  churn.abort();
  await churning;
  station.close();
  await Promise.all([ours.stop(), real.kill(), reference.close()]);
  await Promise.all(members.map((member) => member.kill()));
  await workshop.close();
});

const SIZES: [string, number][] = [
  ['inline', 100],
  ['in parts', 1800],
  ['of 60 kB', 60_000],
];

describe('while nodes of both kinds die and join', () => {
  test('each kind knows the other', async () => {
    await until(() => ours.state().peers4 >= OF_EACH + 1, 40_000);
    expect(ours.state().state).toBe('connected');
  });

  test.each(SIZES)('a value %s that a real node puts is heard and got by us', async (_, bytes) => {
    const key = newKey();
    const heard: Value[] = [];
    const listen = ours.listen(key, undefined, (value) => heard.push(value));
    await sleep(1000);
    const data = toHex(systemRandom.bytes(bytes));
    expect(await real.put(key.hex, data, 71)).toBe(true);
    expect((await getAll(ours, key)).map(dataOf)).toEqual([data]);
    await until(() => heard.length > 0, 10_000);
    expect(heard.map(dataOf)).toEqual([data]);
    listen.cancel();
  });

  test.each(SIZES)('a value %s that we put is heard and got by a real node', async (_, bytes) => {
    const key = newKey();
    await real.listen(key.hex);
    await sleep(1000);
    const value: PlainValue = { kind: 'plain', id: 72n, type: 0, data: systemRandom.bytes(bytes) };
    const { acknowledged } = await ours.put(key, value);
    expect(acknowledged).toBeGreaterThan(3);
    const data = toHex(value.data);
    expect((await real.get(key.hex)).map((got) => got.data)).toEqual([data]);
    await until(() => real.heard.some((got) => got.data === data), 10_000);
  });

  test('a value that a real node signs is heard and got by us, and is what it signed', async () => {
    const key = newKey();
    const heard: Value[] = [];
    const listen = ours.listen(key, undefined, (value) => heard.push(value));
    await sleep(1000);
    await reference.command(`s ${key.hex} signed-by-alice`, /signed|success|took/i);
    await until(() => heard.length > 0, 10_000);
    for (const value of [heard[0], (await getAll(ours, key))[0]] as PlainValue[]) {
      expect(fromUtf8(value.data)).toContain('signed-by-alice');
      expect(verifier.verify(value)).toBe(true);
    }
    listen.cancel();
  });

  test('a value that we sign is heard and got by a real node', async () => {
    const key = newKey();
    await reference.command(`l ${key.hex}`, /[Ll]isten/);
    await sleep(1000);
    const from = reference.output.length;
    const content = { type: 0, data: utf8('signed-by-front'), userType: 'text/plain' };
    const { acknowledged } = await station.putSigned(key, content, { valueId: 78n }).result;
    expect(acknowledged).toBeGreaterThan(3);
    await until(() => reference.output.slice(from).includes('signed-by-front'), 10_000);
    const [text] = await reference.command(`g ${key.hex}`, /signed-by-front|Get: completed[^\n]*/);
    expect(text).toBe('signed-by-front');
  });

  test('a value that a real node encrypts to us is heard and opened', async () => {
    const key = newKey();
    const heard: string[] = [];
    const listen = station.listenSealed(key, (content) => heard.push(fromUtf8(content.data)));
    await sleep(1000);
    const { hex } = front.device.shortId;
    await reference.command(`e ${key.hex} ${hex} for-the-door`, /Put encrypted|success|took/i);
    await until(() => heard.length > 0, 15_000);
    expect(heard[0]).toContain('for-the-door');
    listen.cancel();
  });

  test('a value that we encrypt is opened by the real node that it is for', async () => {
    const key = newKey();
    const to = await station.findCertificate({ shortId: InfoHash.fromHex(alice.key_id) });
    if (to === undefined) throw new Error('no certificate of alice');
    const content = { type: 0, data: utf8('for-alice'), userType: 'text/plain' };
    const { acknowledged } = await station.putSealed(key, content, to).result;
    expect(acknowledged).toBeGreaterThan(3);
    const [text] = await reference.command(`g ${key.hex}`, /for-alice|Get: completed[^\n]*/);
    expect(text).toBe('for-alice');
  });

  test('of both kinds some were killed', async () => {
    // On a quiet machine all of the above takes less time than that.
    await until(() => killed > 5, 10 * CHURN_MS);
    expect(killed).toBeGreaterThan(5);
  });
});
