import { BoundedMap } from '../base/bounded.ts';
import type { Millis, Moment } from '../base/clock.ts';
import { AgentError, DecodeError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { ulid } from '../base/ulid.ts';
import type { CallEvent, CallQuality, CallSnapshot, SecurityEvent } from '../events.ts';
import { Admission, type CallPolicy } from './admission.ts';
import type { Call, CallOutputs } from './call.ts';
import { IncomingCall, type Offer } from './incoming-call.ts';
import { MAX_CALLS, MAX_ENDED_CALLS, MAX_LIVE_CALLS } from './limits.ts';
import type { MediaCommand, MediaEvent } from './media.ts';
import { OutgoingCall } from './outgoing-call.ts';
import type { DeviceRef } from './ring-group.ts';
import { decodeSignal, encodeSignal, type Signal, type SignalBody } from './signal.ts';

/** What the calls want done. `devices`: look those of an account up, until the call ends. */
export type CallsOutput =
  | {
      readonly type: 'signal';
      readonly to: DeviceRef;
      readonly bytes: Uint8Array;
      readonly signal: Signal;
    }
  | { readonly type: 'media'; readonly callId: string; readonly command: MediaCommand }
  | { readonly type: 'devices'; readonly callId: string; readonly accountId: string }
  | { readonly type: 'event'; readonly event: CallEvent | SecurityEvent };

export interface CallTarget {
  /** Contact name, or `unknown`. */
  readonly peer: string;
  readonly accountId: string;
}

/** Signals that were dropped, by reason. */
const DROPS = {
  /** No signal at all. */
  malformed: 0,
  /** Not for this device, or the signed part names another sender than the signature. */
  misaddressed: 0,
  /** Outside its lifetime. */
  stale: 0,
  /** Seen before, or about a call that is over. */
  repeated: 0,
  /** About a call that we do not know. */
  unknownCall: 0,
  /** From a device that is not in the call. */
  wrongDevice: 0,
  /** Not the turn of this signal. */
  unexpected: 0,
  /** A contact that makes offers too fast. */
  tooMany: 0,
  /** An offer that lost against ours. */
  glare: 0,
};
export type DropReason = keyof typeof DROPS;

export interface CallsStats {
  readonly live: number;
  readonly calls: number;
  readonly ended: number;
  /** Contacts whose rate of offers is watched. */
  readonly watchedPeers: number;
  /** Strangers refused. */
  readonly refused: number;
  /** Contacts that heard busy. */
  readonly busy: number;
  readonly dropped: Readonly<Record<DropReason, number>>;
}

/** For a device that was not there when the call ended in the media, and takes it for new. */
const HUNG_UP: SignalBody = { kind: 'hangup', reason: 'hangup' };

/**
 * All calls of this device: which signal belongs to which, who may begin one, and who wins when two
 * call each other. The shape of `Engine` without datagrams: after every call of a method drain
 * `poll`, then arm one timer for `nextTimeout`.
 */
export class Calls {
  readonly #own: DeviceRef;
  readonly #admission: Admission;
  readonly #random: Random;
  readonly #calls = new Map<string, Call>();
  /** Calls that are over, and what to say once more to a device that has not heard it. */
  readonly #ended = new BoundedMap<string, Map<string, SignalBody>>(MAX_ENDED_CALLS);
  readonly #dropped = { ...DROPS };
  #busy = 0;
  #isShutDown = false;
  /** Drained after every input, and each input makes a handful: needs no bound. */
  #outputs: CallsOutput[] = [];
  readonly #sink: CallOutputs = {
    signal: (to, signal) =>
      this.#outputs.push({ type: 'signal', to, signal, bytes: encodeSignal(signal) }),
    media: (callId, command) => this.#outputs.push({ type: 'media', callId, command }),
    event: (event) => this.#outputs.push({ type: 'event', event }),
  };

  /** @param since when this device began to listen: calls from before are not taken */
  constructor(own: DeviceRef, policy: CallPolicy, random: Random, since?: Moment) {
    this.#own = own;
    this.#admission = new Admission(policy, since);
    this.#random = random;
  }

  /**
   * Call all devices of an account.
   * @returns the call id; progress comes as events
   * @throws {AgentError} `busy` while another call is there, `own-id`
   */
  place(target: CallTarget, at: Moment): string {
    const { accountId, peer } = target;
    if (accountId === this.#own.accountId) {
      throw new AgentError('own-id', 'a station cannot call itself');
    }
    if (!this.#hasRoom()) {
      const live = this.#live();
      throw new AgentError(
        'busy',
        live === undefined ? 'too many calls' : `there is a call with ${live.parties.peer}`,
        live?.state === 'alerting' ? 'answer it' : 'hang up first',
      );
    }
    const callId = ulid(at.unixMs, this.#random);
    const parties = { callId, ownDeviceId: this.#own.deviceId, peer, accountId };
    this.#calls.set(callId, new OutgoingCall(parties, this.#sink, at));
    this.#outputs.push({ type: 'devices', callId, accountId });
    return callId;
  }

  /** The lookup that `devices` asked for found one. */
  deviceFound(callId: string, device: DeviceRef, at: Moment): void {
    const call = this.#calls.get(callId);
    if (call instanceof OutgoingCall) call.deviceFound(device, at);
    this.#settle(at);
  }

  /** The lookup is over. */
  lookupDone(callId: string, at: Moment): void {
    const call = this.#calls.get(callId);
    if (call instanceof OutgoingCall) call.lookupDone(at);
    this.#settle(at);
  }

  /**
   * Take the call that rings here.
   * @returns its call id
   * @throws {AgentError} `not-found` when nothing rings, or not this
   */
  answer(callId: string | undefined, at: Moment): string {
    for (const call of this.#calls.values()) {
      if (callId !== undefined && callId !== call.parties.callId) continue;
      if (call instanceof IncomingCall && call.answer(at)) {
        this.#settle(at);
        return call.parties.callId;
      }
    }
    throw new AgentError('not-found', callId === undefined ? 'nobody rings' : 'that does not ring');
  }

  /**
   * Cancel, reject or hang up. Without id: every call.
   * @returns how many
   * @throws {AgentError} `not-found` for an id that no running call has
   */
  hangup(callId: string | undefined, at: Moment): number {
    const calls = [...this.#calls.values()].filter(
      (call) => call.isLive && (callId === undefined || callId === call.parties.callId),
    );
    if (callId !== undefined && calls.length === 0) {
      throw new AgentError('not-found', `there is no call ${callId}`);
    }
    for (const call of calls) call.leave('hangup', at);
    this.#settle(at);
    return calls.length;
  }

  /** End every call because the station stops, and begin none. `isIdle` when all have said good-bye. */
  shutdown(at: Moment): void {
    this.#isShutDown = true;
    for (const call of this.#calls.values()) call.leave('shutdown', at);
    this.#settle(at);
  }

  get isIdle(): boolean {
    return this.#calls.size === 0;
  }

  /**
   * Feed what was found in the inbox. Hostile bytes are counted and dropped, never thrown.
   * @param from the device whose signature was good, and the account that it was shown to belong to
   */
  receiveSignal(bytes: Uint8Array, from: DeviceRef, at: Moment): void {
    const signal = this.#decode(bytes);
    if (signal === undefined) return;
    const call = this.#calls.get(signal.callId);
    if (signal.to !== this.#own.deviceId || signal.from !== from.deviceId) {
      this.#drop('misaddressed');
    } else if (call !== undefined) {
      // No look at the date: the call id and the sequence make a signal of a running call fresh,
      // and a clock that is set while people talk must not cut them off.
      const verdict = call.receive(signal, from, at);
      if (verdict !== 'taken') this.#drop(verdict);
    } else if (this.#ended.has(signal.callId)) {
      this.#toEndedCall(signal, from, at);
    } else if (this.#isShutDown) {
      this.#drop('unknownCall');
    } else {
      this.#begin(signal, from, at);
    }
    this.#settle(at);
  }

  mediaEvent(callId: string, attempt: number, event: MediaEvent, at: Moment): void {
    this.#calls.get(callId)?.mediaEvent(attempt, event, at);
    this.#settle(at);
  }

  /** How the voice of a call is; the last one before the end goes into its end event. */
  setQuality(callId: string, quality: CallQuality): void {
    this.#calls.get(callId)?.setQuality(quality);
  }

  timeout(at: Moment): void {
    for (const call of this.#calls.values()) call.timeout(at);
    this.#settle(at);
  }

  nextTimeout(): Millis {
    const calls = [...this.#calls.values()].map((call) => call.nextTimeout());
    return Math.min(this.#admission.nextTimeout(), ...calls);
  }

  poll(): CallsOutput | undefined {
    return this.#outputs.shift();
  }

  /** Calls that are not over, the live one first. */
  snapshots(): CallSnapshot[] {
    return [...this.#calls.values()]
      .sort((a, b) => Number(b.isLive) - Number(a.isLive))
      .map((call) => call.snapshot());
  }

  stats(): CallsStats {
    return {
      live: [...this.#calls.values()].filter((call) => call.isLive).length,
      calls: this.#calls.size,
      ended: this.#ended.size,
      ...this.#admission.stats(),
      busy: this.#busy,
      dropped: { ...this.#dropped },
    };
  }

  #decode(bytes: Uint8Array): Signal | undefined {
    try {
      return decodeSignal(bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#drop('malformed');
      return undefined;
    }
  }

  /** A device that asks again, or answers late, has not heard how the call ended: tell it once. */
  #toEndedCall(signal: Signal, from: DeviceRef, at: Moment): void {
    this.#drop('repeated');
    if (signal.kind !== 'answer' && signal.kind !== 'offer') return;
    const lastWords = this.#ended.get(signal.callId);
    const lastWord = lastWords?.get(from.deviceId);
    if (lastWord === undefined) return;
    lastWords?.delete(from.deviceId);
    this.#reply(signal, from, lastWord, at);
  }

  #begin(signal: Signal, from: DeviceRef, at: Moment): void {
    const admittance = this.#admission.judge(signal, from, at);
    switch (admittance.kind) {
      case 'admit':
        if (signal.kind === 'offer') this.#admit(signal, from, admittance.autoAnswer, at);
        break;
      case 'over':
        this.#remember(signal.callId, []);
        this.#drop('unknownCall');
        break;
      case 'refuse':
        if (admittance.tell) this.#reply(signal, from, { kind: 'refuse', reason: 'denied' }, at);
        break;
      case 'drop':
        this.#drop(admittance.reason);
        break;
      default:
        admittance satisfies never;
    }
  }

  #admit(offer: Offer, from: DeviceRef, autoAnswer: boolean, at: Moment): void {
    const outcome = this.#makeRoom(offer, from, at);
    if (outcome === 'glare' || outcome === 'stale') {
      this.#drop(outcome);
    } else if (this.#hasRoom()) {
      const { accountId } = from;
      const { callId } = offer;
      const peer = this.#admission.nameOf(accountId);
      const parties = { callId, ownDeviceId: this.#own.deviceId, peer, accountId };
      const answer = autoAnswer || outcome === 'ours-lost';
      this.#calls.set(callId, new IncomingCall(parties, from, offer, answer, this.#sink, at));
    } else {
      this.#refuseBusy(offer, from, at);
    }
  }

  /**
   * Make room for an offer where it concerns the call that is there: we call each other, or the
   * same device calls again. Of two calls that cross, the one with the lower id stays: both sides
   * see both ids, so both decide the same. Who loses takes the other's call at once: he wanted to
   * talk to just this person.
   */
  #makeRoom(offer: Offer, from: DeviceRef, at: Moment): 'glare' | 'stale' | 'ours-lost' | 'none' {
    const live = this.#live();
    if (live instanceof IncomingCall && live.isFrom(from)) {
      // One device has one call to us: the old one is over, and the signal that said so was lost.
      if (offer.sentAtUnixMs <= live.offeredAtUnixMs) return 'stale';
      live.supersede(at);
    } else if (live instanceof OutgoingCall && live.rings(from)) {
      if (live.parties.callId < offer.callId) return 'glare';
      live.leave('hangup', at);
      this.#settle(at);
      return 'ours-lost';
    }
    this.#settle(at);
    return 'none';
  }

  #refuseBusy(offer: Offer, from: DeviceRef, at: Moment): void {
    this.#busy++;
    const busy: SignalBody = { kind: 'refuse', reason: 'busy' };
    this.#remember(offer.callId, [from], busy);
    this.#reply(offer, from, busy, at);
    const { accountId } = from;
    const call: CallSnapshot = {
      callId: offer.callId,
      direction: 'incoming',
      phase: 'idle',
      peer: this.#admission.nameOf(accountId),
      accountId,
      sinceUnixMs: at.unixMs,
    };
    this.#sink.event({ type: 'call.missed', call, reason: 'busy', durationS: 0 });
  }

  /** A signal of a call that we do not keep. */
  #reply(to: Signal, device: DeviceRef, body: SignalBody, at: Moment): void {
    this.#sink.signal(device, {
      ...body,
      callId: to.callId,
      // Above what the call itself may have used: a receiver takes each number once.
      sequence: 0x8000 | (to.sequence & 0x7fff),
      sentAtUnixMs: at.unixMs,
      from: this.#own.deviceId,
      to: device.deviceId,
    });
  }

  #live(): Call | undefined {
    return [...this.#calls.values()].find((call) => call.isLive);
  }

  #hasRoom(): boolean {
    const live = [...this.#calls.values()].filter((call) => call.isLive).length;
    return live < MAX_LIVE_CALLS && this.#calls.size < MAX_CALLS;
  }

  #remember(callId: string, devices: readonly DeviceRef[], lastWord?: SignalBody): void {
    const lastWords = new Map<string, SignalBody>();
    if (lastWord !== undefined)
      for (const { deviceId } of devices) lastWords.set(deviceId, lastWord);
    this.#ended.set(callId, lastWords);
  }

  #drop(reason: DropReason): void {
    this.#dropped[reason]++;
  }

  /** Forget calls that ended, but not that they were. */
  #settle(at: Moment): void {
    for (const [callId, call] of this.#calls) {
      if (!call.isEnded) continue;
      this.#calls.delete(callId);
      this.#remember(callId, call.everInvolved(), call.lastWord ?? HUNG_UP);
    }
    const event = this.#admission.event(at.now);
    if (event !== undefined) this.#outputs.push({ type: 'event', event });
  }
}
