import { generateKeyPairSync, sign } from 'node:crypto';
import type { InfoHash } from '../../agent/dht/infohash.ts';
import type { PlainValue, Value } from '../../agent/dht/value.ts';
import { packBody, sameValue } from '../../agent/dht/value-codec.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { type Attack, Sybil, SybilCluster } from '../sim/sybil.ts';
import { plainValue, type SimNode, World } from '../sim/world.ts';
import { FAR_APART } from './grown.ts';

export interface SybilOptions {
  readonly seed: number;
  readonly honest: number;
  readonly sybils: number;
  readonly attack: Attack;
  /** The attacker comes when the value is there already and listeners listen; else before all that. */
  readonly comesLate: boolean;
}

/** Shares, 0 to 1. */
export interface SybilDamage {
  /** Gets of the attacked key, by honest nodes, that found the value. */
  readonly found: number;
  /** Listeners on it that heard a value put under attack. */
  readonly heard: number;
  /** Gets of other keys that found theirs. */
  readonly othersFound: number;
  /** Gets that were given something that passes for the publisher's and is not. */
  readonly forgeriesBelieved: number;
}

const READERS = 20;

/** An attacker takes the place next to one key. Who put and listen there, what do they lose, and what do others? */
export function sybilAttack(options: SybilOptions): SybilDamage {
  const { seed, honest, sybils, attack, comesLate } = options;
  const world = new World({ seed, network: FAR_APART });
  world.addMany(honest);
  world.run(60_000);
  const nodes = [...world.nodes];
  const cluster = new SybilCluster(world.randomHash(), attack);
  const { key } = cluster;
  const publisher = world.pick(nodes);
  const others = nodes.filter((node) => node !== publisher);
  const [first, second] = [signedValue(1n, 'from the publisher'), signedValue(2n, 'ring')];

  const invade = () => {
    for (let i = 1; i <= sybils; i++) {
      const disguise = { disguise: (dht: SimNode['dht']) => new Sybil(dht, cluster) };
      const sybil = world.add({ id: cluster.idOf(i), ...disguise });
      cluster.join(sybil.id, sybil.address);
      sybil.bootstrap(world.pick(nodes));
      world.run(200);
    }
    world.run(120_000);
  };
  const put = (value: Value) => {
    const operation = publisher.put(key, value, true);
    world.runUntil(() => publisher.isDone(operation), 30_000);
  };
  const listenAll = () => others.slice(0, READERS).map((node) => ({ node, id: node.listen(key) }));

  if (!comesLate) invade();
  put(first);
  const listens = listenAll();
  world.run(10_000);
  if (comesLate) {
    invade();
    world.run(1_800_000); // for whoever looks anew at who is closest
  }
  put(second);
  world.run(30_000);

  const got = Array.from({ length: READERS }, () => get(world, world.pick(others), key));
  const isHonest = (value: Value) => sameValue(value, first) || sameValue(value, second);
  const isBelieved = (value: Value) =>
    value.kind === 'plain' && cryptoPolicy.verifySignature(value);
  const heard = listens.filter(({ node, id }) => node.values(id).some((v) => sameValue(v, second)));
  return {
    found: share(got, (values) => values.some((value) => sameValue(value, first))),
    heard: heard.length / listens.length,
    othersFound: othersFound(world, others),
    forgeriesBelieved: share(got, (values) =>
      values.some((value) => isBelieved(value) && !isHonest(value)),
    ),
  };
}

const share = <T>(things: readonly T[], holds: (thing: T) => boolean): number =>
  things.filter(holds).length / things.length;

function get(world: World, reader: SimNode, key: InfoHash): Value[] {
  const operation = reader.get(key);
  world.runUntil(() => reader.isDone(operation), 30_000);
  return reader.values(operation);
}

function othersFound(world: World, nodes: readonly SimNode[]): number {
  const found = Array.from({ length: READERS }, (_, i) => {
    const key = world.randomHash();
    const publisher = world.pick(nodes);
    const put = publisher.put(key, plainValue(BigInt(i + 1), 'elsewhere'));
    world.runUntil(() => publisher.isDone(put), 30_000);
    return get(world, world.pick(nodes), key).length > 0;
  });
  return share(found, (wasFound) => wasFound);
}

// Short, for speed: it is never used for anything but this.
const KEYS = generateKeyPairSync('rsa', { modulusLength: 1024 });
const OWNER = KEYS.publicKey.export({ format: 'der', type: 'spki' });

function signedValue(id: bigint, text: string): PlainValue {
  const unsigned = plainValue(id, text) as PlainValue;
  const signed = { owner: OWNER, seq: 1, signature: new Uint8Array() };
  const signature = sign('sha512', packBody({ ...unsigned, signed }), KEYS.privateKey);
  return { ...unsigned, signed: { ...signed, signature } };
}
