import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { systemRandom } from '../../agent/base/random.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Message, Reply } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { plainValue } from '../sim/world.ts';

/**
 * Our whole node, bundled as it ships and without its rate limit, beside `dhtnode --no-rate-limit`: replies per CPU second
 * of the server under closed-loop load from 512 addresses, in turn on the same machine in the same minutes. Needs a C
 * compiler and dhtnode.
 * Run: node --import tsx test/bench/dht-load.ts [seconds per figure] [rounds]
 */

const WINDOW = 256;
const SOURCES = 512;
const STORED = 64;
const STORED_BYTES = 100;
const KEY = InfoHash.of('a full store');

interface Kind {
  readonly name: string;
  readonly query: string;
  /** Ask for the key with the values: header and a part for each. */
  readonly full?: boolean;
}

const KINDS: readonly Kind[] = [
  { name: 'ping', query: 'ping' },
  { name: 'find', query: 'find' },
  { name: 'get, nothing there', query: 'get' },
  { name: 'get of ids, as dhtnode asks', query: 'ids' },
  { name: `get, ${STORED} values`, query: 'get', full: true },
];

interface Server {
  readonly name: string;
  readonly port: number;
  readonly start: () => ReturnType<typeof spawn>;
}

interface Figure {
  readonly perCpuS: number;
  readonly p99Us: number;
  readonly lost: number;
}

const root = join(import.meta.dirname, '../..');
const seconds = Number(process.argv[2] ?? 2);
const rounds = Number(process.argv[3] ?? 5);
const folder = mkdtempSync(join(tmpdir(), 'doorward-bench-'));
// Beside node_modules, so that koffi is found; the fallback runs where it is not.
const beside = join(root, 'node_modules/.doorward-bench');

const node = (file: string, port: number) =>
  spawn(process.execPath, [file, String(port)], { stdio: 'ignore' });

const servers: readonly Server[] = [
  { name: 'doorward', port: 46_701, start: () => node(join(beside, 'node.mjs'), 46_701) },
  { name: 'node:dgram', port: 46_702, start: () => node(join(folder, 'node.mjs'), 46_702) },
  {
    name: 'dhtnode',
    port: 46_703,
    start: () => spawn('dhtnode', ['-s', '-p', '46703', '--no-rate-limit'], { stdio: 'ignore' }),
  },
];

async function bundle(outfile: string): Promise<void> {
  await build({
    entryPoints: [join(import.meta.dirname, 'peers/lean-node.ts')],
    outfile,
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    external: ['koffi'],
    logLevel: 'error',
  });
}

/** Put the values there by hand, as any node would. */
async function fill(port: number): Promise<void> {
  const socket = createSocket('udp4');
  const id = new InfoHash(systemRandom.bytes(20));
  const ask = async (message: Message): Promise<Reply> => {
    socket.send(encodeMessage(message), port, '127.0.0.1');
    for (;;) {
      const [packet] = (await once(socket, 'message')) as [Uint8Array];
      const answer = decodeMessage(packet);
      if (answer.type === 'reply' && answer.tid === message.tid) return answer;
    }
  };
  const { token } = await ask({ type: 'find', tid: 1, id, target: KEY, client: true });
  for (let i = 1; i <= STORED; i++) {
    const values = [packValue(plainValue(BigInt(i), systemRandom.bytes(STORED_BYTES)))];
    await ask({ type: 'put', tid: 1 + i, id, key: KEY, token, values, client: true });
  }
  socket.close();
}

function measure(load: string, port: number, pid: number, kind: Kind): Figure {
  const args = [port, kind.query, seconds, WINDOW, SOURCES, pid].map(String);
  if (kind.full) args.push(KEY.hex, String(1 + STORED));
  const line = execFileSync(load, args, { encoding: 'utf8' });
  const value = (name: string) => Number(/([\d.]+)/.exec(line.split(` ${name}=`)[1] ?? '')?.[1]);
  return { perCpuS: value('per_cpu_s'), p99Us: value('p99_us'), lost: value('lost') };
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

mkdirSync(beside, { recursive: true });
const running: ReturnType<typeof spawn>[] = [];
try {
  const load = join(folder, 'dhtload');
  execFileSync('cc', ['-O2', '-o', load, join(import.meta.dirname, 'peers/dhtload.c')]);
  await bundle(join(beside, 'node.mjs'));
  await bundle(join(folder, 'node.mjs'));
  for (const server of servers) running.push(server.start());
  await sleep(3000);
  for (const { port } of servers) await fill(port);
  console.log(
    `replies per CPU second, median of ${rounds} rounds of ${seconds} s (ratio: median of the rounds' ratios to dhtnode); p99 ms`,
  );
  for (const kind of KINDS) {
    const figures = servers.map((): Figure[] => []);
    for (let round = 0; round < rounds; round++)
      servers.forEach(({ port }, i) => {
        figures[i]?.push(measure(load, port, running[i]?.pid ?? 0, kind));
      });
    const real = figures.at(-1) ?? [];
    const columns = servers.map(({ name }, i) => {
      const own = figures[i] ?? [];
      const ratio = median(own.map((figure, k) => figure.perCpuS / (real[k]?.perCpuS ?? 0)));
      const p99 = median(own.map(({ p99Us }) => p99Us)) / 1000;
      const lost = own.reduce((sum, figure) => sum + figure.lost, 0);
      const rate = Math.round(median(own.map(({ perCpuS }) => perCpuS)));
      return `${name} ${rate} (${ratio.toFixed(2)}), p99 ${p99.toFixed(1)}, lost ${lost}`;
    });
    console.log(`${kind.name.padEnd(28)} ${columns.join(' | ')}`);
  }
} finally {
  for (const server of running) {
    const gone = once(server, 'exit');
    server.kill('SIGTERM');
    await gone;
  }
  rmSync(folder, { recursive: true });
  rmSync(beside, { recursive: true });
}
