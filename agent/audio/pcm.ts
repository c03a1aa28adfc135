/** What the ALSA session needs of a card; `alsa-pcm.ts` is the real one. */

export type PcmDirection = 'playback' | 'capture';

/** errno values that have a meaning of their own here (asm-generic/errno.h). */
export const EAGAIN = 11;
const EBUSY = 16;
/** An xrun. */
export const EPIPE = 32;
/** The card was suspended. */
export const ESTRPIPE = 86;

/** One open direction of a card. Counts are samples of our one channel, which ALSA calls frames; below 0: −errno. */
export interface Pcm {
  /** Size of the buffer between us and the card. */
  readonly bufferSamples: number;
  /** Samples that can be read or written now. */
  available(): number;
  read(out: Int16Array): number;
  write(pcm: Int16Array): number;
  start(): number;
  /** Make ready to start again, after an xrun. */
  prepare(): number;
  /** What waits is dropped. Nothing may be called afterwards. */
  close(): Promise<void>;
}

/** A card that does not open. */
export class PcmError extends Error {
  override readonly name = 'PcmError';
  /** Positive errno. */
  readonly errno: number;

  constructor(errno: number, message: string) {
    super(message);
    this.errno = errno;
  }

  /** Another program has it now and will give it back, in contrast to a card that is missing or forbidden. */
  get isBusy(): boolean {
    return this.errno === EBUSY;
  }
}
