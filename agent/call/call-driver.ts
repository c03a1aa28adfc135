import { type Clock, type Moment, readClock, WakeUp } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import { type Logger, shortId } from '../base/log.ts';
import type { CallEvent, CallQuality, CallSnapshot, SecurityEvent } from '../events.ts';
import type { Calls, CallsOutput, CallsStats, CallTarget } from './calls.ts';
import type {
  MediaCommand,
  MediaConnection,
  MediaEvent,
  MediaStats,
  MediaTransport,
} from './media.ts';
import type { DeviceRef } from './ring-group.ts';

/** How a call reaches other devices. `identity/` does it over the DHT. */
export interface CallSignalling {
  /** Put `bytes` into the inbox of a device, signed and encrypted. Must not throw. */
  send(to: DeviceRef, bytes: Uint8Array): void;
  /**
   * Look up the devices of an account. `onDevice` for each, as soon as it is found and its
   * certificates are good; then `onDone`, unless cancelled.
   */
  findDevices(
    accountId: string,
    onDevice: (device: DeviceRef) => void,
    onDone: () => void,
  ): { cancel(): void };
}

/** The sound of a call. `audio/` does it. Must not throw. */
export interface CallVoice {
  /** Media runs: send and take RTP. Again for the same call when it got a second connection. */
  start(callId: string, connection: MediaConnection): void;
  /** No more: comes before the event that says so, and before the connection is closed. */
  stop(callId: string): void;
  quality(callId: string): CallQuality | undefined;
}

export interface CallDriverOptions {
  readonly calls: Calls;
  readonly transport: MediaTransport;
  readonly signalling: CallSignalling;
  readonly voice: CallVoice;
  readonly onEvent: (event: CallEvent | SecurityEvent) => void;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: a WakeUp. The simulated world brings its own. */
  readonly timer?: (callback: () => void) => Pick<WakeUp, 'arm' | 'disarm'>;
}

interface Media {
  readonly attempt: number;
  readonly connection: MediaConnection;
  hasVoice: boolean;
}

export interface CallDriverStats extends CallsStats {
  /** By call id. */
  readonly media: Readonly<Record<string, MediaStats>>;
}

/**
 * Drives `Calls`: hands its outputs to media, signalling, voice and events, and what those say back
 * to it.
 */
export class CallDriver {
  readonly #options: CallDriverOptions;
  readonly #timer: Pick<WakeUp, 'arm' | 'disarm'>;
  readonly #media = new Map<string, Media>();
  readonly #lookups = new Map<string, { cancel(): void }>();
  #draining = false;
  #onIdle: (() => void) | undefined;
  #isStopping = false;

  constructor(options: CallDriverOptions) {
    this.#options = options;
    const onTimer = () => this.#run((calls, at) => calls.timeout(at));
    this.#timer = options.timer?.(onTimer) ?? new WakeUp(options.clock, onTimer);
  }

  /**
   * Call all devices of an account.
   * @returns the call id; progress comes as events
   * @throws {AgentError} `media-unavailable`, `busy`, `own-id`, `stopping`
   */
  async place(target: CallTarget): Promise<string> {
    await this.#options.transport.prepare();
    if (this.#isStopping) throw new AgentError('stopping', 'the station stops');
    return this.#run((calls, at) => calls.place(target, at));
  }

  /** @throws {AgentError} `not-found` */
  answer(callId?: string): string {
    return this.#run((calls, at) => calls.answer(callId, at));
  }

  /**
   * Cancel, reject or hang up; without id every call.
   * @returns how many
   * @throws {AgentError} `not-found`
   */
  hangup(callId?: string): number {
    return this.#run((calls, at) => calls.hangup(callId, at));
  }

  /** A value from our inbox. @param from whose signature it bears; its account was checked */
  receiveSignal(bytes: Uint8Array, from: DeviceRef): void {
    if (this.#isStopping && this.#options.calls.isIdle) return; // nobody is here any more
    this.#run((calls, at) => calls.receiveSignal(bytes, from, at));
  }

  /** End every call (a second at most), then close media so that the process can end. */
  async shutdown(): Promise<void> {
    this.#isStopping = true;
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    this.#run((calls, at) => calls.shutdown(at));
    await idle;
    this.#timer.disarm();
    await this.#options.transport.shutdown();
  }

  snapshots(): CallSnapshot[] {
    return this.#options.calls.snapshots();
  }

  stats(): CallDriverStats {
    const media = [...this.#media].map(([id, { connection }]) => [id, connection.stats()] as const);
    return { ...this.#options.calls.stats(), media: Object.fromEntries(media) };
  }

  /**
   * One input, then everything that follows from it. Inputs that come from inside the drain add to
   * it.
   */
  #run<Result>(input: (calls: Calls, at: Moment) => Result): Result {
    const { calls, clock, voice } = this.#options;
    for (const [callId, { hasVoice }] of this.#media) {
      const quality = hasVoice ? voice.quality(callId) : undefined;
      if (quality !== undefined) calls.setQuality(callId, quality);
    }
    const result = input(calls, readClock(clock));
    this.#drain();
    return result;
  }

  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    try {
      const { calls } = this.#options;
      for (let next = calls.poll(); next !== undefined; next = calls.poll()) this.#carryOut(next);
    } finally {
      this.#draining = false;
    }
    this.#timer.arm(this.#options.calls.nextTimeout());
    if (this.#options.calls.isIdle) this.#onIdle?.();
  }

  #carryOut(output: CallsOutput): void {
    switch (output.type) {
      case 'signal':
        this.#options.log.debug('signal', {
          kind: output.signal.kind,
          call: output.signal.callId,
          to: shortId(output.to.deviceId),
          bytes: output.bytes.length,
        });
        this.#options.signalling.send(output.to, output.bytes);
        break;
      case 'media':
        this.#toMedia(output.callId, output.command);
        break;
      case 'devices':
        this.#findDevices(output.callId, output.accountId);
        break;
      case 'event':
        this.#options.onEvent(output.event);
        break;
      default:
        output satisfies never;
    }
  }

  #findDevices(callId: string, accountId: string): void {
    const lookup = this.#options.signalling.findDevices(
      accountId,
      (device) => this.#run((calls, at) => calls.deviceFound(callId, device, at)),
      () => this.#run((calls, at) => calls.lookupDone(callId, at)),
    );
    this.#lookups.set(callId, lookup);
  }

  #toMedia(callId: string, command: MediaCommand): void {
    const media = this.#media.get(callId);
    switch (command.kind) {
      case 'offer':
        this.#open(callId, command.attempt).offer();
        break;
      case 'answer':
        this.#open(callId, command.attempt).answer(command.offer);
        break;
      case 'accept':
        if (media?.attempt === command.attempt) media.connection.accept(command.answer);
        break;
      case 'candidates':
        if (media?.attempt === command.attempt) media.connection.addCandidates(command.candidates);
        break;
      case 'bye':
        if (media === undefined) break;
        this.#silence(callId, media); // the microphone is off the moment someone hangs up
        media.connection.bye(command.reason);
        break;
      case 'close':
        this.#close(callId);
        this.#lookups.get(callId)?.cancel();
        this.#lookups.delete(callId);
        break;
      default:
        command satisfies never;
    }
  }

  #open(callId: string, attempt: number): MediaConnection {
    this.#close(callId);
    const connection = this.#options.transport.open((event) =>
      this.#onMedia(callId, attempt, event),
    );
    this.#media.set(callId, { attempt, connection, hasVoice: false });
    return connection;
  }

  #close(callId: string): void {
    const media = this.#media.get(callId);
    if (media === undefined) return;
    this.#media.delete(callId);
    this.#silence(callId, media);
    media.connection.close();
  }

  #silence(callId: string, media: Media): void {
    if (!media.hasVoice) return;
    media.hasVoice = false;
    this.#options.voice.stop(callId);
  }

  #onMedia(callId: string, attempt: number, event: MediaEvent): void {
    const media = this.#media.get(callId);
    if (media?.attempt !== attempt) return; // closed or replaced
    if (event.kind === 'failed') {
      this.#options.log.info('media failed', { call: callId, attempt, why: event.message });
    }
    if (event.kind === 'connected') {
      media.hasVoice = true;
      this.#options.voice.start(callId, media.connection);
    }
    this.#run((calls, at) => calls.mediaEvent(callId, attempt, event, at));
  }
}
