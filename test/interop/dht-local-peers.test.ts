import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { doorward, type Program, sleep, Workshop, waitFor } from './harness.ts';

/**
 * Peer discovery between machines: two networks of their own, joined by a cable, with a multicast route and no bootstrap.
 * Needs root, as everything that makes networks does.
 */

const OUR_PORT = 47230;
const THEIR_PORT = 47231;

let workshop: Workshop;
/** What a command begins with to run on the one machine or the other. */
let machines: readonly (readonly string[])[] = [];

beforeEach(async () => {
  workshop = await Workshop.open('local-peers');
  const holders = [holdNetwork(), holdNetwork()];
  for (const holder of holders) await waitFor('a network', () => holder.output.includes('up\n'));
  const [a, b] = holders.map(({ pid }) => pid);
  await run([
    'ip',
    'link',
    'add',
    'eth7',
    'netns',
    `${a}`,
    'type',
    'veth',
    'peer',
    'eth7',
    'netns',
    `${b}`,
  ]);
  machines = holders.map(({ pid }) => ['nsenter', `--net=/proc/${pid}/ns/net`]);
  for (const [i, machine] of machines.entries()) {
    for (const setting of [
      ['addr', 'add', `10.77.0.${i + 1}/24`, 'dev', 'eth7'],
      ['addr', 'add', `fd77::${i + 1}/64`, 'dev', 'eth7', 'nodad'],
      ['link', 'set', 'eth7', 'up'],
      // The reference joins where the route to the group leads.
      ['route', 'add', '239.0.0.0/8', 'dev', 'eth7'],
    ])
      await run([...machine, 'ip', ...setting]);
  }
});

afterEach(() => workshop.close());

/** An empty network that lives as long as this process. */
function holdNetwork(): Program {
  return workshop.start('unshare', [
    '-n',
    'sh',
    '-c',
    'ip link set lo up && echo up && exec sleep 120',
  ]);
}

async function run([command = '', ...args]: readonly string[]): Promise<void> {
  const program = workshop.start(command, args);
  if ((await program.exited) !== 0)
    throw new Error(`${command} ${args.join(' ')}: ${program.output}`);
}

interface Ours {
  readonly program: Program;
  /** Good nodes that it knows, by address. */
  good(): Promise<string[]>;
  found(): Promise<number>;
}

async function ours(machine: number, dht: string): Promise<Ours> {
  const folder = join(workshop.folder, `ours-${machine}`);
  await mkdir(folder);
  const config = join(folder, 'doorward.yaml');
  await writeFile(
    config,
    `state: ${folder}/state\ncontrol: ${folder}/control.sock\ndht: { port: ${OUR_PORT}, peer_discovery: on, ${dht} }\n`,
  );
  const program = workshop.doorward(['run', '--dht-only', '-c', config], machines[machine]);
  const json = async <T>(...args: string[]) =>
    JSON.parse((await doorward([...args, '--json', '-c', config])).stdout) as T;
  await waitFor('our node', () => program.output.includes('is ready'));
  return {
    program,
    good: async () => {
      const { nodes } = await json<{ nodes: { address: string; state: string }[] }>('dht', 'nodes');
      return nodes.flatMap(({ address, state }) => (state === 'good' ? [address] : []));
    },
    found: async () => {
      const { stats } = await json<{ stats: { dht: Record<string, number> } }>('status');
      return stats.dht['localPeers.found'] ?? 0;
    },
  };
}

/** A real node that says what it knows when its console is asked at the end. */
function theirs(machine: number, network = 0): Program {
  const [command = '', ...args] = machines[machine] ?? [];
  const script = `(sleep 14; echo ll; sleep 1; echo x) | exec dhtnode -D -p ${THEIR_PORT} -n ${network}`;
  return workshop.start(command, [...args, 'sh', '-c', script]);
}

const knows = (node: Ours, address: string) =>
  waitFor(`it knows ${address}`, async () => (await node.good()).includes(address), 15_000);

describe('nodes of one local network, without bootstrap', () => {
  test('ours finds a dhtnode that was there before, and is found by it', async () => {
    const real = theirs(0);
    await sleep(1500);
    const node = await ours(1, 'bind: 0.0.0.0');
    await knows(node, `10.77.0.1:${THEIR_PORT}`);
    expect(await node.found()).toBeGreaterThan(0);
    await waitFor('it is known there', () => real.output.includes('Known nodes: 1 good'), 20_000);
  }, 60_000);

  test('a dhtnode finds ours that was there before, and is found by it', async () => {
    const node = await ours(1, 'bind: 0.0.0.0');
    const real = theirs(0);
    await knows(node, `10.77.0.1:${THEIR_PORT}`);
    await waitFor('it is known there', () => real.output.includes('Known nodes: 1 good'), 20_000);
  }, 60_000);

  test('two of ours find each other, by IPv4 and by IPv6', async () => {
    const [a, b] = [
      await ours(0, 'bind: 0.0.0.0, bind6: "::"'),
      await ours(1, 'bind: 0.0.0.0, bind6: "::"'),
    ];
    await knows(b, `10.77.0.1:${OUR_PORT}`);
    await knows(a, `10.77.0.2:${OUR_PORT}`);
    await knows(b, `[fd77:0:0:0:0:0:0:1]:${OUR_PORT}`);
    await knows(a, `[fd77:0:0:0:0:0:0:2]:${OUR_PORT}`);
  }, 60_000);

  test('nodes of another network are none', async () => {
    const node = await ours(1, 'bind: 0.0.0.0');
    theirs(0, 7);
    await sleep(8000);
    expect(await node.good()).toEqual([]);
    expect(await node.found()).toBe(0);
  }, 60_000);

  test('a node without a network says so once, and runs', async () => {
    const [machine = []] = machines;
    await run([...machine, 'ip', 'link', 'set', 'eth7', 'down']);
    await run([...machine, 'ip', 'addr', 'flush', 'dev', 'eth7']);
    const node = await ours(0, 'bind: 0.0.0.0');
    await sleep(12_000); // two rounds
    expect(node.program.output.match(/no nodes of the local network are looked for/g)).toHaveLength(
      1,
    );
    expect(node.program.output).toContain('no network interface is up');
    // The cable comes later: the next round finds it.
    await run([...machine, 'ip', 'addr', 'add', '10.77.0.1/24', 'dev', 'eth7']);
    await run([...machine, 'ip', 'link', 'set', 'eth7', 'up']);
    const other = await ours(1, 'bind: 0.0.0.0');
    await waitFor('a later round', async () => (await node.good()).length > 0, 40_000);
    await knows(other, `10.77.0.1:${OUR_PORT}`);
  }, 90_000);
});
