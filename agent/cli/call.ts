import { FRAME_SAMPLES } from '../audio/device.ts';
import type { Millis } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { ControlConnection } from '../control/client.ts';
import { CONTROL_LIMITS } from '../control/limits.ts';
import type { WireEvent } from '../control/protocol.ts';
import type { EndReason } from '../events.ts';
import { EXIT, type ExitCode, exitOfCall, exitOfResult } from './exit-codes.ts';
import { type Output, printable } from './output.ts';
import { PlayAhead } from './play-ahead.ts';
import { openStation, type StationArguments } from './station.ts';
import type { Alarm, SoundReader, SoundWriter, World } from './world.ts';

export interface CallArguments extends StationArguments {
  readonly to: string;
  readonly play?: string | undefined;
  readonly record?: string | undefined;
  readonly forMs?: Millis | undefined;
}

type CallEnd = Extract<
  WireEvent,
  { type: 'call.ended' | 'call.missed' | 'call.rejected' | 'call.failed' }
>;

/** Longer than any station rings. */
const ANSWER_TIMEOUT_MS: Millis = 120_000;
/** After we hung up, or the time of `--for` was over: how long the end of the call may take. */
const END_TIMEOUT_MS: Millis = 5000;

const IN_WORDS: Readonly<Record<EndReason, string>> = {
  hangup: 'we hung up',
  remote_hangup: 'they hung up',
  rejected: 'they refused',
  busy: 'they are busy',
  no_answer: 'nobody answered',
  cancelled: 'cancelled',
  unreachable: 'they cannot be reached',
  no_path: 'no way for the sound was found',
  lost: 'the connection was lost',
  denied: 'they do not let us call',
  shutdown: 'the station stopped',
  error: 'an error in the station',
};

/** `doorward call`: place a call, stay until it ends, be its sound device when files are given. */
export async function callCommand(
  world: World,
  args: CallArguments,
  output: Output,
): Promise<ExitCode> {
  // What can be wrong here is found before anybody's bell rings.
  const player = args.play === undefined ? undefined : await openSound(world, args.play);
  const writer =
    args.record === undefined
      ? undefined
      : await createSound(world, args.record, (reason) =>
          output.note(`doorward: the recording ended: ${reason}`),
        );
  try {
    const station = await openStation(world, args, output);
    try {
      return await new CallFollower(world, station.connection, args, output, player, writer).run();
    } finally {
      await station.close();
    }
  } finally {
    await writer?.close();
  }
}

async function openSound(world: World, path: string): Promise<SoundReader> {
  try {
    return await world.sound.open(path);
  } catch (error) {
    throw error instanceof AgentError
      ? new AgentError('usage', `--play: ${error.message}`, error.hint, { cause: error.cause })
      : error;
  }
}

async function createSound(
  world: World,
  path: string,
  onFailure: (reason: string) => void,
): Promise<SoundWriter> {
  try {
    return await world.sound.create(path, onFailure);
  } catch (error) {
    throw error instanceof AgentError
      ? new AgentError('cannot-write', `--record: ${error.message}`, error.hint, {
          cause: error.cause,
        })
      : error;
  }
}

/** One call from the command line's side, from dialing to its end. */
class CallFollower {
  readonly #world: World;
  readonly #connection: ControlConnection;
  readonly #args: CallArguments;
  readonly #output: Output;
  readonly #player: SoundReader | undefined;
  readonly #writer: SoundWriter | undefined;
  readonly #playTimer: Alarm;
  readonly #giveUpTimer: Alarm;
  /** Events that came before the answer that says which call is ours. */
  #early: WireEvent[] | undefined = [];
  #callId = '';
  #dialedAt: Millis = 0;
  #answeredAfterMs: Millis | undefined;
  #ahead: PlayAhead | undefined;
  #finish: (exit: ExitCode | AgentError) => void = () => {};

  constructor(
    world: World,
    connection: ControlConnection,
    args: CallArguments,
    output: Output,
    player: SoundReader | undefined,
    writer: SoundWriter | undefined,
  ) {
    this.#world = world;
    this.#connection = connection;
    this.#args = args;
    this.#output = output;
    this.#player = player;
    this.#writer = writer;
    this.#playTimer = world.alarm(() => this.#play());
    this.#giveUpTimer = world.alarm(() => this.#timedOut());
  }

  async run(): Promise<ExitCode> {
    const ended = new Promise<ExitCode | AgentError>((resolve) => {
      this.#finish = resolve;
    });
    this.#connection.onEvent((event) => this.#event(event));
    this.#connection.onAudio((pcm) => this.#record(pcm));
    this.#connection.onLost((error) => this.#finish(error));
    const stopListening = this.#world.onInterrupt(() => this.#interrupt());
    try {
      const refused = await this.#dial();
      if (refused !== undefined) return refused;
      const end = await ended;
      if (end instanceof AgentError) throw end;
      return end;
    } finally {
      stopListening();
      this.#playTimer.disarm();
      this.#giveUpTimer.disarm();
    }
  }

  /** @returns the exit code when the station does not even try */
  async #dial(): Promise<ExitCode | undefined> {
    const { to, forMs } = this.#args;
    const isStream = this.#player !== undefined || this.#writer !== undefined;
    await this.#connection.request('events.subscribe', { types: ['call'] });
    this.#output.progress(`dialing ${printable(to)}`);
    this.#dialedAt = this.#world.clock.now();
    const result = await this.#connection.request('call', {
      to,
      audio: isStream ? 'stream' : 'station',
      ...(forMs !== undefined && { for_ms: forMs }),
    });
    const exit = exitOfResult(result.code);
    if (exit !== EXIT.done) {
      this.#output.error(new AgentError(result.code, printable(result.message)));
      return exit;
    }
    this.#callId = String(result.data?.['call_id'] ?? '');
    this.#giveUpTimer.arm(this.#world.clock.now() + ANSWER_TIMEOUT_MS);
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const event of early) this.#event(event);
    return undefined;
  }

  #event(event: WireEvent): void {
    if (this.#early !== undefined) {
      this.#early.push(event);
      return;
    }
    if (!('call' in event) || event.call.call_id !== this.#callId) return;
    switch (event.type) {
      case 'call.ringing':
        this.#output.progress('ringing');
        break;
      case 'call.answered':
        this.#answered();
        break;
      case 'call.ended':
      case 'call.missed':
      case 'call.rejected':
      case 'call.failed':
        this.#ended(event);
        break;
      case 'call.phase':
      case 'call.incoming':
        break;
      default:
        event satisfies never;
    }
  }

  #answered(): void {
    const now = this.#world.clock.now();
    this.#answeredAfterMs = Math.round(now - this.#dialedAt);
    this.#output.progress(`answered after ${this.#answeredAfterMs} ms`);
    const { forMs } = this.#args;
    // The station ends it by itself; this is for one that does not.
    if (forMs === undefined) this.#giveUpTimer.disarm();
    else this.#giveUpTimer.arm(now + forMs + END_TIMEOUT_MS);
    if (this.#player === undefined) return;
    this.#ahead = new PlayAhead(this.#player.frames, now);
    this.#play();
  }

  #play(): void {
    const player = this.#player;
    const ahead = this.#ahead;
    if (player === undefined || ahead === undefined) return;
    const now = this.#world.clock.now();
    for (let frames = ahead.take(now); frames > 0; frames -= CONTROL_LIMITS.audioFrames) {
      const count = Math.min(frames, CONTROL_LIMITS.audioFrames);
      const pcm = new Int16Array(count * FRAME_SAMPLES);
      for (let i = 0; i < count; i++) {
        player.read(pcm.subarray(i * FRAME_SAMPLES, (i + 1) * FRAME_SAMPLES));
      }
      this.#connection.sendAudio(pcm);
    }
    this.#playTimer.arm(ahead.nextTimeout(now));
  }

  #record(pcm: Int16Array): void {
    for (let at = 0; at < pcm.length; at += FRAME_SAMPLES) {
      this.#writer?.write(pcm.subarray(at, at + FRAME_SAMPLES));
    }
  }

  #ended({ reason, duration_s, quality, call }: CallEnd): void {
    const wasAnswered = this.#answeredAfterMs !== undefined;
    const loss = quality === undefined ? '' : `, loss ${quality.loss_pct.toFixed(1)} %`;
    const talked = wasAnswered ? `, ${duration_s.toFixed(1)} s${loss}` : '';
    this.#output.result(`ended: ${IN_WORDS[reason]}${talked}`, {
      call_id: call.call_id,
      peer: call.peer,
      reason,
      ...(wasAnswered && { answered_after_ms: this.#answeredAfterMs }),
      duration_s,
      ...(quality !== undefined && { quality }),
    });
    this.#finish(exitOfCall(reason, wasAnswered));
  }

  /** Ctrl-C: hang up like a person, and then leave as the call ends. */
  #interrupt(): void {
    this.#output.note('hanging up');
    this.#hangUp();
    this.#giveUpTimer.arm(this.#world.clock.now() + END_TIMEOUT_MS);
  }

  #timedOut(): void {
    this.#hangUp();
    this.#finish(new AgentError('timeout', 'the station did not say how the call went in time'));
  }

  #hangUp(): void {
    if (this.#callId === '') {
      this.#finish(EXIT.failed);
      return;
    }
    // When it fails the station is lost or the call is over: both are told otherwise.
    this.#connection.request('hangup', { call_id: this.#callId }).catch(() => {});
  }
}
