import type { Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { Candidate, SessionDescription } from './description.ts';
import { GATHER_MS, HEARTBEAT_MS } from './limits.ts';
import type { MediaConnection, MediaEvent, MediaStats, MediaTransport } from './media.ts';
import type { HangupReason } from './signal.ts';

/**
 * Media without a network, for tests: connections of one FakeMediaNetwork find each other when
 * their descriptions match, and fail as the real ones do: a wrong fingerprint at once, no path
 * after 39.5 s, a far side that vanished after 12.7 s (webrtc-sip.md 3 and 5).
 */

const NO_PATH_MS: Millis = 39_500;
const VANISHED_MS: Millis = 12_700;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

export interface FakeMediaOptions {
  readonly random: Random;
  /** Run `action` after `delayMs`: `setTimeout`, or the virtual clock of a simulation. */
  readonly schedule: (delayMs: Millis, action: () => void) => void;
  /** One way. Default 5. */
  readonly latencyMs?: Millis;
}

export class FakeMediaNetwork {
  readonly options: FakeMediaOptions;
  readonly #byUfrag = new Map<string, FakeConnection>();
  /**
   * The next so many connections fail the moment they are answered: the race of webrtc-sip.md 5.
   */
  races = 0;

  constructor(options: FakeMediaOptions) {
    this.options = options;
  }

  /** @param lateCandidates nothing is gathered in time: candidates follow the description */
  transport(options: { readonly lateCandidates?: boolean } = {}): FakeMediaTransport {
    return new FakeMediaTransport(this, options.lateCandidates ?? false);
  }

  /** Connections that are open. */
  get size(): number {
    return this.#byUfrag.size;
  }

  get latencyMs(): Millis {
    return this.options.latencyMs ?? 5;
  }

  add(connection: FakeConnection): void {
    this.#byUfrag.set(connection.local.ufrag, connection);
  }

  remove(connection: FakeConnection): void {
    this.#byUfrag.delete(connection.local.ufrag);
  }

  find(ufrag: string): FakeConnection | undefined {
    return this.#byUfrag.get(ufrag);
  }
}

export class FakeMediaTransport implements MediaTransport {
  readonly #network: FakeMediaNetwork;
  readonly lateCandidates: boolean;
  readonly #connections = new Set<FakeConnection>();
  /** Nothing gets in or out: the cable is pulled, or the process killed. */
  cut = false;

  constructor(network: FakeMediaNetwork, lateCandidates: boolean) {
    this.#network = network;
    this.lateCandidates = lateCandidates;
  }

  async prepare(): Promise<void> {}

  open(onEvent: (event: MediaEvent) => void): FakeConnection {
    const connection = new FakeConnection(this.#network, this, onEvent);
    this.#connections.add(connection);
    return connection;
  }

  async shutdown(): Promise<void> {
    for (const connection of this.#connections) connection.close();
    this.#connections.clear();
  }
}

type Packet =
  | { readonly kind: 'rtp'; readonly packet: Uint8Array }
  | { readonly kind: 'heartbeat' | 'bye-heard' | 'closed' }
  | { readonly kind: 'bye'; readonly reason: HangupReason };

export class FakeConnection implements MediaConnection {
  readonly localSsrc: number;
  readonly local: SessionDescription;
  readonly #network: FakeMediaNetwork;
  readonly #transport: FakeMediaTransport;
  readonly #onEvent: (event: MediaEvent) => void;
  readonly #own: Candidate;
  #remote: SessionDescription | undefined;
  #remoteCandidates = 0;
  #role: 'active' | 'passive' = 'active';
  #state: 'new' | 'connecting' | 'connected' | 'closed' = 'new';
  #rtpHandler: ((packet: Uint8Array) => void) | undefined;
  #heard = false;
  #silentMs = 0;
  #rtpSent = 0;
  #rtpReceived = 0;
  #unsent = 0;

  constructor(
    network: FakeMediaNetwork,
    transport: FakeMediaTransport,
    onEvent: (event: MediaEvent) => void,
  ) {
    const { random } = network.options;
    const text = (length: number) =>
      Array.from(random.bytes(length), (byte) => ALPHABET.charAt(byte & 63)).join('');
    this.#network = network;
    this.#transport = transport;
    this.#onEvent = onEvent;
    this.localSsrc = random.uint32();
    this.#own = { kind: 'host', ip: Uint8Array.of(192, 0, 2, 1), port: 49152 };
    this.local = {
      setup: 'active',
      ufrag: text(8),
      password: text(24),
      fingerprint: random.bytes(32),
      ssrc: this.localSsrc,
      candidates: transport.lateCandidates ? [] : [this.#own],
    };
  }

  offer(): void {
    this.#describe('active');
  }

  answer(offer: SessionDescription): void {
    this.#setRemote(offer);
    this.#describe('passive');
    this.#later(0, () => this.#tryToConnect());
  }

  accept(answer: SessionDescription): void {
    this.#setRemote(answer);
    if (this.#network.races > 0) {
      this.#network.races--;
      this.#later(this.#network.latencyMs, () => this.#fail('failed'));
      return;
    }
    this.#later(0, () => this.#tryToConnect());
  }

  addCandidates(candidates: readonly Candidate[]): void {
    this.#remoteCandidates += candidates.length;
    this.#later(0, () => this.#tryToConnect());
  }

  sendRtp(packet: Uint8Array): boolean {
    if (this.#state !== 'connected') {
      this.#unsent++;
      return false;
    }
    this.#rtpSent++;
    this.#send({ kind: 'rtp', packet: packet.slice() });
    return true;
  }

  onRtp(handler: ((packet: Uint8Array) => void) | undefined): void {
    this.#rtpHandler = handler;
  }

  bye(reason: HangupReason): void {
    this.#send({ kind: 'bye', reason });
  }

  stats(): MediaStats {
    return {
      rtpSent: this.#rtpSent,
      rtpReceived: this.#rtpReceived,
      malformed: 0,
      unsent: this.#unsent,
      path: this.#state === 'connected' ? { local: 'host', remote: 'host' } : undefined,
    };
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#send({ kind: 'closed' });
    this.#state = 'closed';
    this.#rtpHandler = undefined;
    this.#network.remove(this);
  }

  #describe(role: 'active' | 'passive'): void {
    this.#role = role;
    this.#state = 'connecting';
    this.#network.add(this);
    const late = this.#transport.lateCandidates;
    this.#later(late ? GATHER_MS : 1, () =>
      this.#emit({ kind: 'described', description: { ...this.local, setup: role } }),
    );
    if (!late) return;
    this.#later(2 * GATHER_MS, () => this.#emit({ kind: 'candidates', candidates: [this.#own] }));
  }

  #setRemote(remote: SessionDescription): void {
    this.#remote = remote;
    this.#remoteCandidates += remote.candidates.length;
    this.#later(NO_PATH_MS, () => {
      if (this.#state === 'connecting') this.#fail('no path');
    });
  }

  /**
   * Both sides are the ones that they were described as, and one of them knows where the other is.
   */
  #tryToConnect(): void {
    const peer = this.#network.find(this.#remote?.ufrag ?? '');
    if (peer === undefined || this.#state !== 'connecting' || peer.#state !== 'connecting') return;
    const knowEachOther =
      peer.#remote?.ufrag === this.local.ufrag &&
      peer.#remote.password === this.local.password &&
      this.#remote?.password === peer.local.password;
    if (!knowEachOther || this.#remoteCandidates + peer.#remoteCandidates === 0) return;
    if (this.#transport.cut || peer.#transport.cut || this.#role === peer.#role) return;
    const trusted = this.#trusts(peer) && peer.#trusts(this);
    for (const side of [this, peer]) {
      side.#later(this.#network.latencyMs, () =>
        trusted ? side.#connect() : side.#fail('certificate verify failed'),
      );
    }
  }

  #trusts(peer: FakeConnection): boolean {
    return this.#remote?.fingerprint.join() === peer.local.fingerprint.join();
  }

  #connect(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'connected';
    this.#emit({ kind: 'connected' });
    this.#heartbeat();
  }

  #heartbeat(): void {
    if (this.#state !== 'connected') return;
    this.#silentMs = this.#heard ? 0 : this.#silentMs + HEARTBEAT_MS;
    if (this.#silentMs > VANISHED_MS) this.#fail('vanished');
    if (this.#heard) this.#emit({ kind: 'heard' });
    this.#heard = false;
    this.#send({ kind: 'heartbeat' });
    this.#later(HEARTBEAT_MS, () => this.#heartbeat());
  }

  #send(packet: Packet): void {
    const peer = this.#network.find(this.#remote?.ufrag ?? '');
    if (peer === undefined || this.#state !== 'connected') return;
    const isCut = () => this.#transport.cut || peer.#transport.cut;
    if (isCut()) return;
    this.#network.options.schedule(this.#network.latencyMs, () => {
      if (!isCut()) peer.#receive(packet);
    });
  }

  #receive(packet: Packet): void {
    if (this.#state !== 'connected') return;
    this.#heard = true;
    switch (packet.kind) {
      case 'rtp':
        this.#rtpReceived++;
        this.#rtpHandler?.(packet.packet);
        break;
      case 'heartbeat':
        break;
      case 'bye':
        this.#send({ kind: 'bye-heard' });
        this.#emit(packet);
        break;
      case 'bye-heard':
        this.#emit({ kind: 'bye-heard' });
        break;
      case 'closed':
        this.#fail('closed by the far side');
        break;
      default:
        packet satisfies never;
    }
  }

  #fail(message: string): void {
    if (this.#state === 'closed') return;
    this.#emit({ kind: 'failed', message });
    this.close();
  }

  #emit(event: MediaEvent): void {
    if (this.#state !== 'closed') this.#onEvent(event);
  }

  #later(delayMs: Millis, action: () => void): void {
    this.#network.options.schedule(delayMs, () => {
      if (this.#state !== 'closed') action();
    });
  }
}
