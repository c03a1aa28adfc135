import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../audio/device.ts';
import { readWavFile, WavFileSink } from '../audio/wav-file.ts';
import { WavSource } from '../audio/wav-source.ts';
import { errorText } from '../base/errors.ts';
import type { SoundFiles } from './world.ts';

/**
 * Driver: WAV files for `call --play` and `--record`. The command reads and writes them itself: the station may be another
 * user in a sandbox, which sees neither.
 */
export const soundFiles: SoundFiles = {
  async open(path) {
    const wav = await readWavFile(path);
    const source = new WavSource(wav);
    const samples = (wav.samples.length * SAMPLE_RATE_HZ) / wav.sampleRateHz;
    return {
      frames: Math.ceil(samples / FRAME_SAMPLES),
      read: (frame) => source.read(frame),
    };
  },
  async create(path, onFailure) {
    return await WavFileSink.create(path, (error) => onFailure(errorText(error)));
  },
};
