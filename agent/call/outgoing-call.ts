import type { Moment } from '../base/clock.ts';
import { Call, type CallOutputs, type CallParties, type RoleTimer, type Verdict } from './call.ts';
import { type Candidate, limitCandidates, type SessionDescription } from './description.ts';
import { MAX_ATTEMPTS, MAX_REPEATED_REPLIES } from './limits.ts';
import { type DeviceRef, type PeerDevice, RingGroup } from './ring-group.ts';
import { MEDIA_WANTED, type RefuseReason, type Signal, type SignalBody } from './signal.ts';

/**
 * A call that we make. All devices of the contact get the same offer; the first answer wins and the
 * others are told. Devices are looked up while media makes the offer; each gets it as soon as both
 * are there.
 */
export class OutgoingCall extends Call {
  protected attempt = 1;
  readonly #ring = new RingGroup();
  /** Our side, with late candidates; undefined until media has described it. */
  #local: SessionDescription | undefined;
  /** The device whose answer we took. */
  #callee: PeerDevice | undefined;
  #awaitsAnswer = false;

  constructor(parties: CallParties, outputs: CallOutputs, at: Moment) {
    super('outgoing', 'offering', parties, outputs, at);
    this.arm('prepare', at);
    this.arm('reaction', at);
    this.media({ kind: 'offer', attempt: this.attempt });
  }

  /** The lookup found a device of the account that is called. */
  deviceFound(ref: DeviceRef, at: Moment): void {
    if (!this.rings(ref)) return;
    const device = this.#ring.add(ref);
    if (device !== undefined) this.#offerTo(device, at);
  }

  /** There are no more devices. */
  lookupDone(at: Moment): void {
    this.#ring.lookupDone = true;
    this.#endIfNobodyIsLeft(at);
  }

  /** Whether the account of `device` is the one that is rung, and nobody answered yet. */
  rings({ accountId }: DeviceRef): boolean {
    const unanswered = this.state === 'offering' || this.state === 'ringing';
    return unanswered && accountId === this.parties.accountId;
  }

  receive(signal: Signal, from: DeviceRef, at: Moment): Verdict {
    const device = this.#ring.get(from);
    if (device === undefined || device.state === 'found') return 'wrongDevice';
    if (!device.window.accept(signal.sequence)) return 'repeated';
    switch (signal.kind) {
      case 'ringing':
        return this.#onRinging(device, at);
      case 'answer':
        return this.#onAnswer(device, signal, at);
      case 'refuse':
        return this.#onRefusal(device, signal.reason, at);
      case 'candidates':
        return this.#onRemoteCandidates(device, signal);
      case 'hangup':
        if (device === this.#callee) this.endedByPeer(signal.reason, at);
        else this.#onRefusal(device, 'no_answer', at);
        return 'taken';
      case 'offer':
        return 'unexpected';
      default:
        return signal satisfies never;
    }
  }

  #onRinging(device: PeerDevice, at: Moment): Verdict {
    if (this.#callee !== undefined || device.state !== 'offered') return 'unexpected';
    device.state = 'ringing';
    if (this.state === 'offering') {
      this.enter('ringing', at);
      this.arm('ring', at);
      this.emit({ type: 'call.ringing', call: this.snapshot() });
    }
    return 'taken';
  }

  #onAnswer(device: PeerDevice, answer: Extract<Signal, { kind: 'answer' }>, at: Moment): Verdict {
    if (this.#callee !== undefined && device !== this.#callee) {
      // It was told, but the signal may be lost.
      if (++device.repeatedReplies <= MAX_REPEATED_REPLIES) {
        this.tell(device, { kind: 'hangup', reason: 'answered_elsewhere' }, at);
      }
      return 'taken';
    }
    if (!this.#awaitsAnswer || device.state === 'refused' || answer.attempt !== this.attempt) {
      return 'unexpected';
    }
    this.#awaitsAnswer = false;
    if (this.#callee === undefined) {
      this.#callee = device;
      for (const other of this.#ring.in('offered', 'ringing')) {
        if (other === device) continue;
        this.tell(other, { kind: 'hangup', reason: 'answered_elsewhere' }, at);
      }
      this.enter('connecting', at);
      this.arm('connect', at);
      this.arm('retry', at);
    }
    this.media({ kind: 'accept', attempt: this.attempt, answer: answer.description });
    this.#passCandidates(device);
    return 'taken';
  }

  #onRefusal(device: PeerDevice, reason: RefuseReason, at: Moment): Verdict {
    if (this.#callee !== undefined || device.state === 'refused') return 'unexpected';
    device.state = 'refused';
    device.refusal = reason;
    this.#endIfNobodyIsLeft(at);
    return 'taken';
  }

  #onRemoteCandidates(
    device: PeerDevice,
    { attempt, candidates }: Extract<Signal, { kind: 'candidates' }>,
  ): Verdict {
    if (attempt !== this.attempt || device.state === 'refused') return 'unexpected';
    device.candidates = limitCandidates([...device.candidates, ...candidates]);
    if (device === this.#callee && !this.#awaitsAnswer) this.#passCandidates(device);
    return 'taken';
  }

  #passCandidates(device: PeerDevice): void {
    const { candidates } = device;
    if (candidates.length === 0) return;
    device.candidates = [];
    this.media({ kind: 'candidates', attempt: this.attempt, candidates });
  }

  protected onDescribed(description: SessionDescription, at: Moment): void {
    this.disarm('prepare');
    this.#local = description;
    this.#awaitsAnswer = true;
    const devices = this.#callee === undefined ? this.#ring.in('found') : [this.#callee];
    for (const device of devices) this.#offerTo(device, at);
  }

  protected onLocalCandidates(candidates: readonly Candidate[], at: Moment): void {
    if (this.#local === undefined) return;
    const all = limitCandidates([...this.#local.candidates, ...candidates]);
    this.#local = { ...this.#local, candidates: all };
    this.tellAll({ kind: 'candidates', attempt: this.attempt, candidates }, at);
  }

  #offerTo(device: PeerDevice, at: Moment): void {
    if (this.#local === undefined) return;
    if (device.state === 'found') {
      device.state = 'offered';
      this.arm('reaction', at); // the one found last has its time, too
      this.arm('resend', at);
    }
    const offer: SignalBody = {
      kind: 'offer',
      attempt: this.attempt,
      media: MEDIA_WANTED,
      resume: false,
      description: this.#local,
    };
    this.tell(device, offer, at);
  }

  protected onTimer(timer: RoleTimer, at: Moment): void {
    switch (timer) {
      case 'reaction':
        this.#ring.giveUpOnSilent();
        this.#endIfNobodyIsLeft(at);
        break;
      case 'resend': {
        const silent = this.#ring.in('offered');
        for (const device of silent) this.#offerTo(device, at);
        if (silent.length > 0) this.arm('resend', at);
        break;
      }
      case 'ring':
        this.end('no_answer', at, 'cancelled');
        break;
      case 'retry':
        if (this.attempt < MAX_ATTEMPTS) this.#tryAgain(at);
        break;
      case 'hold': // a callee's
        break;
      default:
        timer satisfies never;
    }
  }

  /**
   * `failed` soon after the answer is mostly a race in the library (webrtc-sip.md 5): once more,
   * now.
   */
  protected onNoPath(at: Moment): void {
    if (this.attempt < MAX_ATTEMPTS) this.#tryAgain(at);
    else this.end('no_path', at, 'no_path');
  }

  #tryAgain(at: Moment): void {
    this.attempt++;
    this.#local = undefined;
    this.#awaitsAnswer = false;
    if (this.#callee !== undefined) this.#callee.candidates = [];
    this.disarm('retry');
    this.arm('prepare', at);
    this.media({ kind: 'offer', attempt: this.attempt });
  }

  #endIfNobodyIsLeft(at: Moment): void {
    if (this.state !== 'offering' && this.state !== 'ringing') return;
    const reason = this.#ring.outcome();
    if (reason !== undefined) this.end(reason, at, 'cancelled');
  }

  protected involved(): readonly PeerDevice[] {
    return this.#callee === undefined ? this.#ring.in('offered', 'ringing') : [this.#callee];
  }

  everInvolved(): readonly DeviceRef[] {
    return this.#ring.in('offered', 'ringing', 'refused').map(({ ref }) => ref);
  }
}
