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

  constructor(device: AudioDevice, log: Logger) {
    this.#device = device;
    this.#log = log;
  }

  ring(): void {
    this.#tone ??= RingTone.start(this.#device).catch((error: unknown) => {
      this.#log.warn('the station cannot ring aloud', { why: errorText(error) });
      return undefined;
    });
  }

  /** Resolves when the device is free. Idempotent. */
  async silence(): Promise<void> {
    const tone = this.#tone;
    this.#tone = undefined;
    await (await tone)?.stop();
  }
}
