import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { AudioDevice } from './device.ts';
import { RingTone } from './ring-tone.ts';

/** Lets the station itself ring while somebody waits to be answered. A card has one user: `silence` before a call takes it. */
export class Ringer {
  readonly #device: AudioDevice;
  readonly #log: Logger;
  /** The tone that rings, or is about to. */
  #tone: Promise<RingTone | undefined> | undefined;
  /** When the tone before it has let go of the device. */
  #free: Promise<void> = Promise.resolve();

  constructor(device: AudioDevice, log: Logger) {
    this.#device = device;
    this.#log = log;
  }

  ring(): void {
    this.#tone ??= this.#free
      .then(() => RingTone.start(this.#device))
      .catch((error: unknown) => {
        this.#log.warn('the station cannot ring aloud', { why: errorText(error) });
        return undefined;
      });
  }

  /** Resolves when the device is free, for each who asks. Idempotent, never rejects. */
  silence(): Promise<void> {
    const tone = this.#tone;
    this.#tone = undefined;
    if (tone !== undefined) this.#free = this.#stop(tone);
    return this.#free;
  }

  async #stop(tone: Promise<RingTone | undefined>): Promise<void> {
    try {
      await (await tone)?.stop();
    } catch (error) {
      this.#log.warn('the sound device did not close', { why: errorText(error) });
    }
  }
}
