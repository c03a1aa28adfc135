import { FadeConcealer } from './conceal.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from './device.ts';
import { MAX_OPUS_PACKET_BYTES } from './limits.ts';
import { OPUS_SETTINGS, type OpusBackend, type OpusCodec } from './opus.ts';

/**
 * Driver for @evan/opus, the codec where libopus is missing: a prebuilt binary on x64 and arm64, WebAssembly elsewhere. It
 * can neither decode FEC nor conceal one frame, so lost frames are faded over.
 */

type EvanOpus = typeof import('@evan/opus');

/** @param hint how to get the better codec, for the description */
export async function openWasmOpus(hint?: string): Promise<OpusBackend> {
  const opus = await import('@evan/opus');
  return {
    description: `built-in Opus without error correction${hint === undefined ? '' : ` (${hint})`}`,
    open: () => new EvanOpusCodec(opus),
  };
}

class EvanOpusCodec implements OpusCodec {
  readonly #encoder: InstanceType<EvanOpus['Encoder']>;
  readonly #decoder: InstanceType<EvanOpus['Decoder']>;
  readonly #concealer = new FadeConcealer();

  constructor(opus: EvanOpus) {
    this.#encoder = new opus.Encoder({
      channels: 1,
      sample_rate: SAMPLE_RATE_HZ,
      application: 'voip',
    });
    this.#encoder.bitrate = OPUS_SETTINGS.bitrate;
    this.#encoder.complexity = OPUS_SETTINGS.complexity;
    // The far end may well decode it.
    this.#encoder.inband_fec = true;
    this.#encoder.packet_loss = OPUS_SETTINGS.expectedLossPct;
    this.#encoder.dtx = false;
    this.#encoder.signal = 'voice';
    this.#decoder = new opus.Decoder({ channels: 1, sample_rate: SAMPLE_RATE_HZ });
  }

  encode(pcm: Int16Array): Uint8Array {
    if (pcm.length !== FRAME_SAMPLES) throw new RangeError(`${pcm.length} samples are no frame`);
    return this.#encoder.encode(pcm);
  }

  decode(packet: Uint8Array, out: Int16Array): boolean {
    // The library copies the packet to a buffer of fixed size.
    if (packet.length === 0 || packet.length > MAX_OPUS_PACKET_BYTES) return false;
    let bytes: Uint8Array;
    try {
      bytes = this.#decoder.decode(packet);
    } catch {
      // Its only way to say "invalid packet".
      return false;
    }
    if (bytes.length !== 2 * FRAME_SAMPLES) return false;
    out.set(new Int16Array(bytes.buffer, bytes.byteOffset, FRAME_SAMPLES));
    this.#concealer.remember(out);
    return true;
  }

  recover(): boolean {
    return false;
  }

  conceal(out: Int16Array): void {
    this.#concealer.conceal(out);
  }

  /** Its memory goes with the garbage collector. */
  close(): void {}
}
