import { FadeConcealer } from '../../agent/audio/conceal.ts';
import { FRAME_SAMPLES } from '../../agent/audio/device.ts';
import type { OpusCodec } from '../../agent/audio/opus.ts';

/** One 20 ms frame, CELT only, full band (RFC 6716 §3.1). */
const TOC = 31 << 3;
const DECIMATION = 4;
const FEC_BYTES = FRAME_SAMPLES / DECIMATION;

/**
 * Stands in for libopus where no native code may run: 8 bit samples, and behind them the frame before at a quarter of the
 * rate as forward error correction. Looks like Opus from outside, so the pipeline's checks see real packets.
 */
export class FakeCodec implements OpusCodec {
  readonly #packet = new Uint8Array(1 + FRAME_SAMPLES + FEC_BYTES);
  readonly #concealer = new FadeConcealer();
  isClosed = false;

  encode(pcm: Int16Array): Uint8Array {
    for (let i = 0; i < FEC_BYTES; i++) {
      this.#packet[1 + FRAME_SAMPLES + i] = this.#packet[1 + i * DECIMATION] ?? 0;
    }
    this.#packet[0] = TOC;
    for (let i = 0; i < FRAME_SAMPLES; i++) this.#packet[1 + i] = (pcm[i] ?? 0) >> 8;
    return this.#packet;
  }

  decode(packet: Uint8Array, out: Int16Array): boolean {
    if (packet.length !== this.#packet.length) return false;
    for (let i = 0; i < FRAME_SAMPLES; i++) out[i] = (packet[1 + i] ?? 0) << 8;
    this.#concealer.remember(out);
    return true;
  }

  recover(next: Uint8Array, out: Int16Array): boolean {
    if (next.length !== this.#packet.length) return false;
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      out[i] = (next[1 + FRAME_SAMPLES + Math.floor(i / DECIMATION)] ?? 0) << 8;
    }
    this.#concealer.remember(out);
    return true;
  }

  conceal(out: Int16Array): void {
    this.#concealer.conceal(out);
  }

  close(): void {
    this.isClosed = true;
  }
}
