import { systemRandom } from '../../../agent/base/random.ts';
import { InfoHash } from '../../../agent/dht/infohash.ts';
import { DhtNode } from '../../../agent/dht/udp.ts';
import { cryptoPolicy } from '../../peers/opendht/policy.ts';

/** Our node on 127.0.0.1 without its rate limit, for measurements. usage: lean-node.ts PORT; ends on SIGTERM. */
const node = new DhtNode({
  id: new InfoHash(systemRandom.bytes(20)),
  bind: ['127.0.0.1'],
  port: Number(process.argv[2]),
  policy: cryptoPolicy,
  rateLimit: false,
});
await node.start();
process.once('SIGTERM', () => void node.stop());
