import { fileURLToPath } from 'node:url';
import type { Logger } from '../base/log.ts';
import { type AudioDevice, type AudioSession, SAMPLE_RATE_HZ } from './device.ts';
import type { Timing } from './pace.ts';
import { PacedSession } from './paced-session.ts';
import type { Wav } from './wav.ts';
import { checkRecordable, openRecording, readWavFile } from './wav-file.ts';
import { WavSource } from './wav-source.ts';

/** Beside this file in the source tree, beside the bundle in a release. */
const GREETING_PATH = fileURLToPath(new URL('./greeting.wav', import.meta.url));

/** The far side's path is still settling when a call is answered: it must not cut the first word. */
const LEAD_MS = 400;

export interface StandInOptions {
  /** Why there is no card, for a person. */
  readonly reason: string;
  /** WAV that holds what was heard in the last call; without it nothing is kept. */
  readonly output?: string | undefined;
  readonly timing: Timing;
  readonly log: Logger;
}

/** What a station without a sound card is: it greets once after answering, then says nothing, and hears nobody. */
export class StandInDevice implements AudioDevice {
  readonly description: string;
  readonly state = 'both_missing';
  readonly #options: StandInOptions;
  readonly #greeting: Wav;

  private constructor(options: StandInOptions, greeting: Wav) {
    this.description = `stand-in greeting: ${options.reason}`;
    this.#options = options;
    this.#greeting = greeting;
  }

  /** @throws {AgentError} `audio-unusable` when there cannot be an output, or the greeting is not in its place */
  static async create(options: StandInOptions): Promise<StandInDevice> {
    if (options.output !== undefined) await checkRecordable(options.output);
    return new StandInDevice(options, await readWavFile(GREETING_PATH));
  }

  async open(): Promise<AudioSession> {
    const { output, timing, log } = this.#options;
    const source = new WavSource(this.#greeting, (LEAD_MS * SAMPLE_RATE_HZ) / 1000);
    const sink = await openRecording(output, log);
    return new PacedSession({ source, sink, timing, state: 'both_missing' });
  }
}
