import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemRandom } from '../../agent/base/random.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Message } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { vector } from '../identity/fixtures.ts';
import { DhtnodeConsole, PythonNode } from '../peers/opendht/programs.ts';
import { type CommandOutcome, type Program, Workshop, waitFor } from './harness.ts';
import { buildBundle, execute, freshEnvironment } from './outside.ts';

/** `doorward dht` and `run --dht-only` among real nodes: two `dhtnode`s, one with alice's identity, one of python3-opendht. */

const RING_PORT = 47_310;
const ALICE_PORT = 47_320;
const NODE_PORT = 47_330;
const STATION_PORT = 47_331;

let workshop: Workshop;
let main: string;
let python: PythonNode;
let alice: DhtnodeConsole;
const aliceKeys = vector('keys').keys.alice;

beforeAll(async () => {
  workshop = await Workshop.open('dht-cli');
  main = await buildBundle(workshop.folder);
  await workshop.dhtRing(2, RING_PORT);
  await configure('node', NODE_PORT);
  await configure('station', STATION_PORT);
  await start('node', '--dht-only');
  await start('station');
  python = new PythonNode();
  await python.join('127.0.0.1', RING_PORT);
  const identity = { key: join(workshop.folder, 'a.key'), chain: join(workshop.folder, 'a.pem') };
  const chains = vector('certificates').hand_made;
  await writeFile(identity.key, aliceKeys.private_pkcs8_pem);
  await writeFile(
    identity.chain,
    chains['alice (issued by the vector authority, key carol)'].pem_chain,
  );
  alice = new DhtnodeConsole([
    ...['-p', `${ALICE_PORT}`, '-b', `127.0.0.1:${RING_PORT}`],
    ...['--privkey', identity.key, '--certificate', identity.chain],
  ]);
  await alice.command('', /running on port/);
  for (const name of ['node', 'station']) {
    await waitFor(`${name} connected`, async () => {
      const { stdout } = await doorward(name, 'status', '--json');
      return JSON.parse(stdout).dht.state === 'connected';
    });
  }
}, 60_000);

afterAll(async () => {
  await Promise.all([python.kill(), alice.kill()]);
  await workshop.close();
});

async function configure(name: string, port: number): Promise<void> {
  const lines = [
    `state: ./${name}`,
    `control: ./${name}.sock`,
    `dht: { port: ${port}, bootstrap: ["127.0.0.1:${RING_PORT}"] }`,
    "audio: { device: 'null' }",
    'mqtt: { enabled: false }',
  ];
  await writeFile(join(workshop.folder, `${name}.yaml`), lines.join('\n'));
}

async function start(name: string, ...options: string[]): Promise<Program> {
  const config = join(workshop.folder, `${name}.yaml`);
  const program = workshop.start(process.execPath, [main, 'run', '-c', config, ...options]);
  await waitFor(`${name} ready`, () => {
    if (!program.alive) throw new Error(program.output);
    return program.output.includes('ready');
  });
  return program;
}

const surroundings = () => ({ cwd: workshop.folder, env: freshEnvironment(workshop.folder) });

/** Ask the node or station that runs under this name. */
function doorward(name: string, ...argv: string[]): Promise<CommandOutcome> {
  return execute([process.execPath, main, '-c', `${name}.yaml`, ...argv], surroundings());
}

/** The same with a pipe before or behind it, through a shell. */
function piped(script: string): Promise<CommandOutcome> {
  const env = { ...freshEnvironment(workshop.folder), NODE: process.execPath, MAIN: main };
  return execute(['sh', '-c', script], { cwd: workshop.folder, env });
}

/** A command that must succeed: what it printed, one object for each line. */
// biome-ignore lint/suspicious/noExplicitAny: each command has a shape of its own
async function json(name: string, ...argv: string[]): Promise<[any, ...any[]]> {
  const { code, stdout, stderr } = await doorward(name, ...argv, '--json');
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit ${code}: ${stderr}`);
  const lines = stdout.trim().split('\n');
  // biome-ignore lint/suspicious/noExplicitAny: as above
  return lines.map((line) => JSON.parse(line)) as [any, ...any[]];
}

const hex = (bytes: Uint8Array | string) => Buffer.from(bytes).toString('hex');

describe('a value', () => {
  test('that the command line puts is got by python3-opendht and by dhtnode', async () => {
    const [put] = await json('node', 'dht', 'put', 'from us', 'hello', '--id', '5');
    const key = InfoHash.of('from us').hex;
    expect(put).toMatchObject({ key, id: '5' });
    expect(put.acknowledged).toBeGreaterThan(0);
    expect(await python.get(key)).toMatchObject([{ id: 5, data: hex('hello') }]);
    const [text] = await alice.command(`g ${key}`, /hello|68 65 6c 6c 6f|68656c6c6f|completed/);
    expect(text).not.toBe('completed');
  });

  test('that python3-opendht puts is got, with filters, and as bytes', async () => {
    const key = InfoHash.of('from python').hex;
    expect(await python.put(key, hex('one'), 1)).toBe(true);
    expect(await python.put(key, '00ff0a', 2)).toBe(true);
    const all = await json('node', 'dht', 'get', 'from python');
    expect(all.map(({ id }) => id).sort()).toEqual(['1', '2']);
    const one = await doorward('node', 'dht', 'get', 'from python', '--where', 'id=1');
    expect(one).toEqual({
      code: 0,
      stdout: 'id 1, type 0, 3 bytes, not signed\n  one\n',
      stderr: '',
    });
    const raw = await piped(
      '"$NODE" "$MAIN" -c node.yaml dht get "from python" --where id=2 --raw | xxd -p',
    );
    expect(raw.stdout).toBe('00ff0a\n');
    expect(await doorward('node', 'dht', 'get', 'nothing')).toMatchObject({ code: 6, stdout: '' });
  });

  test('of 60 kB goes from standard input through the network to standard output', async () => {
    const bytes = systemRandom.bytes(60_000);
    await writeFile(join(workshop.folder, 'large'), bytes);
    const put = await piped('"$NODE" "$MAIN" -c node.yaml dht put large - < large');
    expect(put).toMatchObject({ code: 0, stderr: '' });
    const [value] = await python.get(InfoHash.of('large').hex);
    expect(value?.data).toBe(hex(bytes));
    const get = await piped(
      '"$NODE" "$MAIN" -c station.yaml dht get large --raw > got && cmp large got && echo same',
    );
    expect(get).toMatchObject({ code: 0, stdout: 'same\n' });
  });

  test('that comes and goes is heard of', async () => {
    const key = InfoHash.of('short life');
    const listening = doorward('node', 'dht', 'listen', 'short life', '--for', '8s', '--json');
    await new Promise((wake) => setTimeout(wake, 1500));
    // Type 0 lives 600 s from its creation.
    await putAged(RING_PORT, key, 7n, 597);
    const { code, stdout } = await listening;
    expect(code).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { expired: false, id: '7', data: Buffer.from('soon gone').toString('base64') },
      { expired: true, id: '7' },
    ]);
  });
});

/** Put a value that is `ageS` old at one node, as no tool does. */
async function putAged(port: number, key: InfoHash, id: bigint, ageS: number): Promise<void> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const self = new InfoHash(systemRandom.bytes(20));
  const ask = async (message: Message) => {
    socket.send(encodeMessage(message), port, '127.0.0.1');
    for (;;) {
      const [packet] = (await once(socket, 'message')) as [Buffer];
      const reply = decodeMessage(packet);
      if (reply.type === 'reply' && reply.tid === message.tid) return reply;
    }
  };
  const { token } = await ask({ type: 'find', tid: 1, id: self, target: key });
  if (token === undefined) throw new Error('no token');
  const value = packValue({ kind: 'plain', id, type: 0, data: Buffer.from('soon gone') });
  const created = Math.floor(Date.now() / 1000) - ageS;
  await ask({ type: 'put', tid: 2, id: self, key, token, values: [value], created });
  socket.close();
}

/** What dhtnode prints as text. */
const TEXT = ['--user-type', 'text/plain'];

describe('identities', () => {
  test('a signed value is read by all, with its signer, and edited', async () => {
    for (const text of ['first-words', 'second-words']) {
      await json('station', 'dht', 'put-signed', 'notice', text, '--id', '9', ...TEXT);
    }
    const [value] = await json('node', 'dht', 'get', 'notice');
    expect(value).toMatchObject({ id: '9', data: Buffer.from('second-words').toString('base64') });
    expect(value.signed).toMatchObject({ seq: 1, signature: 'good' });
    const key = InfoHash.of('notice').hex;
    const [text] = await alice.command(`g ${key}`, /\w+-words|completed/);
    expect(text).toBe('second-words');
  });

  test('what dhtnode signs is shown as signed by its key', async () => {
    const key = InfoHash.of('signed by alice').hex;
    await alice.command(`s ${key} alice-was-here`, /signed|success|took/i);
    const { stdout } = await doorward('node', 'dht', 'get', key);
    expect(stdout).toContain(`signed by ${aliceKeys.key_id}, seq 0\n`);
    const [chosen] = await json('node', 'dht', 'get', key, '--select', 'owner_pk');
    expect(chosen).toEqual({ by: aliceKeys.key_id, signature: 'good' });
  });

  test.each([
    ['short', () => aliceKeys.key_id],
    ['long', () => aliceKeys.long_id],
  ])('dhtnode reads what is encrypted to the %s id of its key', async (name, to) => {
    const key = InfoHash.of(`to alice ${name}`).hex;
    const [put] = await json('station', 'dht', 'put-encrypted', key, to(), `psst-${name}`, ...TEXT);
    expect(put).toMatchObject({ device: aliceKeys.long_id });
    const [text] = await alice.command(`g ${key}`, new RegExp(`psst-${name}|completed`));
    expect(text).toBe(`psst-${name}`);
  });

  test('the station reads what dhtnode encrypts to it; a node alone sees that it is encrypted', async () => {
    await json('station', 'dht', 'put-signed', 'who', 'me');
    const [own] = await json('station', 'dht', 'get', 'who');
    const { by } = own.signed;
    const key = InfoHash.of('to the station').hex;
    await alice.command(`e ${key} ${by} dear-door`, /encrypted|success|took/i);
    const value = await waitFor('the value', async () => {
      const { code, stdout } = await doorward('station', 'dht', 'get', key, '--json');
      return code === 0 && (JSON.parse(stdout) as Record<string, unknown>);
    });
    expect(value).toMatchObject({
      encrypted: 'opened',
      data: Buffer.from('dear-door').toString('base64'),
      signed: { by: aliceKeys.key_id, to: by, signature: 'good' },
    });
    const [sealed] = await json('node', 'dht', 'get', key);
    expect(sealed).toEqual({ id: value['id'], encrypted: 'not-tried' });
  });

  test('a node alone signs nothing', async () => {
    expect(await doorward('node', 'dht', 'put-signed', 'k', 'v')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('this node has no identity to sign with'),
    });
  });
});

describe('the network', () => {
  test('is shown: who answers where, whom we know, and what is held', async () => {
    const [answer] = await json('node', 'dht', 'ping', `localhost:${RING_PORT}`);
    expect(answer).toMatchObject({ address: `127.0.0.1:${RING_PORT}` });
    const [table] = await json('node', 'dht', 'nodes');
    expect(table.nodes).toContainEqual(expect.objectContaining({ id: answer.id, state: 'good' }));
    const { stdout } = await doorward('node', 'dht', 'stats');
    expect(stdout).toMatch(/^storage\.bytes +[\d,]+ +16,777,216$/m);
    expect(stdout).toMatch(/^rpc\.received +[\d,]+$/m);
    const nobody = await doorward('node', 'dht', 'ping', '127.0.0.1:47399', '--timeout', '1s');
    expect(nobody).toMatchObject({ code: 5, stdout: '' });
  });

  test('is used by a node for one command, without identity and state', async () => {
    const bootstrap = ['--bootstrap', `127.0.0.1:${RING_PORT + 1}`];
    const argv = ['dht', 'put', 'passing by', 'hi', ...bootstrap];
    const put = await execute([process.execPath, main, ...argv], surroundings());
    expect(put).toMatchObject({ code: 0, stderr: 'starting a node for this command\n' });
    expect(await python.get(InfoHash.of('passing by').hex)).toMatchObject([{ data: hex('hi') }]);
    expect(existsSync(join(workshop.folder, '.local'))).toBe(false);
    const alone = ['dht', 'get', 'k', '--bootstrap', '127.0.0.1:47399'];
    const nobody = await execute([process.execPath, main, ...alone], surroundings());
    expect(nobody).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('no node of network 0 answered in 5 s'),
    });
  });
});

describe('a node of the DHT alone', () => {
  test('is small, makes no identity, has no calls, and stops in time', async () => {
    await configure('small', 47_332);
    const program = await start('small', '--dht-only');
    const [status] = await json('small', 'status');
    expect(status).toMatchObject({ mode: 'dht-only' });
    expect(status).not.toHaveProperty('calls');
    const { rss_bytes } = status.memory;
    const [station] = await json('station', 'status');
    const whole = station.memory.rss_bytes;
    console.log(`resident: --dht-only ${mb(rss_bytes)}, whole station ${mb(whole)}`);
    expect(rss_bytes).toBeLessThan(whole);
    expect(await doorward('small', 'contact', 'list')).toMatchObject({ code: 3 });
    const began = performance.now();
    program.child.kill('SIGTERM');
    expect(await program.exited).toBe(0);
    expect(performance.now() - began).toBeLessThan(2000);
    expect(existsSync(join(workshop.folder, 'small.sock'))).toBe(false);
    // What it knew, and under which id.
    expect(readdirSync(join(workshop.folder, 'small'))).toEqual(['dht-only.state']);
    await start('small', '--dht-only');
    const [again] = await json('small', 'status');
    expect(again.dht.id).toBe(status.dht.id);
    expect(again.pid).not.toBe(status.pid);
  });

  test('listens on both families, in two tables', async () => {
    await configure('both', 47_333);
    await start('both', '--dht-only', '--set', 'dht.bind6=::1');
    const argv = ['dht', 'ping', '[::1]:47333', '--bootstrap', '[::1]:47333', '--json'];
    const { code, stdout } = await execute([process.execPath, main, ...argv], surroundings());
    const [status] = await json('both', 'status');
    expect(code).toBe(0);
    expect(JSON.parse(stdout).id).toBe(status.dht.id);
  });
});

const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
