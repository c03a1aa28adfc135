import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sleep, Workshop, waitFor } from '../interop/harness.ts';
import { privateNetwork } from '../interop/outside.ts';
import { loopbackTraffic, type Traffic } from './lib/process.ts';

/**
 * What a ring of 16 idle nodes says to each other, ours beside `dhtnode`, each in a network of its own whose loopback
 * interface counts. Needs root and dhtnode.
 * Run: node --import tsx test/bench/dht-idle.ts [--minutes 10] [--settle 3]
 */

const NODES = 16;
const FIRST_PORT = 47_600;

const { values: args } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    settle: { type: 'string', default: '3' },
  },
});
const [minutes, settle] = [Number(args.minutes), Number(args.settle)];

const workshop = await Workshop.open('idle');
try {
  const ours = await ring(async (inside) => {
    const file = join(import.meta.dirname, 'peers/dht-ring.ts');
    const [command = '', ...rest] = [...inside, process.execPath, '--import', 'tsx', file];
    const program = workshop.start(command, [...rest, `${NODES}`, `${FIRST_PORT}`]);
    await waitFor('our ring', () => program.output.includes('up'), 30_000);
    return program.pid;
  });
  const real = await ring(async (inside) => {
    let pid = 0;
    for (let i = 0; i < NODES; i++) {
      const port = FIRST_PORT + i;
      const bootstrap = i === 0 ? [] : ['-b', `127.0.0.1:${port - 1}`];
      const [command = '', ...rest] = [...inside, 'dhtnode', '-s', '-p', `${port}`, ...bootstrap];
      pid = workshop.start(command, rest).pid;
      await sleep(200);
    }
    return pid;
  });
  const both = [
    { name: 'doorward', pid: ours },
    { name: 'dhtnode', pid: real },
  ];
  await sleep(settle * 60_000);
  console.log(`packets and bytes a minute of a ring of ${NODES}, UDP payload and headers`);
  const start = both.map(({ pid }) => loopbackTraffic(pid));
  let last = start;
  for (let minute = 1; minute <= minutes; minute++) {
    await sleep(60_000);
    const now = both.map(({ pid }) => loopbackTraffic(pid));
    console.log(
      `minute ${minute}: ${both.map(({ name }, i) => show(name, last[i], now[i])).join('; ')}`,
    );
    last = now;
  }
  console.log(
    `mean of ${minutes} minutes: ${both.map(({ name }, i) => show(name, start[i], last[i], minutes)).join('; ')}`,
  );
} finally {
  await workshop.close();
}

async function ring(start: (inside: readonly string[]) => Promise<number>): Promise<number> {
  const inside = await privateNetwork(workshop);
  if (inside.length === 0) throw new Error('this needs a network namespace: run it as root');
  return start(inside);
}

function show(
  name: string,
  before: Traffic | undefined,
  after: Traffic | undefined,
  over = 1,
): string {
  const packets = ((after?.packets ?? Number.NaN) - (before?.packets ?? Number.NaN)) / over;
  const bytes = ((after?.bytes ?? Number.NaN) - (before?.bytes ?? Number.NaN)) / over;
  return `${name} ${packets.toFixed(0)} packets, ${bytes.toFixed(0)} bytes`;
}
