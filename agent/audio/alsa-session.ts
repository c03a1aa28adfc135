import type { Millis } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { AlsaCapture } from './alsa-capture.ts';
import { AlsaLink } from './alsa-link.ts';
import { AlsaPlayback } from './alsa-playback.ts';
import type { AudioSession, AudioState, AudioStats } from './device.ts';
import { type Alarm, Pacer, type Timing } from './pace.ts';
import type { Pcm, PcmDirection, PcmError } from './pcm.ts';

/** How often the card is looked at: twice per frame, so that a frame waits at most 10 ms. */
const SERVICE_MS: Millis = 10;

/** A close that takes longer is left to itself: some ALSA plugins never come back from it. */
const CLOSE_MS: Millis = 500;

export interface AlsaSessionOptions {
  /** Rejects with PcmError. */
  readonly openPcm: (direction: PcmDirection) => Promise<Pcm>;
  readonly timing: Timing;
  readonly log: Logger;
}

/** Both directions of one sound card for one call; each may be away and come back. */
export class AlsaSession implements AudioSession {
  readonly #timing: Timing;
  readonly #log: Logger;
  readonly #links: Readonly<Record<PcmDirection, AlsaLink>>;
  readonly #playback: AlsaPlayback;
  readonly #pacer: Pacer;
  #capture: AlsaCapture | undefined;
  #onState: ((state: AudioState) => void) | undefined;
  #closed: Promise<void> | undefined;

  private constructor(options: AlsaSessionOptions) {
    this.#timing = options.timing;
    this.#log = options.log;
    const link = (direction: PcmDirection) =>
      new AlsaLink({
        open: () => options.openPcm(direction),
        onChange: (reason) => this.#changed(direction, reason),
      });
    this.#links = { playback: link('playback'), capture: link('capture') };
    this.#playback = new AlsaPlayback(this.#links.playback);
    this.#pacer = new Pacer(options.timing, SERVICE_MS, () => this.#service());
  }

  /** Resolves when both directions have been tried; look at `failures`. */
  static async open(options: AlsaSessionOptions): Promise<AlsaSession> {
    const session = new AlsaSession(options);
    const now = options.timing.clock.now();
    await Promise.all(Object.values(session.#links).map((link) => link.open(now)));
    return session;
  }

  /** Why a direction is away. */
  get failures(): Readonly<Record<PcmDirection, PcmError | undefined>> {
    return { playback: this.#links.playback.failure, capture: this.#links.capture.failure };
  }

  start(onFrame: (pcm: Int16Array) => void, onState: (state: AudioState) => void): void {
    if (this.#closed !== undefined || this.#capture !== undefined) return;
    this.#capture = new AlsaCapture(this.#links.capture, onFrame, this.#timing.clock.now());
    this.#onState = onState;
    this.#pacer.start();
    onState(this.#state());
  }

  write(pcm: Int16Array): void {
    if (this.#closed === undefined) this.#playback.write(pcm, this.#timing.clock.now());
  }

  stats(): AudioStats {
    return {
      droppedFrames: this.#playback.droppedFrames,
      xruns: this.#playback.xruns + (this.#capture?.xruns ?? 0),
      queuedMs: this.#playback.queuedMs,
    };
  }

  close(): Promise<void> {
    this.#closed ??= this.#finish();
    return this.#closed;
  }

  async #finish(): Promise<void> {
    this.#pacer.stop();
    this.#onState = undefined;
    const closing = Promise.all(Object.values(this.#links).map((link) => link.close()));
    let alarm: Alarm | undefined;
    const limit = new Promise<void>((resolve) => {
      alarm = this.#timing.alarm(resolve);
      alarm.arm(this.#timing.clock.now() + CLOSE_MS);
    });
    await Promise.race([closing, limit]);
    alarm?.disarm();
  }

  #service(): void {
    const now = this.#timing.clock.now();
    for (const link of Object.values(this.#links)) void link.open(now);
    this.#capture?.service(now);
  }

  #changed(direction: PcmDirection, reason: PcmError | undefined): void {
    // Before the start `failures` tells, and after the end nobody asks.
    if (this.#onState === undefined) return;
    if (reason === undefined) this.#log.info(`${direction} opened`);
    else this.#log.warn(`no ${direction}`, { reason: reason.message });
    this.#onState(this.#state());
  }

  #state(): AudioState {
    const noPlayback = this.#links.playback.pcm === undefined;
    const noCapture = this.#links.capture.pcm === undefined;
    if (noPlayback && noCapture) return 'both_missing';
    if (noPlayback) return 'no_playback';
    return noCapture ? 'no_capture' : 'ok';
  }
}
