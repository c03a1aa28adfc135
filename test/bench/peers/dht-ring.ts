import { systemRandom } from '../../../agent/base/random.ts';
import { InfoHash } from '../../../agent/dht/infohash.ts';
import { DhtNode } from '../../../agent/dht/udp.ts';
import { cryptoPolicy } from '../../peers/opendht/policy.ts';

/**
 * A ring of our nodes in one process: dht-ring.ts COUNT FIRST_PORT. Each bootstraps at the one before it, as ring.sh does
 * with real nodes. Prints "up"; SIGUSR2 prints each node's good peers; ends on SIGTERM.
 */
const [count = 0, first = 0] = process.argv.slice(2).map(Number);
const nodes = Array.from(
  { length: count },
  (_, i) =>
    new DhtNode({
      id: new InfoHash(systemRandom.bytes(20)),
      bind: ['127.0.0.1'],
      port: first + i,
      bootstrap: i === 0 ? [] : [{ host: '127.0.0.1', port: first + i - 1 }],
      policy: cryptoPolicy,
    }),
);
for (const node of nodes) await node.start();
console.log('up');
process.on('SIGUSR2', () => console.log(nodes.map((node) => node.state().peers4).join(' ')));
process.once('SIGTERM', () => {
  for (const node of nodes) void node.stop();
});
