import { AgentError } from '../base/errors.ts';
import { VERSION } from '../base/version.ts';
import type { ControlConnection } from '../control/client.ts';
import type { StatusResult } from '../control/protocol.ts';
import type { CommandResult, Right } from '../events.ts';
import { EXIT, type ExitCode, exitOfResult } from './exit-codes.ts';
import { formatSeconds, formatUnixMs, type Output, printable, table } from './output.ts';
import { connectStation, type StationArguments } from './station.ts';
import type { World } from './world.ts';

/** The commands that ask the running station one thing. */

async function withStation<T>(
  world: World,
  args: StationArguments,
  ask: (connection: ControlConnection) => Promise<T>,
): Promise<T> {
  const connection = await connectStation(world, args);
  try {
    return await ask(connection);
  } finally {
    connection.close();
  }
}

export async function idCommand(
  world: World,
  args: StationArguments,
  output: Output,
): Promise<ExitCode> {
  const { state } = args;
  const id =
    state === undefined
      ? (await withStation(world, args, (station) => station.request('id', {}))).id
      : await world.identity(state, (sentence) => output.note(sentence));
  output.result(id, { id });
  return EXIT.done;
}

export async function versionCommand(_: World, __: unknown, output: Output): Promise<ExitCode> {
  output.result(`doorward ${VERSION} (node ${process.version})`, {
    version: VERSION,
    node: process.version,
  });
  return EXIT.done;
}

export async function contactAddCommand(
  world: World,
  args: StationArguments & { name: string; id: string; can: readonly Right[] | undefined },
  output: Output,
): Promise<ExitCode> {
  const { name, id, can } = args;
  const contact = await withStation(world, args, (station) =>
    station.request('contact.add', { name, id, ...(can !== undefined && { can: [...can] }) }),
  );
  const rights = contact.can.length === 0 ? 'nothing' : contact.can.join(', ');
  output.result(`${contact.name} may: ${rights}`, contact);
  return EXIT.done;
}

export async function contactListCommand(
  world: World,
  args: StationArguments,
  output: Output,
): Promise<ExitCode> {
  const list = await withStation(world, args, (station) => station.request('contact.list', {}));
  const rows = list.contacts.map(({ name, id, can, source }) => [
    printable(name),
    id,
    can.join(',') || '-',
    source,
  ]);
  output.result(rows.length === 0 ? 'no contacts' : table(rows), list);
  return EXIT.done;
}

export async function contactRemoveCommand(
  world: World,
  args: StationArguments & { name: string },
  output: Output,
): Promise<ExitCode> {
  const { name } = args;
  await withStation(world, args, (station) => station.request('contact.remove', { name }));
  output.result(`${name} is no contact any more`, { removed: name });
  return EXIT.done;
}

export async function answerCommand(
  world: World,
  args: StationArguments & { callId: string | undefined },
  output: Output,
): Promise<ExitCode> {
  const params = args.callId === undefined ? {} : { call_id: args.callId };
  const ask = (station: ControlConnection) => station.request('answer', params);
  return report(await withStation(world, args, ask), output);
}

export async function hangupCommand(
  world: World,
  args: StationArguments & { callId: string | undefined },
  output: Output,
): Promise<ExitCode> {
  const params = args.callId === undefined ? {} : { call_id: args.callId };
  const ask = (station: ControlConnection) => station.request('hangup', params);
  return report(await withStation(world, args, ask), output);
}

function report(result: CommandResult, output: Output): ExitCode {
  const exit = exitOfResult(result.code);
  if (exit === EXIT.done) output.result(printable(result.message), result);
  else output.error(new AgentError(result.code, printable(result.message)));
  return exit;
}

export async function messagesCommand(
  world: World,
  args: StationArguments & { limit: number | undefined },
  output: Output,
): Promise<ExitCode> {
  const params = args.limit === undefined ? {} : { limit: args.limit };
  const list = await withStation(world, args, (station) => station.request('messages', params));
  const rows = list.messages.map(({ unix_ms, state, peer, text }) => [
    formatUnixMs(unix_ms),
    `${state === 'received' ? 'from' : 'to'} ${printable(peer)}`,
    state,
    printable(text),
  ]);
  output.result(rows.length === 0 ? 'no messages' : table(rows), list);
  return EXIT.done;
}

export async function statusCommand(
  world: World,
  args: StationArguments,
  output: Output,
): Promise<ExitCode> {
  const status = await withStation(world, args, (station) => station.request('status', {}));
  output.result(statusText(status), status);
  return EXIT.done;
}

function statusText(status: StatusResult): string {
  const { dht } = status;
  return table([
    status.id === undefined
      ? ['node', `of the DHT only, ${dht.id}`]
      : ['station', `${status.node}, ${status.id}`],
    ['version', status.version],
    [
      'process',
      `pid ${status.pid}, up ${formatSeconds(status.uptime_s)}, ${(status.memory.rss_bytes / 1e6).toFixed(0)} MB`,
    ],
    ['state', status.state],
    [
      'dht',
      `${dht.state}, ${dht.peers4 + dht.peers6} nodes, udp ${dht.address}, network ${dht.network}`,
    ],
    ...stationRows(status),
  ]);
}

function* stationRows({ mqtt, audio, calls }: StatusResult): Generator<string[]> {
  if (mqtt !== undefined) {
    const broker = mqtt.mode === 'embedded' ? `own broker at ${mqtt.url}` : mqtt.url;
    const link = `${broker}, ${mqtt.connected ? 'connected' : 'not connected'}`;
    yield ['mqtt', mqtt.mode === 'off' ? 'off' : link];
  }
  if (audio !== undefined) yield ['sound', `${audio.description}, ${audio.state}`];
  if (calls !== undefined) {
    const texts = calls.map(({ phase, peer, direction }) => {
      return `${phase} (${direction}, ${printable(peer)})`;
    });
    yield ['calls', texts.length === 0 ? 'none' : texts.join('; ')];
  }
}

/** One JSON object per line, until Ctrl-C. */
export async function eventsCommand(
  world: World,
  args: StationArguments & { types: readonly string[] | undefined },
  output: Output,
): Promise<ExitCode> {
  return await withStation(world, args, async (station) => {
    const ended = new Promise<AgentError | undefined>((resolve) => {
      station.onLost(resolve);
      world.onInterrupt(() => resolve(undefined));
    });
    station.onEvent((event) => {
      const line = JSON.stringify(event);
      output.result(line, event);
    });
    const { types } = args;
    await station.request('events.subscribe', types === undefined ? {} : { types: [...types] });
    const lost = await ended;
    if (lost !== undefined) throw lost;
    return EXIT.done;
  });
}
