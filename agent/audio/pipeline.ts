import type { Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import {
  type AudioSession,
  type AudioState,
  type AudioStats,
  FRAME_MS,
  FRAME_SAMPLES,
} from './device.ts';
import type { OpusCodec } from './opus.ts';
import { Pacer, systemTiming, type Timing } from './pace.ts';
import { Voice, type VoiceStats } from './voice.ts';

export interface PipelineOptions {
  /** Owned from now on: `stop` closes both. */
  readonly session: AudioSession;
  readonly codec: OpusCodec;
  /** Of what we send, 32 bit; the one in our offer or answer. */
  readonly ssrc: number;
  readonly random: Random;
  readonly timing?: Timing;
  /** Takes an RTP packet at once: it is a view that is valid during the call. Must not throw. */
  readonly sendRtp: (packet: Uint8Array) => void;
  readonly onState?: (state: AudioState) => void;
}

export interface PipelineStats extends VoiceStats, AudioStats {
  /** Part of the far side's packets that never came, in percent. */
  readonly lossPct: number;
  /** From their microphone to our speaker without the network's fastest path: one frame, jitter buffer, device. */
  readonly delayMs: number;
  readonly state: AudioState;
}

/**
 * The voice path of one call: capture → Opus → RTP out, RTP in → jitter buffer → Opus → playback. The device's clock drives
 * what is said; what is heard has one clock, playout, by an absolute schedule.
 */
export class VoicePipeline {
  readonly #session: AudioSession;
  readonly #codec: OpusCodec;
  readonly #timing: Timing;
  readonly #sendRtp: (packet: Uint8Array) => void;
  readonly #onState: ((state: AudioState) => void) | undefined;
  readonly #voice: Voice;
  readonly #playout: Pacer;
  readonly #heard = new Int16Array(FRAME_SAMPLES);
  #state: AudioState = 'ok';
  #phase: 'new' | 'running' | 'stopped' = 'new';

  constructor(options: PipelineOptions) {
    this.#session = options.session;
    this.#codec = options.codec;
    this.#timing = options.timing ?? systemTiming;
    this.#sendRtp = options.sendRtp;
    this.#onState = options.onState;
    this.#voice = new Voice(options);
    this.#playout = new Pacer(this.#timing, FRAME_MS, (due) => this.#play(due));
  }

  /** Say silence instead of what the microphone hears. */
  get muted(): boolean {
    return this.#voice.muted;
  }

  set muted(muted: boolean) {
    this.#voice.muted = muted;
  }

  start(): void {
    if (this.#phase !== 'new') return;
    this.#phase = 'running';
    this.#session.start(
      (pcm) => {
        if (this.#phase !== 'running') return;
        this.#sendRtp(this.#voice.say(pcm, this.#timing.clock.now()));
      },
      (state) => {
        this.#state = state;
        if (this.#phase === 'running') this.#onState?.(state);
      },
    );
    this.#playout.start();
  }

  /**
   * A packet came over the media path, RTP or RTCP. Never throws; what is heard after `stop` is dropped.
   * @param now monotonic ms
   */
  receiveRtp(packet: Uint8Array, now: Millis): void {
    if (this.#phase !== 'stopped') this.#voice.receive(packet, now);
  }

  stats(): PipelineStats {
    const voice = this.#voice.stats();
    const device = this.#session.stats();
    const expected = voice.received + voice.lost;
    return {
      ...voice,
      ...device,
      lossPct: expected === 0 ? 0 : (100 * voice.lost) / expected,
      delayMs: FRAME_MS + voice.delayMs + device.queuedMs,
      state: this.#state,
    };
  }

  /** Idempotent; resolves when the device is closed and its files are finished. */
  async stop(): Promise<void> {
    if (this.#phase === 'stopped') return;
    this.#phase = 'stopped';
    this.#playout.stop();
    this.#codec.close();
    await this.#session.close();
  }

  #play(due: Millis): void {
    this.#voice.hear(this.#heard, due);
    this.#session.write(this.#heard);
  }
}
