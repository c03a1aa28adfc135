import type { Millis } from '../base/clock.ts';
import { DecodeError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { FRAME_MS, FRAME_SAMPLES } from './device.ts';
import { JitterBuffer, type JitterStats } from './jitter-buffer.ts';
import { MAX_OPUS_PACKET_BYTES } from './limits.ts';
import type { OpusCodec } from './opus.ts';
import { opusDuration } from './opus-packet.ts';
import {
  decodeRtp,
  isRtcp,
  OPUS_PAYLOAD_TYPE,
  RTP_HEADER_BYTES,
  type RtpPacket,
  writeRtpHeader,
} from './rtp.ts';

/** A pause in capture that is a gap in the sound, not a late timer: the timestamp then follows the clock. */
const CAPTURE_GAP_MS: Millis = 10 * FRAME_MS;

/** `opusDuration` of the only packets we take. */
const FRAME_DURATION = 10 * FRAME_MS;

export interface VoiceStats extends Omit<JitterStats, 'bufferedFrames'> {
  readonly sent: number;
  /** Frames guessed because nothing had arrived, and those rebuilt from the packet that followed. */
  readonly concealed: number;
  readonly recovered: number;
  /** Not RTP, or not 20 ms of Opus. */
  readonly malformed: number;
  /** RTCP and foreign payload types. */
  readonly ignored: number;
  /** Monotonic ms of the last good packet; undefined before the first. */
  readonly lastReceivedAt: Millis | undefined;
}

export interface VoiceOptions {
  readonly codec: OpusCodec;
  /** Of what we send, 32 bit. */
  readonly ssrc: number;
  readonly random: Random;
}

/**
 * The voice of one call without device, timer or network: said PCM → Opus → RTP, and RTP → jitter buffer → Opus → PCM to be
 * heard. All buffers are made here and used again.
 */
export class Voice {
  readonly #codec: OpusCodec;
  readonly #ssrc: number;
  readonly #packet = new Uint8Array(RTP_HEADER_BYTES + MAX_OPUS_PACKET_BYTES);
  readonly #silence = new Int16Array(FRAME_SAMPLES);
  readonly #jitterBuffer = new JitterBuffer();

  #sequenceNumber: number;
  #timestamp: number;
  #lastSaidAt: Millis | undefined;

  #sent = 0;
  #concealed = 0;
  #recovered = 0;
  #malformed = 0;
  #ignored = 0;
  #lastReceivedAt: Millis | undefined;

  /** Sends silence instead of what is said. Packets go on, so that the far side knows we are there. */
  muted = false;

  constructor(options: VoiceOptions) {
    this.#codec = options.codec;
    this.#ssrc = options.ssrc;
    // RFC 3550 §5.1: both should begin at random.
    this.#sequenceNumber = options.random.uint32() & 0xffff;
    this.#timestamp = options.random.uint32();
  }

  /**
   * One frame was said.
   * @returns the RTP packet for it: a view that is valid until the next call
   */
  say(pcm: Int16Array, now: Millis): Uint8Array {
    const pauseMs = this.#lastSaidAt === undefined ? 0 : now - this.#lastSaidAt;
    const isGap = pauseMs > CAPTURE_GAP_MS;
    if (isGap) this.#timestamp += FRAME_SAMPLES * (Math.round(pauseMs / FRAME_MS) - 1);
    writeRtpHeader(this.#packet, {
      payloadType: OPUS_PAYLOAD_TYPE,
      // RFC 3551 §4.1: the first packet of a talkspurt.
      marker: isGap || this.#lastSaidAt === undefined,
      sequenceNumber: this.#sequenceNumber,
      timestamp: this.#timestamp,
      ssrc: this.#ssrc,
    });
    const encoded = this.#codec.encode(this.muted ? this.#silence : pcm);
    this.#packet.set(encoded, RTP_HEADER_BYTES);
    this.#sequenceNumber = (this.#sequenceNumber + 1) & 0xffff;
    // Opus runs at 48 kHz on the wire whatever it codes (RFC 7587 §4.1), as our PCM does.
    this.#timestamp = (this.#timestamp + FRAME_SAMPLES) >>> 0;
    this.#lastSaidAt = now;
    this.#sent++;
    return this.#packet.subarray(0, RTP_HEADER_BYTES + encoded.length);
  }

  /** A packet came from the far side. Hostile bytes are counted and dropped. */
  receive(packet: Uint8Array, now: Millis): void {
    if (isRtcp(packet)) {
      this.#ignored++;
      return;
    }
    let rtp: RtpPacket;
    try {
      rtp = decodeRtp(packet);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#malformed++;
      return;
    }
    if (rtp.payloadType !== OPUS_PAYLOAD_TYPE) {
      this.#ignored++;
      return;
    }
    if (opusDuration(rtp.payload) !== FRAME_DURATION) {
      this.#malformed++;
      return;
    }
    this.#lastReceivedAt = now;
    this.#jitterBuffer.insert(rtp, now);
  }

  /** Fill `out` with the FRAME_SAMPLES to be heard next. Call once per FRAME_MS. */
  hear(out: Int16Array, now: Millis): void {
    const playout = this.#jitterBuffer.take(now);
    switch (playout) {
      case 'packet':
        if (this.#codec.decode(this.#jitterBuffer.payload, out)) return;
        this.#malformed++;
        this.#conceal(out);
        return;
      case 'recover':
        if (this.#codec.recover(this.#jitterBuffer.payload, out)) this.#recovered++;
        else this.#conceal(out);
        return;
      case 'conceal':
        this.#conceal(out);
        return;
      case 'silence':
        out.fill(0);
        return;
      default:
        playout satisfies never;
    }
  }

  stats(): VoiceStats {
    return {
      ...this.#jitterBuffer.stats(),
      sent: this.#sent,
      concealed: this.#concealed,
      recovered: this.#recovered,
      malformed: this.#malformed,
      ignored: this.#ignored,
      lastReceivedAt: this.#lastReceivedAt,
    };
  }

  #conceal(out: Int16Array): void {
    this.#concealed++;
    this.#codec.conceal(out);
  }
}
