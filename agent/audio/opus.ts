/**
 * One direction each way of one call: 48 kHz mono in frames of 20 ms (FRAME_SAMPLES). The decoder keeps what it heard, so
 * exactly one of `decode`, `recover` and `conceal` succeeds per frame time.
 */
export interface OpusCodec {
  /**
   * @param pcm FRAME_SAMPLES samples
   * @returns a view that is valid until the next call
   */
  encode(pcm: Int16Array): Uint8Array;
  /**
   * Fill `out` with the sound of `packet`.
   * @returns false when `packet` is not 20 ms of Opus: `out` is then undefined, conceal instead
   */
  decode(packet: Uint8Array, out: Int16Array): boolean;
  /**
   * The lost frame before `next`, from the forward error correction in `next` where it has some, else concealed.
   * @returns false as `decode` does, and always from a codec that cannot: conceal instead
   */
  recover(next: Uint8Array, out: Int16Array): boolean;
  /** A lost frame, guessed from what came before; fades to silence. */
  conceal(out: Int16Array): void;
  /** Free native memory. Idempotent; nothing else may be called afterwards. */
  close(): void;
}

/**
 * The encoder's settings for a door (webrtc-sip.md 7). Below 20 kb/s libopus writes no forward error correction; DTX stays
 * off because the background of a door is information.
 */
export const OPUS_SETTINGS = {
  bitrate: 24_000,
  complexity: 5,
  expectedLossPct: 10,
} as const;

/** A way to Opus on this machine. */
export interface OpusBackend {
  /** For a person: `libopus 1.3.1`. */
  readonly description: string;
  open(): OpusCodec;
}
