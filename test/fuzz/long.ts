import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { sumOfCaps } from '../dht/caps.ts';
import { EngineUnderFire } from './engine-under-fire.ts';

/**
 * The DHT engine under millions of hostile datagrams: `npm run fuzz -- [--datagrams N] [--seed N]`. Every datagram must be
 * in exactly one counter, every cap must hold, an honest node must be answered, and memory must level off. A failure
 * prints seed and number of the datagram; the same seed sends the same datagrams.
 */

const CHECK_EVERY = 10_000;
const REPORTS = 20;

const { values: args } = parseArgs({
  options: {
    datagrams: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
  },
});
const [total, seed] = [Number(args.datagrams), Number(args.seed)];
if (!Number.isSafeInteger(total) || !Number.isSafeInteger(seed) || total < 1)
  throw new Error('--datagrams and --seed are whole numbers');

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes that the engine and its crowd hold on to. */
function heldBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const mb = (bytes: number) => (bytes / 2 ** 20).toFixed(1).padStart(6);

const engine = new EngineUnderFire(seed);
const before = heldBytes();
const held: number[] = [];
const start = performance.now();
let index = 0;
try {
  const reportEvery = Math.max(CHECK_EVERY, Math.ceil(total / REPORTS));
  console.log('  datagrams  per second  virtual hours  MB held  MB resident');
  while (index < total) {
    engine.step();
    index++;
    if (index % CHECK_EVERY === 0 || index === total) engine.check();
    if (index % reportEvery === 0 || index === total) {
      held.push(heldBytes() - before);
      const rate = Math.round((1000 * index) / (performance.now() - start));
      console.log(
        String(index).padStart(11),
        String(rate).padStart(11),
        (engine.now / 3_600_000).toFixed(1).padStart(14),
        mb(held.at(-1) ?? 0).padStart(8),
        mb(process.memoryUsage.rss()).padStart(12),
      );
    }
  }
  const cap = sumOfCaps();
  const most = Math.max(...held);
  console.log(JSON.stringify(engine.dht.stats(), undefined, 1));
  if (most > cap)
    throw new Error(`${mb(most)} MB are held, more than the sum of the caps, ${mb(cap)} MB`);
  console.log(
    `ok: ${total} datagrams, seed ${seed}; at most ${mb(most)} MB held, the caps sum up to ${mb(cap)} MB`,
  );
} catch (error) {
  console.error(error);
  const { packet, from } = engine.last ?? {};
  console.error(`after datagram ${index} of seed ${seed}, from ${from?.ip}:${from?.port}:`);
  console.error(packet === undefined ? '' : Buffer.from(packet).toString('hex'));
  console.error(`again: npm run fuzz -- --seed ${seed} --datagrams ${index + 1}`);
  process.exitCode = 1;
}
