import { systemRandom } from '../../agent/base/random.ts';
import { Dht } from '../../agent/dht/dht.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { plainValue, type SimNode, World } from '../sim/world.ts';

/**
 * The DHT engine without a socket: how many queries it answers in a second, and how long a call takes to be signalled in
 * the simulated world. Prints one line for each figure. Run alone: node --import tsx test/bench/dht.ts
 */

const ROUNDS = 200_000;
/** Known peers that ask in turn, from addresses of their own. */
const ASKERS = 1000;

interface Asker {
  readonly address: { readonly ip: Uint8Array; readonly port: number };
  readonly id: InfoHash;
}

function fill(dht: Dht, askers: readonly Asker[]): void {
  for (const { address, id } of askers) {
    dht.receive(encodeMessage({ type: 'ping', tid: 1, id }), address, 0);
    // Answer its own question, so that the table has good nodes to give out.
    for (let output = dht.poll(); output !== undefined; output = dht.poll()) {
      if (output.type !== 'send') continue;
      const message = decodeMessage(output.packet);
      if (message.type === 'find' || message.type === 'ping') {
        const token = new Uint8Array(16);
        dht.receive(encodeMessage({ type: 'reply', tid: message.tid, id, token }), output.to, 0);
      }
    }
  }
}

function answersPerSecond(
  dht: Dht,
  packets: readonly Uint8Array[],
  askers: readonly Asker[],
  from: number,
): number {
  let answers = 0;
  let now = from;
  const start = performance.now();
  for (let i = 0; i < ROUNDS; i++) {
    now += 1000 / 8000;
    const asker = askers[i % askers.length] as Asker;
    dht.receive(packets[i % packets.length] as Uint8Array, asker.address, now);
    for (let output = dht.poll(); output !== undefined; output = dht.poll())
      if (output.type === 'send') answers++;
  }
  const seconds = (performance.now() - start) / 1000;
  if (answers < ROUNDS) throw new Error(`only ${answers} answers to ${ROUNDS} queries`);
  return Math.round(ROUNDS / seconds);
}

export function benchEngine(): void {
  const askers = Array.from(
    { length: ASKERS },
    (_, i): Asker => ({
      address: { ip: Uint8Array.of(10, 1, i >> 8, i & 0xff), port: 4222 },
      id: new InfoHash(systemRandom.bytes(20)),
    }),
  );
  const dht = new Dht(
    {
      id: new InfoHash(systemRandom.bytes(20)),
      families: [4],
      random: systemRandom,
      policy: cryptoPolicy,
      rateLimit: false,
    },
    0,
  );
  fill(dht, askers);
  const key = new InfoHash(systemRandom.bytes(20));
  dht.put(key, plainValue(1n, new Uint8Array(100)), true, 0);
  while (dht.poll() !== undefined);
  const forEach = (packet: (asker: Asker) => Uint8Array) => askers.map(packet);
  const kinds = {
    ping: forEach(({ id }) => encodeMessage({ type: 'ping', tid: 7_000_000, id, version: 'o2' })),
    find: forEach(({ id }) =>
      encodeMessage({
        type: 'find',
        tid: 7_000_000,
        id,
        target: new InfoHash(systemRandom.bytes(20)),
        version: 'o2',
      }),
    ),
    'get (nothing there)': forEach(({ id }) =>
      encodeMessage({ type: 'get', tid: 7_000_000, id, key: id, version: 'o2' }),
    ),
    'get (100 bytes)': forEach(({ id }) =>
      encodeMessage({ type: 'get', tid: 7_000_000, id, key, version: 'o2' }),
    ),
  };
  let round = 0;
  for (const [kind, packets] of Object.entries(kinds)) {
    const rate = answersPerSecond(dht, packets, askers, 60_000 * round++);
    console.log(`dht engine: ${rate} ${kind} answered per second of one core`);
  }
  const packed = packValue(plainValue(1n, new Uint8Array(1800)));
  console.log(`dht engine: a value of 1800 bytes is ${packed.length} bytes packed`);
}

/** Virtual ms from put to push, before and right after all but three of 40 nodes died. */
function signalling(seed: number): { readonly calm: number; readonly died: number } {
  const world = new World({ seed, network: { latencyMs: 15, jitterMs: 5 } });
  const nodes = world.addMany(40);
  world.run(60_000);
  const [caller, callee, survivor] = [nodes[5], nodes[25], nodes[35]] as [
    SimNode,
    SimNode,
    SimNode,
  ];
  const key = world.randomHash();
  const listen = callee.listen(key);
  world.run(5000);
  const heardAfter = (id: bigint) => {
    const start = world.now;
    caller.put(key, plainValue(id, new Uint8Array(1800)));
    world.runUntil(() => callee.values(listen).some((value) => value.id === id), 60_000);
    return Math.round(world.now - start);
  };
  const calm = heardAfter(1n);
  for (const node of nodes) if (![caller, callee, survivor].includes(node)) node.kill();
  return { calm, died: heardAfter(2n) };
}

export function benchSignalling(): void {
  const runs = Array.from({ length: 15 }, (_, seed) => signalling(seed + 1));
  const sorted = (times: number[]) => times.sort((a, b) => a - b);
  const calm = sorted(runs.map((run) => run.calm));
  const died = sorted(runs.map((run) => run.died));
  const show = (times: number[]) => `median ${times[7]}, worst ${times.at(-1)} virtual ms`;
  console.log(`dht world: put to push among 40 nodes, 15 to 20 ms each way: ${show(calm)}`);
  // 60000: not within a minute. In such a run none of the three had ever heard of another.
  console.log(`dht world: put to push right after 37 of the 40 died: ${show(died)}`);
}

if (process.argv[1] === import.meta.filename) {
  benchEngine();
  benchSignalling();
}
