import type { Millis } from '../base/clock.ts';
import { CARD_RETRY_MS } from './limits.ts';
import { type Pcm, PcmError } from './pcm.ts';

export interface LinkOptions {
  /** Rejects with PcmError. */
  readonly open: () => Promise<Pcm>;
  /** The card came, or went with a reason. Each is told once. */
  readonly onChange: (reason: PcmError | undefined) => void;
}

/** One direction of a card that may come and go: opens it, and again after it was lost. */
export class AlsaLink {
  readonly #options: LinkOptions;
  #pcm: Pcm | undefined;
  #failure: PcmError | undefined;
  #opening: Promise<void> | undefined;
  #attempts = 0;
  #retryAt: Millis = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** The open card, or undefined while it is away. */
  get pcm(): Pcm | undefined {
    return this.#pcm;
  }

  /** Why it is away; undefined as well before the first attempt has ended. */
  get failure(): PcmError | undefined {
    return this.#failure;
  }

  /** Open the card when it is away and the next attempt is due. Resolves when the attempt has ended. */
  async open(now: Millis): Promise<void> {
    if (this.#isClosed || this.#pcm !== undefined) return;
    if (this.#opening === undefined && now < this.#retryAt) return;
    this.#opening ??= this.#attempt(now);
    await this.#opening;
  }

  /** The card failed: close it and try again later. */
  lose(reason: PcmError, now: Millis): void {
    const pcm = this.#pcm;
    if (pcm === undefined) return;
    this.#pcm = undefined;
    this.#attempts = 0;
    this.#fail(reason, now);
    this.#opening = this.#discard(pcm);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#opening;
    const pcm = this.#pcm;
    this.#pcm = undefined;
    await pcm?.close();
  }

  async #attempt(now: Millis): Promise<void> {
    try {
      const pcm = await this.#options.open();
      if (this.#isClosed) {
        await pcm.close();
        return;
      }
      this.#pcm = pcm;
      this.#attempts = 0;
      this.#failure = undefined;
      this.#options.onChange(undefined);
    } catch (error) {
      if (!(error instanceof PcmError)) throw error;
      this.#fail(error, now);
    } finally {
      this.#opening = undefined;
    }
  }

  async #discard(pcm: Pcm): Promise<void> {
    await pcm.close();
    this.#opening = undefined;
  }

  #fail(reason: PcmError, now: Millis): void {
    const wasUp = this.#failure === undefined;
    this.#failure = reason;
    this.#retryAt = now + (CARD_RETRY_MS[this.#attempts] ?? CARD_RETRY_MS.at(-1) ?? 0);
    this.#attempts = Math.min(this.#attempts + 1, CARD_RETRY_MS.length - 1);
    if (wasUp) this.#options.onChange(reason);
  }
}
