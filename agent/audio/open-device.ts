import { AgentError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { AudioDevice } from './device.ts';
import { FileDevice } from './file-device.ts';
import { NullDevice } from './null-device.ts';
import { systemTiming, type Timing } from './pace.ts';
import { StandInDevice } from './stand-in.ts';
import { ToneDevice } from './tone-device.ts';

/** `audio:` of the configuration. */
export interface AudioConfig {
  readonly device: 'alsa' | 'file' | 'tone' | 'null';
  /** `alsa`: PCM name; `default` when left out. */
  readonly card?: string | undefined;
  /** `file`: WAV that is said. */
  readonly input?: string | undefined;
  /** `file`, and the stand-in for a missing card: WAV that holds what was heard. */
  readonly output?: string | undefined;
}

export interface AudioDeps {
  readonly log: Logger;
  readonly timing?: Timing;
}

/**
 * The device that the configuration asks for; without a sound card, or without libasound, a stand-in whose description says
 * why.
 * @throws {AgentError} `audio-unusable` for a WAV that cannot be read, played or written
 */
export async function openAudioDevice(config: AudioConfig, deps: AudioDeps): Promise<AudioDevice> {
  const { device, input, output } = config;
  const { log, timing = systemTiming } = deps;
  switch (device) {
    case 'alsa':
      return openAlsaDevice(config, log, timing);
    case 'file':
      return FileDevice.create({ input, output, timing, log });
    case 'tone':
      return new ToneDevice(timing);
    case 'null':
      return new NullDevice(timing);
    default:
      return device satisfies never;
  }
}

async function openAlsaDevice(
  { card = 'default', output }: AudioConfig,
  log: Logger,
  timing: Timing,
): Promise<AudioDevice> {
  const standIn = (reason: string) => StandInDevice.create({ reason, output, timing, log });
  // Loaded here, so that a station without sound hardware never pays for it.
  const { Alsa } = await import('./alsa-pcm.ts');
  const { AlsaDevice } = await import('./alsa-device.ts');
  try {
    return await AlsaDevice.create({ alsa: Alsa.load(), card, timing, log, standIn });
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'native-unavailable') throw error;
    const hint = error.hint === undefined ? '' : `; ${error.hint}`;
    return standIn(`${error.message}${hint}`);
  }
}
