import type { OpusCodec } from '../../agent/audio/opus.ts';
import { type FrameSink, type FrameSource, PacedSession } from '../../agent/audio/paced-session.ts';
import { VoicePipeline } from '../../agent/audio/pipeline.ts';
import type { Wav } from '../../agent/audio/wav.ts';
import { seededRandom } from '../sim/seeded.ts';
import { type LinkOptions, LossyLink } from './lossy-link.ts';
import { VirtualTiming } from './virtual-timing.ts';

/** Keeps what is heard. */
export class Recorder implements FrameSink {
  readonly frames: Int16Array[] = [];
  readonly droppedFrames = 0;
  isClosed = false;

  write(pcm: Int16Array): void {
    this.frames.push(pcm.slice());
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  wav(): Wav {
    const samples = new Int16Array(960 * this.frames.length);
    this.frames.forEach((frame, i) => {
      samples.set(frame, 960 * i);
    });
    return { sampleRateHz: 48_000, samples };
  }
}

/** Two pipelines with a network between them and one clock. */
export function virtualCall<Codec extends OpusCodec>(
  said: FrameSource,
  saidBack: FrameSource,
  link: LinkOptions,
  openCodec: () => Codec,
  seed = 1,
) {
  const timing = new VirtualTiming();
  const random = seededRandom(seed);
  const station = (source: FrameSource, ssrc: number) => {
    const recorder = new Recorder();
    const session = new PacedSession({ source, sink: recorder, timing });
    const codec = openCodec();
    let out: LossyLink | undefined;
    const pipeline = new VoicePipeline({
      session,
      codec,
      ssrc,
      random,
      timing,
      sendRtp: (packet) => out?.send(packet),
    });
    const connect = (far: VoicePipeline) => {
      out = new LossyLink(timing, random, link, (packet, now) => far.receiveRtp(packet, now));
      return out;
    };
    return { pipeline, recorder, codec, connect };
  };
  const a = station(said, 1);
  const b = station(saidBack, 2);
  const toB = a.connect(b.pipeline);
  const toA = b.connect(a.pipeline);
  a.pipeline.start();
  b.pipeline.start();
  return { timing, a, b, toA, toB };
}
