import type { AudioDevice, AudioState } from './audio/device.ts';
import type { OpusBackend } from './audio/opus.ts';
import { VoicePipeline } from './audio/pipeline.ts';
import type { Clock } from './base/clock.ts';
import { errorText } from './base/errors.ts';
import type { Logger } from './base/log.ts';
import type { Random } from './base/random.ts';
import type { CallVoice } from './call/call-driver.ts';
import type { MediaConnection } from './call/media.ts';
import type { CallQuality } from './events.ts';

export interface CallVoicesOptions {
  /** Loads native code: with the first call. */
  readonly loadCodec: () => Promise<OpusBackend>;
  /** The sound device of this call. */
  readonly device: (callId: string) => AudioDevice;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onAudioState: (state: AudioState) => void;
}

/** One connection's voice: nothing, then a pipeline as soon as codec and device are open. */
interface Voice {
  readonly connection: MediaConnection;
  pipeline: VoicePipeline | undefined;
  stopped: boolean;
}

/** Driver: the sound of each call, between its media connection and a sound device. */
export class CallVoices implements CallVoice {
  readonly #options: CallVoicesOptions;
  readonly #voices = new Map<string, Voice>();
  /** Devices that are opening, or finishing their files. */
  readonly #pending = new Set<Promise<void>>();
  #codec: Promise<OpusBackend> | undefined;

  constructor(options: CallVoicesOptions) {
    this.#options = options;
  }

  start(callId: string, connection: MediaConnection): void {
    this.stop(callId);
    const voice: Voice = { connection, pipeline: undefined, stopped: false };
    this.#voices.set(callId, voice);
    const { clock } = this.#options;
    connection.onRtp((packet) => voice.pipeline?.receiveRtp(packet, clock.now()));
    // A card has one user: whoever had it before closes it first.
    const free = this.settled();
    this.#track(this.#open(callId, voice, free), 'there is no sound in this call');
  }

  stop(callId: string): void {
    const voice = this.#voices.get(callId);
    if (voice === undefined) return;
    this.#voices.delete(callId);
    voice.stopped = true;
    voice.connection.onRtp(undefined);
    if (voice.pipeline !== undefined) {
      this.#track(voice.pipeline.stop(), 'the sound device did not close');
    }
  }

  quality(callId: string): CallQuality | undefined {
    const stats = this.#voices.get(callId)?.pipeline?.stats();
    if (stats === undefined) return undefined;
    const { lossPct, jitterMs, delayMs } = stats;
    return { lossPct, jitterMs, delayMs };
  }

  /** Sums over the calls that are running, for `status`. */
  stats(): Readonly<Record<string, number>> {
    const sums = { voices: this.#voices.size, sent: 0, received: 0, lost: 0, concealed: 0 };
    for (const { pipeline } of this.#voices.values()) {
      if (pipeline === undefined) continue;
      const stats = pipeline.stats();
      sums.sent += stats.sent;
      sums.received += stats.received;
      sums.lost += stats.lost;
      sums.concealed += stats.concealed;
    }
    return sums;
  }

  /** Resolves when every device that is opening or closing now has finished its files. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }

  async #open(callId: string, voice: Voice, free: Promise<void>): Promise<void> {
    const backend = await this.#loadCodec();
    await free;
    if (voice.stopped) return;
    const session = await this.#options.device(callId).open();
    if (voice.stopped) {
      await session.close();
      return;
    }
    voice.pipeline = new VoicePipeline({
      session,
      codec: backend.open(),
      ssrc: voice.connection.localSsrc,
      random: this.#options.random,
      sendRtp: (packet) => {
        voice.connection.sendRtp(packet);
      },
      onState: this.#options.onAudioState,
    });
    voice.pipeline.start();
  }

  #loadCodec(): Promise<OpusBackend> {
    this.#codec ??= this.#firstCodec().catch((error: unknown) => {
      this.#codec = undefined; // the next call tries again
      throw error;
    });
    return this.#codec;
  }

  /** Says which one it is, because a stand-in for libopus hears worse on a bad network. */
  async #firstCodec(): Promise<OpusBackend> {
    const backend = await this.#options.loadCodec();
    this.#options.log.info(`voice is coded by ${backend.description}`);
    return backend;
  }

  #track(work: Promise<void>, failure: string): void {
    const pending: Promise<void> = work
      .catch((error: unknown) => {
        this.#options.log.warn(failure, { why: errorText(error) });
        this.#options.onAudioState('both_missing');
      })
      .finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
  }
}
