import { parseHostPort } from '../../../agent/base/address.ts';
import { systemRandom } from '../../../agent/base/random.ts';
import { InfoHash } from '../../../agent/dht/infohash.ts';
import { DhtNode } from '../../../agent/dht/udp.ts';
import { cryptoPolicy } from './policy.ts';

/**
 * A node that runs until SIGTERM: node --import tsx dht-node.ts PORT [BOOTSTRAP_HOST:PORT ...]
 * Prints its id and port once it is bound; SIGUSR2 prints its statistics.
 */
const [port = '0', ...bootstrap] = process.argv.slice(2);
const node = new DhtNode({
  id: new InfoHash(systemRandom.bytes(20)),
  bind: ['127.0.0.1'],
  port: Number(port),
  bootstrap: bootstrap.map((text) => parseHostPort(text, 4222)),
  policy: cryptoPolicy,
});
await node.start();
console.log(`${node.id.hex} ${node.port}`);
process.on('SIGUSR2', () => console.log(JSON.stringify(node.stats())));
process.on('SIGTERM', () => {
  void node.stop();
});
