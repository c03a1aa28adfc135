import { afterAll, expect, test } from 'vitest';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { DhtNode } from '../../agent/dht/udp.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { plainValue } from '../sim/world.ts';
import { until } from './until.ts';

/** Real sockets, real time: a node that stops hands over what it keeps for others. */

const nodes: DhtNode[] = [];
afterAll(() => Promise.all(nodes.map((node) => node.stop())));

async function start(): Promise<DhtNode> {
  const [first] = nodes;
  const node = new DhtNode({
    id: InfoHash.of(`leaving ${nodes.length}`),
    bind: ['127.0.0.1'],
    port: 0,
    policy: cryptoPolicy,
    republish: true,
    bootstrap: first === undefined ? [] : [{ host: '127.0.0.1', port: first.port }],
  });
  await node.start();
  nodes.push(node);
  return node;
}

test('stop waits for the hand-over, once, and newcomers have the value', async () => {
  for (let i = 0; i < 6; i++) await start();
  const publisher = nodes[0] as DhtNode;
  await until(() => nodes.every((node) => node.state().peers4 === 5));
  const key = InfoHash.of('handed over');
  await publisher.put(key, plainValue(5n, 'still here', 4));
  const keeper = nodes[1] as DhtNode;
  expect(keeper.stats().storage.values).toBe(1);
  const newcomer = await start();
  await until(() => keeper.state().peers4 === 6);
  expect(newcomer.stats().storage.values).toBe(0);
  await Promise.all([keeper.stop(), keeper.stop()]);
  expect(keeper.stats()).toMatchObject({ handedOver: 1, republishing: 0 });
  expect(newcomer.stats().storage.values).toBe(1);
});
