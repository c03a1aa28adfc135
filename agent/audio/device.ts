/** Sound in and out: 48 kHz, mono, signed 16 bit, in frames of 20 ms. The whole voice path uses this one format. */
export const SAMPLE_RATE_HZ = 48_000;
export const FRAME_MS = 20;
/** Samples in one frame. (Not ALSA's frame, which is one sample per channel.) */
export const FRAME_SAMPLES = (SAMPLE_RATE_HZ * FRAME_MS) / 1000;

export type AudioState = 'ok' | 'no_playback' | 'no_capture' | 'both_missing';

export interface AudioStats {
  /** Frames dropped because nobody fetched them, or written while the card was away. */
  readonly droppedFrames: number;
  readonly xruns: number;
  /** How much written sound has not been heard yet. */
  readonly queuedMs: number;
}

/**
 * One opened sound device for one call: both directions. A card that goes away is a state, not an error: capture then
 * gives paced silence, playback swallows, and `onState` tells.
 */
export interface AudioSession {
  /**
   * Start capture. `onFrame` is called every 20 ms with FRAME_SAMPLES samples in a buffer that is used again: copy to
   * keep. It must not throw.
   */
  start(onFrame: (pcm: Int16Array) => void, onState: (state: AudioState) => void): void;
  /** Queue one frame to be heard. Never blocks; over the device's bound the oldest is dropped and counted. */
  write(pcm: Int16Array): void;
  stats(): AudioStats;
  /** Stop both directions, finish files. Idempotent, never throws. */
  close(): Promise<void>;
}

/** A sound device as configured. Nothing is held open between calls. */
export interface AudioDevice {
  /** For a person: `ALSA default`, `file hello.wav → heard.wav`, `stand-in greeting (no sound card)`. */
  readonly description: string;
  /** What a call will find as far as is known before one; a session tells more through `onState`. */
  readonly state: AudioState;
  /** @throws {AgentError} `audio-unusable` only for what a person must mend (unreadable or broken WAV) */
  open(): Promise<AudioSession>;
}
