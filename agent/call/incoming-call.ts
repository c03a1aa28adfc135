import type { Moment } from '../base/clock.ts';
import { Call, type CallOutputs, type CallParties, type RoleTimer, type Verdict } from './call.ts';
import { type Candidate, limitCandidates, type SessionDescription } from './description.ts';
import { MAX_ATTEMPTS, MAX_REPEATED_REPLIES } from './limits.ts';
import { type DeviceRef, type PeerDevice, peerDevice } from './ring-group.ts';
import type { Signal, SignalBody } from './signal.ts';

export type Offer = Extract<Signal, { kind: 'offer' }>;

/** A call that someone with the right to ring makes to us. */
export class IncomingCall extends Call {
  readonly offeredAtUnixMs: number;
  readonly #caller: PeerDevice;
  /** The newest offer, with all candidates that media does not have yet. */
  #offer: Offer;
  #keepsCandidates = true;
  /** What the caller was last told, for when it asks again. */
  #lastReply: SignalBody | undefined;

  constructor(
    parties: CallParties,
    caller: DeviceRef,
    offer: Offer,
    autoAnswer: boolean,
    outputs: CallOutputs,
    at: Moment,
  ) {
    super('incoming', 'alerting', parties, outputs, at);
    this.#caller = peerDevice(caller);
    this.#caller.window.accept(offer.sequence);
    this.#offer = offer;
    this.offeredAtUnixMs = offer.sentAtUnixMs;
    this.arm('ring', at);
    this.emit({ type: 'call.incoming', call: this.snapshot(), autoAnswer });
    if (autoAnswer) this.answer(at);
    else this.#reply({ kind: 'ringing' }, at);
  }

  protected get attempt(): number {
    return this.#offer.attempt;
  }

  isFrom(device: DeviceRef): boolean {
    const { ref } = this.#caller;
    return ref.deviceId === device.deviceId && ref.accountId === device.accountId;
  }

  /** Someone here takes the call. @returns false unless it rings */
  answer(at: Moment): boolean {
    if (this.state !== 'alerting') return false;
    this.enter('answering', at);
    this.#answerOffer(at);
    return true;
  }

  /** The same device calls again, so this call is over. */
  supersede(at: Moment): void {
    this.endedByPeer(this.state === 'alerting' ? 'cancelled' : 'lost', at);
  }

  receive(signal: Signal, from: DeviceRef, at: Moment): Verdict {
    if (!this.isFrom(from)) return 'wrongDevice';
    if (!this.#caller.window.accept(signal.sequence)) return 'repeated';
    switch (signal.kind) {
      case 'offer':
        return this.#onOffer(signal, at);
      case 'candidates':
        return this.#onRemoteCandidates(signal);
      case 'hangup':
        this.endedByPeer(signal.reason, at);
        return 'taken';
      case 'answer':
      case 'ringing':
      case 'refuse':
        return 'unexpected';
      default:
        return signal satisfies never;
    }
  }

  #onOffer(offer: Offer, at: Moment): Verdict {
    if (!this.isLive) return 'unexpected';
    if (offer.attempt === this.attempt) {
      // The caller has not heard our reply.
      if (this.#lastReply === undefined) return 'taken';
      if (++this.#caller.repeatedReplies > MAX_REPEATED_REPLIES) return 'unexpected';
      this.tell(this.#caller, this.#lastReply, at);
      return 'taken';
    }
    if (offer.attempt < this.attempt || offer.attempt > MAX_ATTEMPTS) return 'unexpected';
    this.#offer = offer;
    if (this.state === 'alerting') return 'taken';
    if (this.state === 'established') this.enter('connecting', at);
    if (this.state === 'connecting') this.arm('connect', at);
    this.#answerOffer(at);
    return 'taken';
  }

  #onRemoteCandidates({ attempt, candidates }: Extract<Signal, { kind: 'candidates' }>): Verdict {
    if (attempt !== this.attempt || !this.isLive) return 'unexpected';
    const { description } = this.#offer;
    const all = limitCandidates([...description.candidates, ...candidates]);
    this.#offer = { ...this.#offer, description: { ...description, candidates: all } };
    if (!this.#keepsCandidates) this.#passCandidates();
    return 'taken';
  }

  /**
   * Answer the newest offer. Where the first connection failed, the caller's candidates are kept
   * back a moment: else ours may reach it while it still takes in our answer, and the library then
   * fails both sides (webrtc-sip.md 5, "second race"). The caller finds us meanwhile.
   */
  #answerOffer(at: Moment): void {
    this.#lastReply = undefined;
    this.arm('prepare', at);
    const { attempt, description } = this.#offer;
    this.#keepsCandidates = attempt > 1;
    if (this.#keepsCandidates) this.arm('hold', at);
    const offer = this.#keepsCandidates ? { ...description, candidates: [] } : description;
    this.media({ kind: 'answer', attempt, offer });
    if (!this.#keepsCandidates) this.#forgetCandidates();
  }

  #passCandidates(): void {
    const { attempt, description } = this.#offer;
    this.media({ kind: 'candidates', attempt, candidates: description.candidates });
    this.#forgetCandidates();
  }

  #forgetCandidates(): void {
    const description = { ...this.#offer.description, candidates: [] };
    this.#offer = { ...this.#offer, description };
  }

  protected onDescribed(description: SessionDescription, at: Moment): void {
    this.disarm('prepare');
    if (this.state === 'answering') {
      this.enter('connecting', at);
      this.arm('connect', at);
    }
    this.#reply({ kind: 'answer', attempt: this.attempt, description }, at);
  }

  #reply(body: SignalBody, at: Moment): void {
    this.#lastReply = body;
    this.tell(this.#caller, body, at);
  }

  protected onLocalCandidates(candidates: readonly Candidate[], at: Moment): void {
    this.tell(this.#caller, { kind: 'candidates', attempt: this.attempt, candidates }, at);
  }

  /** The caller sees it too and comes with a second offer, or `connect` runs out. */
  protected onNoPath(at: Moment): void {
    if (this.attempt >= MAX_ATTEMPTS) this.end('no_path', at, 'no_path');
  }

  protected onTimer(timer: RoleTimer, at: Moment): void {
    switch (timer) {
      case 'ring':
        this.tell(this.#caller, { kind: 'refuse', reason: 'no_answer' }, at);
        this.end('no_answer', at);
        break;
      case 'hold':
        this.#keepsCandidates = false;
        this.#passCandidates();
        break;
      case 'reaction': // a caller's, like the next two
      case 'resend':
      case 'retry':
        break;
      default:
        timer satisfies never;
    }
  }

  protected involved(): readonly PeerDevice[] {
    return [this.#caller];
  }

  everInvolved(): readonly DeviceRef[] {
    return [this.#caller.ref];
  }
}
