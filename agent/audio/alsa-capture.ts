import type { Millis } from '../base/clock.ts';
import type { AlsaLink } from './alsa-link.ts';
import { FRAME_MS, FRAME_SAMPLES } from './device.ts';
import { CARD_SILENT_MS, MAX_CATCH_UP_FRAMES } from './limits.ts';
import { EAGAIN, EPIPE, ESTRPIPE, type Pcm, PcmError } from './pcm.ts';

/** Reads frames from a card that may be away; then it gives silence at the same pace. */
export class AlsaCapture {
  readonly #link: AlsaLink;
  readonly #onFrame: (pcm: Int16Array) => void;
  readonly #frame = new Int16Array(FRAME_SAMPLES);
  #running: Pcm | undefined;
  /** Up to when frames were given, read or silent. */
  #givenUntil: Millis;
  #lastReadAt: Millis = 0;
  xruns = 0;

  constructor(link: AlsaLink, onFrame: (pcm: Int16Array) => void, now: Millis) {
    this.#link = link;
    this.#onFrame = onFrame;
    this.#givenUntil = now;
  }

  /** Hand over what the card has. Call every 10 ms. */
  service(now: Millis): void {
    const { pcm } = this.#link;
    if (pcm !== this.#running) {
      this.#running = pcm;
      this.#lastReadAt = now;
      // A capture that does not block does not start by itself either.
      if (pcm !== undefined) this.#check(pcm, pcm.start(), now);
    }
    if (pcm !== undefined && pcm === this.#link.pcm) this.#read(pcm, now);
    // A card may need its time to begin, and its frames come unevenly; one that is away gives none.
    const patienceMs = this.#link.pcm === undefined ? FRAME_MS : MAX_CATCH_UP_FRAMES * FRAME_MS;
    if (now - this.#givenUntil >= patienceMs) this.#giveSilence(now);
  }

  #read(pcm: Pcm, now: Millis): void {
    const available = pcm.available();
    if (this.#check(pcm, available, now)) {
      for (let left = available; left >= FRAME_SAMPLES; left -= FRAME_SAMPLES) {
        const read = pcm.read(this.#frame);
        if (!this.#check(pcm, read, now) || read !== FRAME_SAMPLES) break;
        this.#lastReadAt = now;
        this.#givenUntil = now;
        this.#onFrame(this.#frame);
        // What was said may have ended the call, and the card with it.
        if (this.#link.pcm !== pcm) return;
      }
    }
    if (now - this.#lastReadAt > CARD_SILENT_MS) {
      this.#link.lose(new PcmError(0, 'the card gives no sound'), now);
    }
  }

  /** @returns false when `code` was an error, which is then dealt with */
  #check(pcm: Pcm, code: number, now: Millis): boolean {
    if (code >= 0) return true;
    const errno = -code;
    if (errno === EAGAIN) return false;
    if (errno === EPIPE || errno === ESTRPIPE) {
      this.xruns++;
      const again = pcm.prepare() < 0 ? -1 : pcm.start();
      if (again >= 0) return false;
    }
    this.#link.lose(new PcmError(errno, `the card is gone (errno ${errno})`), now);
    return false;
  }

  #giveSilence(now: Millis): void {
    const due = Math.floor((now - this.#givenUntil) / FRAME_MS);
    this.#givenUntil += due * FRAME_MS;
    this.#frame.fill(0);
    for (let i = 0; i < Math.min(due, MAX_CATCH_UP_FRAMES); i++) this.#onFrame(this.#frame);
  }
}
