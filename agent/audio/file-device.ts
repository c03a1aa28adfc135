import { resolve } from 'node:path';
import { AgentError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { AudioDevice, AudioSession } from './device.ts';
import type { Timing } from './pace.ts';
import { type FrameSource, PacedSession, SILENCE } from './paced-session.ts';
import type { Wav } from './wav.ts';
import { checkRecordable, openRecording, readWavFile } from './wav-file.ts';
import { WavSource } from './wav-source.ts';

export interface FileDeviceOptions {
  /** WAV that is said, once per call, then silence. Without it: silence. */
  readonly input?: string | undefined;
  /** WAV that holds what was heard in the last call. Without it nothing is kept. */
  readonly output?: string | undefined;
  readonly timing: Timing;
  readonly log: Logger;
}

/** Says one WAV file and records another, paced in real time. */
export class FileDevice implements AudioDevice {
  readonly #options: FileDeviceOptions;
  readonly #input: Wav | undefined;
  readonly description: string;
  readonly state = 'ok';

  private constructor(options: FileDeviceOptions, input: Wav | undefined) {
    this.#options = options;
    this.#input = input;
    this.description = `file ${options.input ?? 'silence'} → ${options.output ?? 'nowhere'}`;
  }

  /**
   * Reads the input and looks at the output, so that a broken one is found at start and not in a call.
   * @throws {AgentError} `audio-unusable`
   */
  static async create(options: FileDeviceOptions): Promise<FileDevice> {
    const { input, output } = options;
    if (output !== undefined) {
      if (input !== undefined && resolve(input) === resolve(output)) {
        throw new AgentError(
          'audio-unusable',
          `${input} cannot be both said and recorded over`,
          'name another file as audio.output',
        );
      }
      await checkRecordable(output);
    }
    return new FileDevice(options, input === undefined ? undefined : await readWavFile(input));
  }

  async open(): Promise<AudioSession> {
    const { output, timing, log } = this.#options;
    const source: FrameSource = this.#input === undefined ? SILENCE : new WavSource(this.#input);
    const sink = await openRecording(output, log);
    return new PacedSession({ source, sink, timing });
  }
}
