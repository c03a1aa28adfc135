import { createHash } from 'node:crypto';
import { parseHostPort } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { ControlConnection } from '../control/client.ts';
import type { DhtFound, DhtPutResult, DhtValue } from '../control/dht-protocol.ts';
import {
  bytesOf,
  nodesText,
  type Selected,
  selectedJson,
  selectedText,
  statsText,
  valueText,
} from './dht-text.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { formatSeconds, type Output } from './output.ts';
import { openNode, type StationArguments } from './station.ts';
import type { World } from './world.ts';

/** `doorward dht`: the DHT by hand, through the running station or node, or one for the time of the command. */

const DEFAULT_PORT = 4222;
/** Of what a storing node accepts (opendht.md 6.4). */
const MAX_VALUE_BYTES = 65_536;
/** The only stream of a command's connection. */
const STREAM = 1;

/** 40 hex digits are a key; any other text is hashed to one, as the reference's proxy does (opendht.md 19.4). */
export function keyOf(text: string): string {
  if (/^[0-9a-f]{40}$/i.test(text)) return text.toLowerCase();
  return createHash('sha1').update(text).digest('hex');
}

export interface LookupArguments extends StationArguments {
  readonly key: string;
  readonly where: string | undefined;
  readonly select: readonly Selected[] | undefined;
  /** Show values with a bad signature as well. */
  readonly unverified: boolean;
}

export interface GetArguments extends LookupArguments {
  /** Write the bytes of one value and nothing else. */
  readonly raw: boolean;
  readonly timeoutMs: number | undefined;
}

/** Values as they are found. Without any: `not-found`. */
export async function getCommand(
  world: World,
  args: GetArguments,
  output: Output,
): Promise<ExitCode> {
  if (args.raw && (output.isJson || args.select !== undefined)) {
    throw new AgentError('usage', '--raw writes bytes: it goes neither with --json nor --select');
  }
  const key = keyOf(args.key);
  return await withNode(world, args, output, async (node) => {
    let found = 0;
    let forged = 0;
    let taken: () => void = () => {};
    const enough = new Promise<'enough'>((resolve) => {
      taken = () => resolve('enough');
    });
    node.onFound(({ value }) => {
      if (isForged(value) && !args.unverified) {
        forged++;
      } else if (!args.raw) {
        found++;
        printValue(value, args.select, output);
      } else if (found === 0 && value.data !== undefined) {
        found++;
        world.stdoutBytes(bytesOf(value));
        taken();
      }
    });
    const getting = node.request('dht.get', { stream: STREAM, key, ...whereOf(args) });
    const result = await within(world, args.timeoutMs, Promise.race([getting, enough]));
    if (typeof result === 'object' && result.dropped > 0) {
      output.note(`${result.dropped} more values came faster than they could be printed`);
    }
    if (forged > 0) output.note(leftOut(forged));
    if (found > 0) return EXIT.done;
    if (result === 'elapsed') throw timedOut('nothing was found in time');
    throw new AgentError('not-found', `nothing is stored under ${named(args.key, key)}`);
  });
}

/** Anybody can put a value with somebody else's key as its owner. */
const isForged = ({ signed }: DhtValue): boolean => signed?.signature === 'bad';

const leftOut = (count: number) =>
  `${count} with a bad signature left out; --unverified shows what they claim to be`;

export interface ListenArguments extends LookupArguments {
  readonly forMs: number | undefined;
}

/** What is there, comes and goes, until Ctrl-C or for a time. */
export async function listenCommand(
  world: World,
  args: ListenArguments,
  output: Output,
): Promise<ExitCode> {
  const key = keyOf(args.key);
  return await withNode(world, args, output, async (node) => {
    const ended = new Promise<AgentError | undefined>((resolve) => {
      node.onLost(resolve);
      world.onInterrupt(() => resolve(undefined));
    });
    let forged = 0;
    node.onFound((found) => {
      if (args.unverified || !isForged(found.value)) printFound(found, args.select, output);
      else if (forged++ === 0) output.note(leftOut(1));
    });
    await node.request('dht.listen', { stream: STREAM, key, ...whereOf(args) });
    output.note(`listening at ${named(args.key, key)}`);
    const lost = await within(world, args.forMs, ended);
    if (lost instanceof AgentError) throw lost;
    return EXIT.done;
  });
}

export interface PutArguments extends StationArguments {
  readonly key: string;
  /** `-`: standard input to its end, byte by byte. */
  readonly value: string;
  /** Seal it to the devices of this one. */
  readonly to?: string;
  readonly id: string | undefined;
  readonly type: number | undefined;
  readonly userType: string | undefined;
  readonly permanent: boolean;
  readonly timeoutMs: number | undefined;
}

export type PutMethod = 'dht.put' | 'dht.put_signed' | 'dht.put_encrypted';

export async function putCommand(
  world: World,
  method: PutMethod,
  args: PutArguments,
  output: Output,
): Promise<ExitCode> {
  const needsIdentity = method !== 'dht.put';
  if (args.permanent && (args.bootstrap !== undefined || args.state !== undefined)) {
    throw new AgentError(
      'usage',
      '--permanent keeps a value alive while the node runs, and one for this command ends with it',
      'start a node with "doorward run", and put without --bootstrap and --state',
    );
  }
  const key = keyOf(args.key);
  const bytes = args.value === '-' ? await world.stdinBytes() : Buffer.from(args.value);
  // The line to the station could be too long to be answered.
  if (bytes.length > MAX_VALUE_BYTES) {
    throw new AgentError(
      'content-too-large',
      `${bytes.length} bytes do not fit into one value of the DHT`,
      `put at most ${MAX_VALUE_BYTES}`,
    );
  }
  const content = {
    key,
    data: Buffer.from(bytes).toString('base64'),
    ...(args.id !== undefined && { id: args.id }),
    ...(args.type !== undefined && { type: args.type }),
    ...(args.userType !== undefined && { user_type: args.userType }),
    permanent: args.permanent,
  };
  const ask = async (node: ControlConnection): Promise<readonly PutOutcome[]> => {
    if (method !== 'dht.put_encrypted') return [await node.request(method, content)];
    return (await node.request(method, { ...content, to: args.to ?? '' })).puts;
  };
  return await withNode(
    world,
    args,
    output,
    async (node) => {
      const puts = await within(world, args.timeoutMs, ask(node));
      if (puts === 'elapsed') throw timedOut('the nodes did not answer in time');
      return reportPuts(key, puts, args, output);
    },
    needsIdentity,
  );
}

type PutOutcome = DhtPutResult & { readonly device?: string };

function reportPuts(
  key: string,
  puts: readonly PutOutcome[],
  { key: name, permanent }: PutArguments,
  output: Output,
): ExitCode {
  for (const put of puts) {
    if (put.acknowledged === 0) continue;
    const nodes = put.acknowledged === 1 ? '1 node' : `${put.acknowledged} nodes`;
    const device = put.device === undefined ? '' : `, sealed to ${put.device}`;
    const life = permanent ? ', kept alive while this node runs' : '';
    output.result(
      `put under ${named(name, key)}, id ${put.id}: stored by ${nodes}${device}${life}`,
      { key, ...put },
    );
  }
  const lost = puts.filter(({ acknowledged }) => acknowledged === 0);
  if (lost.length === 0) return EXIT.done;
  throw new AgentError(
    'not-stored',
    `no other node has stored ${lost.length === 1 ? `the value with the id ${lost[0]?.id}` : `${lost.length} of ${puts.length} values`}`,
    permanent
      ? `it is announced again as nodes come; "doorward dht cancel ${key} ID" ends that`
      : '"doorward dht nodes" shows whom this node knows',
  );
}

export async function cancelCommand(
  world: World,
  args: StationArguments & { readonly key: string; readonly id: string },
  output: Output,
): Promise<ExitCode> {
  const key = keyOf(args.key);
  return await withNode(world, args, output, async (node) => {
    await node.request('dht.cancel_put', { key, id: args.id });
    const text = `the value ${args.id} is announced no longer and lives out its time`;
    output.result(text, { key, id: args.id, cancelled: true });
    return EXIT.done;
  });
}

export async function pingCommand(
  world: World,
  args: StationArguments & { readonly address: string; readonly timeoutMs: number | undefined },
  output: Output,
): Promise<ExitCode> {
  const at = parseHostPort(args.address, DEFAULT_PORT);
  return await withNode(world, args, output, async (node) => {
    const pinging = node.request('dht.ping', at);
    const answer = await within(world, args.timeoutMs, pinging);
    if (answer === 'elapsed') throw timedOut(`nobody answered at ${args.address} in time`);
    output.result(`${answer.id} at ${answer.address}, ${answer.rtt_ms.toFixed(2)} ms`, answer);
    return EXIT.done;
  });
}

export async function nodesCommand(
  world: World,
  args: StationArguments,
  output: Output,
): Promise<ExitCode> {
  return await withNode(world, args, output, async (node) => {
    const result = await node.request('dht.nodes', {});
    output.result(nodesText(result), result);
    return EXIT.done;
  });
}

export async function statsCommand(
  world: World,
  args: StationArguments,
  output: Output,
): Promise<ExitCode> {
  return await withNode(world, args, output, async (node) => {
    const { dht, uptime_s } = await node.request('status', {});
    const stats = await node.request('dht.stats', {});
    const { address, network, state, peers4, peers6 } = dht;
    const head = `udp ${address}, network ${network}, ${state}: ${peers4} good nodes of IPv4, ${peers6} of IPv6, up ${formatSeconds(uptime_s)}`;
    output.result(`${head}\n${statsText(stats)}`, { ...dht, uptime_s, ...stats });
    return EXIT.done;
  });
}

async function withNode(
  world: World,
  args: StationArguments,
  output: Output,
  ask: (node: ControlConnection) => Promise<ExitCode>,
  needsIdentity = false,
): Promise<ExitCode> {
  const { connection, close } = await openNode(world, args, needsIdentity, output);
  try {
    return await ask(connection);
  } finally {
    await close();
  }
}

function printValue(value: DhtValue, select: readonly Selected[] | undefined, output: Output) {
  if (select === undefined) output.result(valueText(value), value);
  else output.result(selectedText(value, select), selectedJson(value, select));
}

function printFound(
  { value, expired }: DhtFound,
  select: readonly Selected[] | undefined,
  output: Output,
): void {
  const word = expired ? 'expired' : 'new    ';
  if (select === undefined) {
    output.result(`${word} ${valueText(value)}`, { expired, ...value });
  } else {
    const json = { expired, ...selectedJson(value, select) };
    output.result(`${word} ${selectedText(value, select)}`, json);
  }
}

function whereOf({ where }: LookupArguments): { where?: string } {
  return where === undefined ? {} : { where };
}

/** The key, and the text that it was made from. */
function named(text: string, key: string): string {
  return text.toLowerCase() === key ? key : `${key} ("${text}")`;
}

/** @param ms undefined: as long as it takes */
async function within<T>(
  world: World,
  ms: Millis | undefined,
  work: Promise<T>,
): Promise<T | 'elapsed'> {
  if (ms === undefined) return await work;
  let ring: () => void = () => {};
  const late = new Promise<'elapsed'>((resolve) => {
    ring = () => resolve('elapsed');
  });
  const alarm = world.alarm(ring);
  alarm.arm(world.clock.now() + ms);
  try {
    return await Promise.race([work, late]);
  } finally {
    alarm.disarm();
  }
}

function timedOut(message: string): AgentError {
  return new AgentError('timeout', message);
}
