import { beforeEach, describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { longKeyId, shortKeyId } from '../../agent/identity/keys.ts';
import { SecureDht } from '../../agent/identity/secure-dht.ts';
import type { CheckedValue } from '../../agent/identity/value-reader.ts';
import { type SimNode, World } from '../sim/world.ts';
import { FIXTURE_UNIX_MS, type FixtureName, fixtureIdentity, seededRandom } from './fixtures.ts';
import { pass, settled, WorldClient } from './world-client.ts';

/** The crypto layer on real engines in a simulated network: twelve nodes, two of them with identities. */

const key = InfoHash.of('a place');
const TEN_MINUTES = 600_000;

let world: World;
let clients: WorldClient[];
let nodes: SimNode[];
let front: SecureDht;
let phone: SecureDht;

function stationOn(node: SimNode, name: FixtureName): SecureDht {
  const client = new WorldClient(world, node);
  clients.push(client);
  return new SecureDht({
    dht: client,
    identity: fixtureIdentity(name),
    random: seededRandom(name),
    now: () => world.now,
    unixMs: () => FIXTURE_UNIX_MS,
  });
}

beforeEach(() => {
  world = new World({ seed: 11 });
  clients = [];
  nodes = world.addMany(12);
  world.run(10_000);
  const [first, last] = [nodes[0], nodes.at(-1)];
  if (first === undefined || last === undefined) throw new Error('no nodes');
  front = stationOn(first, 'front');
  phone = stationOn(last, 'phone');
});

const wait = <T>(promise: Promise<T>) => settled(world, clients, promise);

const text = (words: string) => ({ type: 0, data: utf8(words) });

const read = (dht: SecureDht): Promise<CheckedValue[]> =>
  wait(
    new Promise((resolve) => {
      const values: CheckedValue[] = [];
      dht.get(
        key,
        undefined,
        (value) => values.push(value),
        () => resolve(values),
      );
    }),
  );

describe('an edit of a permanent signed value', () => {
  test('takes its place on every node without a gap, and lives on', async () => {
    const heard: string[] = [];
    phone.listen(
      key,
      undefined,
      (value) => heard.push(fromUtf8(value.data)),
      (id) => heard.push(`expired ${id}`),
    );
    const keep = { valueId: 5n, permanent: true };
    await wait(front.putSigned(key, text('open'), keep).result);
    await pass(world, clients, 1000);
    const edit = front.putSigned(key, text('closed'), keep);
    await wait(edit.result);
    await pass(world, clients, 1000);
    expect(heard).toEqual(['open', 'closed']);

    const holders = nodes.filter(({ dht }) => dht.stats().storage.values > 0);
    expect(holders.length).toBeGreaterThanOrEqual(8);
    // Long after the lifetime of either version.
    for (let i = 0; i < 5; i++) await pass(world, clients, TEN_MINUTES);
    expect((await read(phone)).map(({ data }) => fromUtf8(data))).toEqual(['closed']);
    expect(heard).toEqual(['open', 'closed']);

    edit.cancel();
    for (let i = 0; i < 2; i++) await pass(world, clients, TEN_MINUTES);
    expect(await read(phone)).toEqual([]);
    expect(heard).toEqual(['open', 'closed', 'expired 5']);
  });

  test('goes on counting in a process that knows nothing of the one before', async () => {
    await wait(front.putSigned(key, text('before'), { valueId: 5n }).result);
    const again = stationOn(nodes[5] as SimNode, 'front');
    await wait(again.putSigned(key, text('after'), { valueId: 5n }).result);
    expect(await read(phone)).toMatchObject([{ data: utf8('after'), seq: 1 }]);
  });
});

describe('an encrypted value', () => {
  test('reaches the owner of a key by its short or its long id alone', async () => {
    await wait(phone.publish());
    const { publicKeyDer } = fixtureIdentity('phone').device;
    for (const to of [{ shortId: shortKeyId(publicKeyDer) }, { longId: longKeyId(publicKeyDer) }]) {
      const writer = stationOn(nodes[3] as SimNode, 'stranger');
      await wait(writer.putEncrypted(key, text('for the phone'), to).result);
    }
    const got = await read(phone);
    expect(got.map(({ kind, data }) => `${kind} ${fromUtf8(data)}`)).toEqual([
      'encrypted for the phone',
      'encrypted for the phone',
    ]);
    expect(await read(front)).toEqual([]);
    expect(front.stats().values.dropped.undecryptable).toBe(2);
  });

  test('is not sent to whoever has published nothing', async () => {
    const put = front.putEncrypted(key, text('x'), { shortId: InfoHash.of('nobody') });
    await expect(wait(put.result)).rejects.toMatchObject({ code: 'no-certificate' });
  });
});
