import { type Clock, WakeUp } from '../base/clock.ts';
import { DecodeError, errorText } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { type ControlFrame, decodeControl, encodeControl } from './control.ts';
import type { Candidate, SessionDescription } from './description.ts';
import type { IceServer } from './ice-server.ts';
import {
  iceServerForLibrary,
  loadLibrary,
  requireUdpSocket,
  shutdownMedia,
} from './libdatachannel.ts';
import { GATHER_MS, HEARTBEAT_MS, LINGER_MS, MAX_CANDIDATES, MAX_RTP_BYTES } from './limits.ts';
import type { MediaConnection, MediaEvent, MediaStats, MediaTransport } from './media.ts';
import { type ControlMessage, NativePeer } from './native-peer.ts';
import { buildSdp, formatCandidate, parseCandidate, parseSdp } from './sdp.ts';
import type { HangupReason } from './signal.ts';

/**
 * Driver for WebRTC with raw RTP, as webrtc-sip.md 2 to 5 measured it. Each connection has a DTLS
 * key of its own, made for it and thrown away; its fingerprint is bound to the device by the signed
 * offer and answer (webrtc-sip.md 4, way A).
 */

export interface WebRtcOptions {
  readonly iceServers: readonly IceServer[];
  /**
   * Where media is sent from and received; without it every address of the machine but loopback.
   */
  readonly bindAddress?: string;
  readonly clock: Clock;
  readonly random: Random;
}

export class WebRtcTransport implements MediaTransport {
  readonly #options: WebRtcOptions;
  readonly #open = new Set<WebRtcConnection>();

  constructor(options: WebRtcOptions) {
    this.#options = options;
  }

  async prepare(): Promise<void> {
    await loadLibrary();
  }

  open(onEvent: (event: MediaEvent) => void): MediaConnection {
    const connection: WebRtcConnection = new WebRtcConnection(this.#options, onEvent, () =>
      this.#open.delete(connection),
    );
    this.#open.add(connection);
    return connection;
  }

  async shutdown(): Promise<void> {
    await Promise.all([...this.#open].map((connection) => connection.closed()));
    shutdownMedia();
  }
}

class WebRtcConnection implements MediaConnection {
  readonly localSsrc: number;
  readonly #options: WebRtcOptions;
  readonly #onEvent: (event: MediaEvent) => void;
  readonly #onClosed: () => void;
  #state: 'new' | 'connecting' | 'connected' | 'failed' | 'closed' = 'new';
  #peer: NativePeer | undefined;
  #rtpHandler: ((packet: Uint8Array) => void) | undefined;
  #isDescribed = false;
  /**
   * Candidates of ours that the far side was or will be told, as text, and those that wait to be.
   */
  readonly #told = new Set<string>();
  #late: Candidate[] = [];
  /** Candidates of the far side that came before its description; undefined once that is there. */
  #early: Candidate[] | undefined = [];
  #heard = false;
  /** A frame of ours must still leave before the channel closes. */
  #owesFrame = false;
  /** Said before the channel was open: it opens a moment after the track. */
  #unsaidBye: HangupReason | undefined;
  #closing: Promise<void> | undefined;
  #resolveClosing: (() => void) | undefined;
  readonly #counters = { rtpSent: 0, rtpReceived: 0, malformed: 0, unsent: 0 };
  readonly #gatherTimer: WakeUp;
  readonly #heartbeatTimer: WakeUp;
  readonly #lingerTimer: WakeUp;

  constructor(options: WebRtcOptions, onEvent: (event: MediaEvent) => void, onClosed: () => void) {
    this.#options = options;
    this.#onEvent = onEvent;
    this.#onClosed = onClosed;
    this.localSsrc = options.random.uint32();
    this.#gatherTimer = new WakeUp(options.clock, () => this.#tellCandidates());
    this.#heartbeatTimer = new WakeUp(options.clock, () => this.#heartbeat());
    this.#lingerTimer = new WakeUp(options.clock, () => this.#destroy());
  }

  offer(): void {
    this.#start((peer) => peer.offer());
  }

  answer(offer: SessionDescription): void {
    this.#start((peer) => {
      peer.answer(buildSdp(offer));
      this.#passEarlyCandidates(peer);
    });
  }

  accept(answer: SessionDescription): void {
    this.#attempt((peer) => {
      peer.accept(buildSdp(answer));
      this.#passEarlyCandidates(peer);
    });
  }

  addCandidates(candidates: readonly Candidate[]): void {
    if (this.#early === undefined) this.#attempt((peer) => addAll(peer, candidates));
    else this.#early = [...this.#early, ...candidates].slice(0, MAX_CANDIDATES);
  }

  sendRtp(packet: Uint8Array): boolean {
    const isSent = this.#state === 'connected' && this.#peer?.sendPacket(packet) === true;
    this.#counters[isSent ? 'rtpSent' : 'unsent']++;
    return isSent;
  }

  onRtp(handler: ((packet: Uint8Array) => void) | undefined): void {
    this.#rtpHandler = handler;
  }

  bye(reason: HangupReason): void {
    this.#owesFrame = this.#send({ kind: 'bye', reason });
    this.#unsaidBye = this.#owesFrame ? undefined : reason;
  }

  stats(): MediaStats {
    const path = this.#state === 'connected' ? this.#peer?.path() : undefined;
    return { ...this.#counters, path };
  }

  close(): void {
    void this.closed();
  }

  /** Close, and wait until it is done. */
  closed(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    this.#closing = new Promise((resolve) => {
      this.#resolveClosing = resolve;
    });
    this.#stop('closed');
    this.#rtpHandler = undefined;
    // A frame is lost when its channel closes right behind it. And nothing is destroyed inside its
    // own callback.
    this.#lingerTimer.arm(this.#options.clock.now() + (this.#owesFrame ? LINGER_MS : 0));
    return this.#closing;
  }

  #start(describe: (peer: NativePeer) => void): void {
    this.#state = 'connecting';
    this.#createPeer().then(
      (peer) => {
        this.#peer = peer;
        this.#gatherTimer.arm(this.#options.clock.now() + GATHER_MS);
        this.#attempt(describe);
      },
      (error: unknown) => this.#fail(errorText(error)),
    );
  }

  async #createPeer(): Promise<NativePeer> {
    const { iceServers, bindAddress } = this.#options;
    const library = await loadLibrary();
    await requireUdpSocket(bindAddress);
    if (this.#isOver()) throw new Error('closed before it began');
    const config = {
      iceServers: iceServers.map(iceServerForLibrary),
      ...(bindAddress === undefined ? {} : { bindAddress }),
    };
    return new NativePeer(library, config, this.localSsrc, {
      onGathered: () => this.#tellCandidates(),
      onCandidate: (line) => this.#onCandidate(line),
      onTrackOpen: () => this.#onTrackOpen(),
      onPacket: (packet) => this.#onPacket(packet),
      onControl: (message) => this.#onControl(message),
      onChannelOpen: () => this.#onChannelOpen(),
      onChannelClosed: () => this.#onChannelClosed(),
      onFailed: (message) => this.#fail(message),
      onStrangeChannel: () => this.#counters.malformed++,
    });
  }

  /** Ask something of the library that it may refuse. */
  #attempt(ask: (peer: NativePeer) => void): void {
    if (this.#peer === undefined || this.#isOver()) return;
    try {
      ask(this.#peer);
    } catch (error) {
      this.#fail(errorText(error));
    }
  }

  #isOver(): boolean {
    return this.#state === 'failed' || this.#state === 'closed';
  }

  #passEarlyCandidates(peer: NativePeer): void {
    const candidates = this.#early ?? [];
    this.#early = undefined;
    addAll(peer, candidates);
  }

  #onCandidate(line: string): void {
    const candidate = parseCandidate(line);
    if (candidate === undefined || !this.#isDescribed || this.#isOver()) return;
    if (!this.#isNew(candidate)) return;
    this.#late.push(candidate);
    // More may follow at once: one signal for all of them.
    this.#gatherTimer.arm(this.#options.clock.now() + GATHER_MS);
  }

  /** Gathering is complete, or took long enough. */
  #tellCandidates(): void {
    this.#gatherTimer.disarm();
    if (!this.#isDescribed) {
      this.#attempt((peer) => this.#describe(peer));
    } else if (this.#late.length > 0) {
      const candidates = this.#late;
      this.#late = [];
      this.#emit({ kind: 'candidates', candidates });
    }
  }

  #describe(peer: NativePeer): void {
    const { type, sdp } = peer.localDescription();
    const description = parseSdp(sdp);
    this.#isDescribed = true;
    for (const candidate of description.candidates) this.#isNew(candidate);
    // The offerer is the DTLS client: its peer is ready by then (webrtc-sip.md 5).
    const setup = type === 'offer' ? 'active' : description.setup;
    this.#emit({ kind: 'described', description: { ...description, setup } });
  }

  /**
   * Whether the far side does not know `candidate` yet, and has room for it. Then it counts as
   * told.
   */
  #isNew(candidate: Candidate): boolean {
    const text = formatCandidate(candidate, 0);
    if (this.#told.has(text) || this.#told.size >= MAX_CANDIDATES) return false;
    this.#told.add(text);
    return true;
  }

  #onTrackOpen(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'connected';
    this.#heartbeat();
    this.#emit({ kind: 'connected' });
  }

  #heartbeat(): void {
    if (this.#state !== 'connected') return;
    this.#send({ kind: 'heartbeat' });
    this.#heartbeatTimer.arm(this.#options.clock.now() + HEARTBEAT_MS);
    if (this.#heard) this.#emit({ kind: 'heard' });
    this.#heard = false;
  }

  #onPacket(packet: Buffer): void {
    const [first = 0, second = 0] = packet;
    if (packet.length < 12 || packet.length > MAX_RTP_BYTES || first >> 6 !== 2) {
      this.#counters.malformed++;
      return;
    }
    this.#heard = true;
    if (second >= 192 && second <= 223) return; // RTCP (RFC 5761 section 4)
    this.#counters.rtpReceived++;
    this.#rtpHandler?.(new Uint8Array(packet.buffer, packet.byteOffset, packet.length));
  }

  #onControl(message: ControlMessage): void {
    const frame = decodeMessage(message);
    if (frame === undefined) {
      this.#counters.malformed++;
      return;
    }
    this.#heard = true;
    switch (frame.kind) {
      case 'heartbeat':
        break;
      case 'bye':
        this.#owesFrame = this.#send({ kind: 'bye-heard' });
        this.#emit(frame);
        break;
      case 'bye-heard':
        this.#owesFrame = false;
        this.#emit(frame);
        break;
      default:
        frame satisfies never;
    }
  }

  #onChannelOpen(): void {
    if (this.#unsaidBye !== undefined && !this.#isOver()) this.bye(this.#unsaidBye);
  }

  #onChannelClosed(): void {
    if (this.#state === 'closed')
      this.#destroy(); // it has what we owed it
    else this.#fail('closed by the far side');
  }

  /** @returns false when there is no open channel */
  #send(frame: ControlFrame): boolean {
    return this.#peer?.sendControl(encodeControl(frame)) ?? false;
  }

  #emit(event: MediaEvent): void {
    if (!this.#isOver()) this.#onEvent(event);
  }

  #fail(message: string): void {
    if (this.#isOver()) return;
    this.#stop('failed');
    this.#onEvent({ kind: 'failed', message });
  }

  #stop(state: 'failed' | 'closed'): void {
    this.#state = state;
    this.#gatherTimer.disarm();
    this.#heartbeatTimer.disarm();
  }

  #destroy(): void {
    const peer = this.#peer;
    this.#peer = undefined;
    if (peer === undefined) {
      this.#settle();
      return;
    }
    peer.close().then(
      () => this.#settle(),
      () => this.#settle(),
    );
    // Should the library owe us a closed callback for ever, nobody waits for it: the second
    // `#destroy` settles.
    this.#lingerTimer.arm(this.#options.clock.now() + LINGER_MS);
  }

  #settle(): void {
    this.#lingerTimer.disarm();
    this.#onClosed();
    this.#resolveClosing?.();
  }
}

function addAll(peer: NativePeer, candidates: readonly Candidate[]): void {
  // Less preferred than those of the description.
  for (const [i, candidate] of candidates.entries())
    peer.addCandidate(formatCandidate(candidate, MAX_CANDIDATES + i));
}

function decodeMessage(message: ControlMessage): ControlFrame | undefined {
  if (typeof message === 'string') return undefined;
  try {
    return decodeControl(new Uint8Array(message));
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
