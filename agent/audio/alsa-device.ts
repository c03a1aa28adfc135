import type { Logger } from '../base/log.ts';
import type { Alsa } from './alsa-pcm.ts';
import { AlsaSession } from './alsa-session.ts';
import type { AudioDevice, AudioSession } from './device.ts';
import type { Timing } from './pace.ts';
import type { PcmDirection } from './pcm.ts';

export interface AlsaDeviceOptions {
  readonly alsa: Alsa;
  /** ALSA PCM name, best by id: `plughw:CARD=Device`. */
  readonly card: string;
  readonly timing: Timing;
  readonly log: Logger;
  /** What a call gets when neither direction of the card can be had at that moment. */
  readonly standIn: (reason: string) => Promise<AudioDevice>;
}

/** A sound card, looked for anew for every call: one that is plugged in later is used from the next call on. */
export class AlsaDevice implements AudioDevice {
  readonly #options: AlsaDeviceOptions;
  readonly description: string;
  readonly state = 'ok';

  private constructor(options: AlsaDeviceOptions, description: string) {
    this.#options = options;
    this.description = description;
  }

  /** Tries the card once, to say how it is. */
  static async create(options: AlsaDeviceOptions): Promise<AlsaDevice> {
    const session = await openSession(options);
    const missing = missingReason(session, options.card);
    await session.close();
    if (missing !== undefined) {
      const { description } = await options.standIn(missing);
      return new AlsaDevice(options, description);
    }
    const away = (['playback', 'capture'] satisfies PcmDirection[])
      .filter((direction) => session.failures[direction] !== undefined)
      .map((direction) => `, no ${direction}: ${session.failures[direction]?.message}`);
    return new AlsaDevice(options, `ALSA ${options.card}${away.join('')}`);
  }

  async open(): Promise<AudioSession> {
    const session = await openSession(this.#options);
    const missing = missingReason(session, this.#options.card);
    if (missing === undefined) return session;
    await session.close();
    return (await this.#options.standIn(missing)).open();
  }
}

function openSession({ alsa, card, timing, log }: AlsaDeviceOptions): Promise<AlsaSession> {
  return AlsaSession.open({ openPcm: (direction) => alsa.open(card, direction), timing, log });
}

/** Why neither direction can be had. A card that is only busy is waited for in the call. */
function missingReason(session: AlsaSession, card: string): string | undefined {
  const { playback, capture } = session.failures;
  if (playback === undefined || capture === undefined) return undefined;
  if (playback.isBusy || capture.isBusy) return undefined;
  return `the sound card "${card}" does not open (${playback.message})`;
}
