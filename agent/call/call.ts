import type { Millis, Moment } from '../base/clock.ts';
import type {
  CallDirection,
  CallEvent,
  CallPhase,
  CallQuality,
  CallSnapshot,
  EndReason,
} from '../events.ts';
import type { Candidate, SessionDescription } from './description.ts';
import { ENDED_BY_PEER, endType } from './end.ts';
import {
  BYE_MS,
  CONNECT_MS,
  HOLD_MS,
  PREPARE_MS,
  REACTION_MS,
  RESEND_MS,
  RETRY_MS,
  RING_MS,
  SILENCE_MS,
} from './limits.ts';
import type { MediaCommand, MediaEvent } from './media.ts';
import type { DeviceRef, PeerDevice } from './ring-group.ts';
import type { HangupReason, Signal, SignalBody } from './signal.ts';

/** Every timer of a call, and what it means when it runs out. */
const TIMERS = {
  /** Media gave no description of our side: `error`. */
  prepare: PREPARE_MS,
  /** Devices that have not reacted to the offer will not. */
  reaction: REACTION_MS,
  /** Say the offer again to devices that have not reacted. */
  resend: RESEND_MS,
  /** It rang long enough: `no_answer`. */
  ring: RING_MS,
  /** Answered, and no media: `no_path`. */
  connect: CONNECT_MS,
  /** Answered, and no media yet: try a second connection. */
  retry: RETRY_MS,
  /** The caller has our second answer by now: use its candidates (see IncomingCall). */
  hold: HOLD_MS,
  /** Nothing came from the far side: `lost`. */
  silence: SILENCE_MS,
  /** The far side did not confirm our good-bye: tell it by a signal. */
  bye: BYE_MS,
} as const satisfies Record<string, Millis>;
type Timer = keyof typeof TIMERS;
/** Those that mean something else to a caller than to a callee. */
export type RoleTimer = 'reaction' | 'resend' | 'ring' | 'retry' | 'hold';

/**
 * The states of a call: what is published (a state without phase keeps the one before), which
 * timers may run in it, and which states may follow.
 */
const STATES = {
  /** Out: media describes our side, devices are looked up and get the offer. */
  offering: {
    phase: 'dialing',
    timers: ['prepare', 'reaction', 'resend'],
    next: ['ringing', 'connecting', 'ended'],
  },
  /** Out: at least one device rings. */
  ringing: {
    phase: 'ringing',
    timers: ['reaction', 'resend', 'ring'],
    next: ['connecting', 'ended'],
  },
  /** In: it rings here. */
  alerting: { phase: 'incoming', timers: ['ring'], next: ['answering', 'ended'] },
  /** In: someone answered, media describes our side. */
  answering: { phase: undefined, timers: ['prepare', 'hold'], next: ['connecting', 'ended'] },
  /** Both sides are described, media looks for a way. */
  connecting: {
    phase: undefined,
    timers: ['prepare', 'connect', 'retry', 'hold'],
    next: ['established', 'ended'],
  },
  /** People talk. Back to `connecting` when the caller comes with a second offer. */
  established: { phase: 'active', timers: ['silence'], next: ['connecting', 'ending', 'ended'] },
  /** We hung up and wait for the far side to confirm. */
  ending: { phase: 'ending', timers: ['bye'], next: ['ended'] },
  ended: { phase: 'idle', timers: [], next: [] },
} as const satisfies Record<
  string,
  { phase: CallPhase | undefined; timers: readonly Timer[]; next: readonly string[] }
>;
export type CallState = keyof typeof STATES;

/** What became of a signal; `Calls` counts all but the first. */
export type Verdict = 'taken' | 'repeated' | 'wrongDevice' | 'unexpected';

/** Where a call puts what it wants done. */
export interface CallOutputs {
  signal(to: DeviceRef, signal: Signal): void;
  media(callId: string, command: MediaCommand): void;
  event(event: CallEvent): void;
}

export interface CallParties {
  readonly callId: string;
  readonly ownDeviceId: string;
  /** Contact name, or `unknown`. */
  readonly peer: string;
  readonly accountId: string;
}

/**
 * One call: states, timers, and how it ends. It knows no media and no network: what it wants comes
 * out of `outputs`, what happened goes in. OutgoingCall and IncomingCall add what only a caller or
 * a callee does.
 */
export abstract class Call {
  readonly direction: CallDirection;
  readonly parties: CallParties;
  readonly #outputs: CallOutputs;
  #state: CallState;
  #phase: CallPhase;
  #sinceUnixMs: number;
  #sequence = 0;
  #answeredAt: Millis | undefined;
  #quality: CallQuality | undefined;
  /** Why we said good-bye, in state `ending`. */
  #leaving: 'hangup' | 'shutdown' = 'hangup';
  #lastWord: SignalBody | undefined;
  readonly #deadlines = new Map<Timer, Millis>();

  constructor(
    direction: CallDirection,
    state: 'offering' | 'alerting',
    parties: CallParties,
    outputs: CallOutputs,
    at: Moment,
  ) {
    this.direction = direction;
    this.parties = parties;
    this.#outputs = outputs;
    this.#state = state;
    this.#phase = STATES[state].phase;
    this.#sinceUnixMs = at.unixMs;
    this.emit({ type: 'call.phase', call: this.snapshot() });
  }

  get state(): CallState {
    return this.#state;
  }

  get isEnded(): boolean {
    return this.#state === 'ended';
  }

  /** Holds the line: not yet saying good-bye. */
  get isLive(): boolean {
    return this.#state !== 'ending' && this.#state !== 'ended';
  }

  /** With which refusal or hang-up we left, for a device that has not heard it. */
  get lastWord(): SignalBody | undefined {
    return this.#lastWord;
  }

  snapshot(): CallSnapshot {
    const { callId, peer, accountId } = this.parties;
    return {
      callId,
      direction: this.direction,
      phase: this.#phase,
      peer,
      accountId,
      sinceUnixMs: this.#sinceUnixMs,
    };
  }

  // What a caller and a callee do differently.

  /** Which connection of this call the newest descriptions are about. */
  protected abstract readonly attempt: number;
  /** One signal from `from`, whose call id is ours. */
  abstract receive(signal: Signal, from: DeviceRef, at: Moment): Verdict;
  /** Media described our side. */
  protected abstract onDescribed(description: SessionDescription, at: Moment): void;
  protected abstract onLocalCandidates(candidates: readonly Candidate[], at: Moment): void;
  /** No way was found by this attempt, in state `connecting`. */
  protected abstract onNoPath(at: Moment): void;
  protected abstract onTimer(timer: RoleTimer, at: Moment): void;
  /** Devices that believe they are in this call. */
  protected abstract involved(): readonly PeerDevice[];
  /** Every device that may still say something about it. */
  abstract everInvolved(): readonly DeviceRef[];

  // Inputs that are the same for both.

  /** We, a person or a command, end it: cancel, reject or hang up, whichever it is now. */
  leave(why: 'hangup' | 'shutdown', at: Moment): void {
    switch (this.#state) {
      case 'offering':
      case 'ringing':
        this.end(why === 'hangup' ? 'cancelled' : why, at, 'cancelled');
        break;
      case 'alerting':
        if (why === 'hangup') this.tellAll({ kind: 'refuse', reason: 'rejected' }, at);
        this.end(why === 'hangup' ? 'rejected' : why, at, why === 'hangup' ? undefined : why);
        break;
      case 'answering':
      case 'connecting':
        this.end(why, at, why);
        break;
      case 'established':
        this.#leaving = why;
        this.enter('ending', at);
        this.arm('bye', at);
        this.media({ kind: 'bye', reason: why });
        break;
      case 'ending':
      case 'ended':
        break;
      default:
        this.#state satisfies never;
    }
  }

  mediaEvent(attempt: number, event: MediaEvent, at: Moment): void {
    // What a connection says that was replaced, or whose call is over, is history.
    if (attempt !== this.attempt || this.isEnded) return;
    switch (event.kind) {
      case 'described':
        this.onDescribed(event.description, at);
        break;
      case 'candidates':
        this.onLocalCandidates(event.candidates, at);
        break;
      case 'connected':
        if (this.#state === 'connecting') this.#establish(at);
        break;
      case 'heard':
        if (this.#state === 'established') this.arm('silence', at);
        break;
      case 'bye':
        this.endedByPeer(event.reason, at);
        break;
      case 'bye-heard':
        if (this.#state === 'ending') this.end(this.#leaving, at);
        break;
      case 'failed':
        this.#onMediaFailed(at);
        break;
      default:
        event satisfies never;
    }
  }

  /** How the voice was so far; the last one goes into the end event. */
  setQuality(quality: CallQuality): void {
    this.#quality = quality;
  }

  nextTimeout(): Millis {
    return Math.min(Number.POSITIVE_INFINITY, ...this.#deadlines.values());
  }

  timeout(at: Moment): void {
    // Declared order; a timer that ends the call disarms the rest.
    for (const timer of Object.keys(TIMERS) as Timer[]) {
      if ((this.#deadlines.get(timer) ?? Number.POSITIVE_INFINITY) > at.now) continue;
      this.#deadlines.delete(timer);
      this.#onTimeout(timer, at);
    }
  }

  // For the subclasses.

  protected enter(state: CallState, at: Moment): void {
    const { next } = STATES[this.#state];
    if (!(next as readonly CallState[]).includes(state)) {
      throw new Error(`a call goes from ${this.#state} to ${next.join(', ')}, not to ${state}`);
    }
    this.#state = state;
    const { phase, timers } = STATES[state];
    for (const timer of this.#deadlines.keys()) {
      if (!(timers as readonly Timer[]).includes(timer)) this.#deadlines.delete(timer);
    }
    if (phase === undefined || phase === this.#phase) return;
    this.#phase = phase;
    this.#sinceUnixMs = at.unixMs;
    this.emit({ type: 'call.phase', call: this.snapshot() });
  }

  protected arm(timer: Timer, at: Moment): void {
    this.#deadlines.set(timer, at.now + TIMERS[timer]);
  }

  protected disarm(timer: Timer): void {
    this.#deadlines.delete(timer);
  }

  protected emit(event: CallEvent): void {
    this.#outputs.event(event);
  }

  protected media(command: MediaCommand): void {
    this.#outputs.media(this.parties.callId, command);
  }

  protected tell(device: PeerDevice, body: SignalBody, at: Moment): void {
    this.#sequence++;
    if (body.kind === 'refuse' || body.kind === 'hangup') this.#lastWord = body;
    this.#outputs.signal(device.ref, {
      ...body,
      callId: this.parties.callId,
      sequence: this.#sequence,
      sentAtUnixMs: at.unixMs,
      from: this.parties.ownDeviceId,
      to: device.ref.deviceId,
    });
  }

  protected tellAll(body: SignalBody, at: Moment): void {
    for (const device of this.involved()) this.tell(device, body, at);
  }

  /** The far side says that it is over. */
  protected endedByPeer(reason: HangupReason, at: Moment): void {
    const why = this.#state === 'ending' ? this.#leaving : ENDED_BY_PEER[reason];
    const type = reason === 'answered_elsewhere' ? 'call.ended' : undefined; // not missed
    this.end(why, at, undefined, type);
  }

  /**
   * The one way to end. Media closes before anybody hears of it.
   * @param tell what the devices that are in this call are told, if anything
   */
  protected end(
    reason: EndReason,
    at: Moment,
    tell?: HangupReason,
    type = endType(this.direction, this.#answeredAt !== undefined, reason),
  ): void {
    if (tell !== undefined) this.tellAll({ kind: 'hangup', reason: tell }, at);
    this.media({ kind: 'close' });
    this.enter('ended', at);
    const talkedMs = this.#answeredAt === undefined ? 0 : at.now - this.#answeredAt;
    this.emit({
      type,
      call: this.snapshot(),
      reason,
      durationS: Math.round(talkedMs / 1000),
      ...(this.#quality === undefined ? {} : { quality: this.#quality }),
    });
  }

  #establish(at: Moment): void {
    this.enter('established', at);
    this.arm('silence', at);
    if (this.#answeredAt !== undefined) return; // a second connection of the same talk
    this.#answeredAt = at.now;
    this.emit({ type: 'call.answered', call: this.snapshot() });
  }

  #onMediaFailed(at: Moment): void {
    switch (this.#state) {
      case 'connecting':
        this.onNoPath(at);
        break;
      case 'established':
        this.end('lost', at, 'lost');
        break;
      case 'ending':
        this.end(this.#leaving, at, this.#leaving);
        break;
      default:
        this.end('error', at, 'error');
    }
  }

  #onTimeout(timer: Timer, at: Moment): void {
    switch (timer) {
      case 'prepare':
        this.end('error', at, 'error');
        break;
      case 'connect':
        this.end(this.#answeredAt === undefined ? 'no_path' : 'lost', at, 'no_path');
        break;
      case 'silence':
        this.end('lost', at, 'lost');
        break;
      case 'bye':
        this.end(this.#leaving, at, this.#leaving);
        break;
      case 'reaction':
      case 'resend':
      case 'ring':
      case 'retry':
      case 'hold':
        this.onTimer(timer, at);
        break;
      default:
        timer satisfies never;
    }
  }
}
