import type { Millis } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { ControlConnection } from '../control/client.ts';
import type { WireEvent } from '../control/protocol.ts';
import type { MessageState } from '../events.ts';
import { EXIT, type ExitCode, exitOfResult } from './exit-codes.ts';
import { type Output, printable } from './output.ts';
import { openStation, type StationArguments } from './station.ts';
import type { World } from './world.ts';

export interface SendArguments extends StationArguments {
  readonly to: string;
  /** `-`: standard input to its end. */
  readonly text: string;
}

type Progress = Extract<WireEvent, { type: 'message' }>['message'];

/** A message to somebody who is there is confirmed in a second or two. */
const CONFIRM_MS: Millis = 10_000;

const IN_WORDS: Readonly<Record<MessageState, string>> = {
  received: 'received',
  queued: 'queued: it goes out as soon as they can be reached',
  sent: 'sent: they get it when they come online',
  delivered: 'delivered',
  failed: 'failed',
};

/** `doorward send`: hand a text over and see for a while how far it gets. */
export async function sendCommand(
  world: World,
  args: SendArguments,
  output: Output,
): Promise<ExitCode> {
  const text = args.text === '-' ? await readText(world) : args.text;
  if (text === '') throw new AgentError('message-empty', 'the message has no text');
  const station = await openStation(world, args, output);
  try {
    return await follow(world, station.connection, station.isPrivate, args.to, text, output);
  } finally {
    await station.close();
  }
}

async function readText(world: World): Promise<string> {
  return new TextDecoder().decode(await world.stdinBytes()).replace(/\r?\n$/, '');
}

async function follow(
  world: World,
  connection: ControlConnection,
  isPrivate: boolean,
  to: string,
  text: string,
  output: Output,
): Promise<ExitCode> {
  // Every state by message: they may come before the answer that says which message is ours.
  const latest = new Map<string, Progress>();
  let messageId: string | undefined;
  let settle: () => void = () => {};
  const settled = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const look = () => {
    const state = latest.get(messageId ?? '')?.state;
    if (state === 'delivered' || state === 'failed') settle();
  };
  connection.onEvent((event) => {
    if (event.type !== 'message') return;
    latest.set(event.message.message_id, event.message);
    look();
  });
  let lost: AgentError | undefined;
  connection.onLost((error) => {
    lost = error;
    settle();
  });
  await connection.request('events.subscribe', { types: ['message'] });
  const result = await connection.request('send', { to, text });
  const exit = exitOfResult(result.code);
  if (exit !== EXIT.done) {
    output.error(new AgentError(result.code, printable(result.message)));
    return exit;
  }
  messageId = String(result.data?.['message_id'] ?? '');
  look();
  const alarm = world.alarm(settle);
  alarm.arm(world.clock.now() + CONFIRM_MS);
  await settled;
  alarm.disarm();
  if (lost !== undefined) throw lost;

  const { state, reason } = latest.get(messageId) ?? { state: 'queued' as const };
  // A station of our own is gone after this: what has not left it never will.
  if (isPrivate && state === 'queued') {
    throw new AgentError(
      'timeout',
      'the message did not leave in time',
      'name nodes to enter the network with --bootstrap',
    );
  }
  const why = reason === undefined ? '' : `: ${printable(reason)}`;
  output.result(`${IN_WORDS[state]}${why}`, {
    message_id: messageId,
    state,
    ...(reason !== undefined && { reason }),
  });
  return state === 'failed' ? EXIT.noAnswer : EXIT.done;
}
