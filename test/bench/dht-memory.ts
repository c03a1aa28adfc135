import { parseArgs } from 'node:util';
import { sleep, Workshop, waitFor } from '../interop/harness.ts';
import { buildBundle } from '../interop/outside.ts';
import { DhtCrowd } from './lib/dht-crowd.ts';
import { memoryOf, slopeOf } from './lib/process.ts';

/**
 * Memory of `doorward run --dht-only`, bundled as it ships, and of `dhtnode`, while 256 peers ask each of them 1,000 times a
 * second: pings, finds, gets, puts and listens. A line each minute; the slope is that of the last half.
 * Run: node --import tsx test/bench/dht-memory.ts [--minutes 60] [--rate 1000]
 */

const OURS = 47_630;
const REAL = 47_640;
const SOURCES = 256;

const { values: args } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    rate: { type: 'string', default: '1000' },
  },
});
const [minutes, rate] = [Number(args.minutes), Number(args.rate)];

const workshop = await Workshop.open('memory');
try {
  const main = await buildBundle(workshop.folder);
  const settings = [
    `dht.port=${OURS}`,
    'dht.bind=127.0.0.1',
    `state=${workshop.folder}/state`,
    `control=${workshop.folder}/control.sock`,
  ].flatMap((setting) => ['--set', setting]);
  const ours = workshop.start(process.execPath, [main, 'run', '--dht-only', ...settings], {
    XDG_CONFIG_HOME: workshop.folder,
  });
  await waitFor('our node', () => {
    if (!ours.alive) throw new Error(`our node ended: ${ours.output}`);
    return ours.output.includes('ready');
  });
  const real = workshop.start('dhtnode', ['-s', '-p', `${REAL}`]);
  await sleep(2000);
  const sides = [
    { name: 'doorward', pid: ours.pid, crowd: await DhtCrowd.open(OURS, rate, SOURCES) },
    { name: 'dhtnode', pid: real.pid, crowd: await DhtCrowd.open(REAL, rate, SOURCES) },
  ].map((side) => ({ ...side, resident: [] as number[], private: [] as number[], replies: 0 }));
  const print = (minute: number) => {
    const columns = sides.map((side) => {
      const { rssMb, privateMb, pssMb } = memoryOf(side.pid);
      side.resident.push(rssMb);
      side.private.push(privateMb);
      const { replies, errors } = side.crowd;
      const perSecond = (replies - side.replies) / 60;
      side.replies = replies;
      return `${side.name} ${rssMb.toFixed(1)} resident, ${privateMb.toFixed(1)} private, ${pssMb.toFixed(1)} pss, ${perSecond.toFixed(0)} replies/s, ${errors} errors`;
    });
    console.log(`${String(minute).padStart(3)} min  ${columns.join(' | ')}`);
  };
  console.log(`MB at ${rate} requests a second`);
  print(0);
  for (const { crowd } of sides) crowd.start();
  for (let minute = 1; minute <= minutes; minute++) {
    await sleep(60_000);
    print(minute);
  }
  for (const { crowd } of sides) crowd.stop();
  const half = (list: readonly number[]) => slopeOf(list.slice(-Math.ceil(minutes / 2) - 1)) * 1024;
  for (const { name, resident, private: own } of sides)
    console.log(
      `${name}: slope of the last half ${half(resident).toFixed(0)} KiB resident and ${half(own).toFixed(0)} KiB private a minute`,
    );
} finally {
  await workshop.close();
}
