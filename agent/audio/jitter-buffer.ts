import type { Millis } from '../base/clock.ts';
import { FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ } from './device.ts';
import {
  JITTER_SLOTS,
  JITTER_TARGET_MS,
  MAX_CONCEALED_FRAMES,
  MAX_OPUS_PACKET_BYTES,
  MAX_SEQUENCE_JUMP,
  MAX_TRANSIT_JUMP_MS,
} from './limits.ts';
import { type RtpPacket, sequenceDistance, timestampDistance } from './rtp.ts';
import { TransitClock } from './transit-clock.ts';

/**
 * What to play for one frame time:
 * - `packet`: decode `payload`
 * - `recover`: this frame is lost, `payload` is the next packet and may carry it as forward error correction
 * - `conceal`: this frame is missing, guess it
 * - `silence`: nothing to hear (nothing arrived yet, or for long)
 */
export type Playout = 'packet' | 'recover' | 'conceal' | 'silence';

export interface JitterStats {
  readonly received: number;
  /** RFC 3550 A.3: expected less received; a packet that came late is not lost. */
  readonly lost: number;
  /** Arrived after its playout time. */
  readonly late: number;
  readonly duplicate: number;
  readonly reordered: number;
  /** Arrived in time and left out, because the sound had grown older than the target (a stall, two clocks that differ). */
  readonly skipped: number;
  /** Began anew while it played: other SSRC, a jump in the numbers, a path that became longer. */
  readonly restarts: number;
  /** RFC 3550 §6.4.1 interarrival jitter. */
  readonly jitterMs: number;
  /** From the arrival of the fastest packet to playout. */
  readonly delayMs: number;
  readonly bufferedFrames: number;
}

const TICKS_PER_MS = SAMPLE_RATE_HZ / 1000;
const MASK = JITTER_SLOTS - 1;
const EMPTY = -1;

/** Ages, in ms beside the target, between which playout goes on without leaving out or stretching. */
const TOO_OLD_MS = 2 * FRAME_MS;
const TOO_YOUNG_MS = FRAME_MS;

/**
 * Reorders the packets of one RTP stream with 20 ms of sound each and says at every playout tick what to play.
 *
 * One quantity steers everything: the age of a frame, how long ago the fastest of the recent packets would have brought
 * it. A frame plays when its age reaches the target. Older frames are left out and younger ones waited for, so neither a
 * stall of the process nor two clocks that differ can leave a standing delay. The target is fixed.
 */
export class JitterBuffer {
  readonly #targetMs: Millis;
  readonly #transit = new TransitClock();

  // The ring: what slot `sequence & MASK` holds.
  readonly #sequences = new Float64Array(JITTER_SLOTS).fill(EMPTY);
  readonly #timestamps = new Float64Array(JITTER_SLOTS);
  readonly #lengths = new Uint16Array(JITTER_SLOTS);
  readonly #payloads = new Uint8Array(JITTER_SLOTS * MAX_OPUS_PACKET_BYTES);
  #buffered = 0;

  // The stream: numbers are extended so that they never wrap.
  #ssrc: number | undefined;
  #firstSequence = 0;
  #highest = 0;
  #highestTimestamp = 0;
  /** Sequence number after a packet that did not fit the stream: a second one in a row means that it is the new stream. */
  #suspect: number | undefined;

  // Playout.
  #state: 'empty' | 'filling' | 'playing' = 'empty';
  #next = 0;
  #nextTimestamp = 0;
  /** Playout never goes back behind this one within a stream. */
  #lastPlayed = Number.NEGATIVE_INFINITY;
  #missing = 0;
  #payload: Uint8Array = new Uint8Array(0);

  #received = 0;
  #streamReceived = 0;
  #lostBefore = 0;
  #late = 0;
  #duplicate = 0;
  #reordered = 0;
  #skipped = 0;
  #restarts = 0;
  #delayMs = 0;

  constructor(targetMs: Millis = JITTER_TARGET_MS) {
    this.#targetMs = targetMs;
  }

  /**
   * Put a packet that arrived at `now` (monotonic ms). Its payload is copied.
   * @param packet at most MAX_OPUS_PACKET_BYTES of payload
   */
  insert(packet: RtpPacket, now: Millis): void {
    if (packet.payload.length > MAX_OPUS_PACKET_BYTES) throw new RangeError('payload too large');
    if (packet.ssrc !== this.#ssrc) {
      this.#startStream(packet, now);
      return;
    }
    const step = sequenceDistance(this.#highest, packet.sequenceNumber);
    if (Math.abs(step) > MAX_SEQUENCE_JUMP) {
      // RFC 3550 A.1: one odd packet is a stray, two in a row are a sender that started again.
      if (this.#suspect === packet.sequenceNumber) this.#startStream(packet, now);
      else this.#suspect = (packet.sequenceNumber + 1) & 0xffff;
      return;
    }
    this.#suspect = undefined;

    const sequence = this.#highest + step;
    const timestamp =
      this.#highestTimestamp + timestampDistance(this.#highestTimestamp, packet.timestamp);
    if (this.#isBuffered(sequence)) {
      this.#duplicate++;
      return;
    }
    this.#received++;
    this.#streamReceived++;
    if (step > 0) {
      this.#highest = sequence;
      this.#highestTimestamp = timestamp;
    } else {
      this.#reordered++;
    }

    if (sequence < this.#next && !this.#canStillLead(sequence)) {
      this.#late++;
      return;
    }
    const transit = now - timestamp / TICKS_PER_MS;
    const isJump = Math.abs(transit - this.#transit.fastest) > MAX_TRANSIT_JUMP_MS;
    if (isJump || this.#state === 'empty') {
      this.#restart(sequence, timestamp);
      this.#transit.restart(transit, now);
    } else {
      this.#transit.observe(transit, now);
    }
    if (sequence < this.#next) {
      this.#next = sequence;
      this.#nextTimestamp = timestamp;
    }
    this.#store(sequence, timestamp, packet.payload);
  }

  /** What to play for the frame time at `now` (monotonic ms). Call once per FRAME_MS. */
  take(now: Millis): Playout {
    if (this.#state === 'empty') return 'silence';
    if (this.#state === 'filling') {
      if (this.#age(now) < this.#targetMs) return 'silence';
      this.#state = 'playing';
    }
    if (this.#age(now) >= this.#targetMs + TOO_OLD_MS) this.#skipToTarget(now);
    this.#delayMs = this.#age(now);
    if (this.#age(now) < this.#targetMs - TOO_YOUNG_MS) return this.#conceal();

    const slot = this.#next & MASK;
    if (this.#isBuffered(this.#next)) {
      this.#payload = this.#payloadAt(slot);
      this.#played();
      return 'packet';
    }
    const following = this.#next + 1;
    if (this.#isBuffered(following)) {
      this.#payload = this.#payloadAt(following & MASK);
      this.#played();
      return 'recover';
    }
    this.#advance();
    return this.#conceal();
  }

  /** What `packet` and `recover` are about. Valid until the next `insert`. */
  get payload(): Uint8Array {
    return this.#payload;
  }

  stats(): JitterStats {
    return {
      received: this.#received,
      lost: this.#lostBefore + this.#lostInStream(),
      late: this.#late,
      duplicate: this.#duplicate,
      reordered: this.#reordered,
      skipped: this.#skipped,
      restarts: this.#restarts,
      jitterMs: this.#transit.jitter,
      delayMs: this.#delayMs,
      bufferedFrames: this.#buffered,
    };
  }

  /** How long ago the fastest recent packet would have brought the frame that is next. */
  #age(now: Millis): Millis {
    return now - this.#nextTimestamp / TICKS_PER_MS - this.#transit.fastest;
  }

  /** Nothing has played yet, so a packet overtaken at the very start still finds its place. */
  #canStillLead(sequence: number): boolean {
    return (
      this.#state === 'filling' &&
      sequence > this.#lastPlayed &&
      this.#highest - sequence < JITTER_SLOTS
    );
  }

  #conceal(): Playout {
    this.#missing++;
    if (this.#missing <= MAX_CONCEALED_FRAMES) return 'conceal';
    if (this.#buffered === 0) {
      // What was guessed may still come, from a sender that paused or a path that became longer.
      this.#state = 'empty';
      this.#next = this.#lastPlayed + 1;
    }
    return 'silence';
  }

  #skipToTarget(now: Millis): void {
    while (this.#buffered > 0 && this.#age(now) >= this.#targetMs + FRAME_MS) {
      this.#skip();
    }
  }

  #played(): void {
    this.#lastPlayed = this.#next;
    this.#missing = 0;
    this.#advance();
  }

  #skip(): void {
    if (this.#isBuffered(this.#next)) {
      this.#skipped++;
      this.#lastPlayed = this.#next;
    }
    this.#advance();
  }

  #advance(): void {
    const slot = this.#next & MASK;
    if (this.#sequences[slot] === this.#next) {
      this.#sequences[slot] = EMPTY;
      this.#buffered--;
    }
    this.#next++;
    // A sender may leave out time without leaving out numbers (DTX, a stall of its own): its own timestamp counts.
    this.#nextTimestamp = this.#isBuffered(this.#next)
      ? (this.#timestamps[this.#next & MASK] ?? 0)
      : this.#nextTimestamp + FRAME_SAMPLES;
  }

  #store(sequence: number, timestamp: number, payload: Uint8Array): void {
    while (sequence - this.#next >= JITTER_SLOTS) {
      this.#skip();
    }
    const slot = sequence & MASK;
    this.#sequences[slot] = sequence;
    this.#timestamps[slot] = timestamp;
    this.#lengths[slot] = payload.length;
    this.#payloads.set(payload, slot * MAX_OPUS_PACKET_BYTES);
    this.#buffered++;
    if (sequence === this.#next) this.#nextTimestamp = timestamp;
  }

  #isBuffered(sequence: number): boolean {
    return this.#sequences[sequence & MASK] === sequence;
  }

  #payloadAt(slot: number): Uint8Array {
    const start = slot * MAX_OPUS_PACKET_BYTES;
    return this.#payloads.subarray(start, start + (this.#lengths[slot] ?? 0));
  }

  #lostInStream(): number {
    if (this.#ssrc === undefined) return 0;
    return Math.max(0, this.#highest - this.#firstSequence + 1 - this.#streamReceived);
  }

  #startStream(packet: RtpPacket, now: Millis): void {
    this.#lostBefore += this.#lostInStream();
    this.#ssrc = packet.ssrc;
    this.#suspect = undefined;
    // One cycle up, so that a packet sent before the first one has a number above EMPTY.
    this.#firstSequence = packet.sequenceNumber + 0x1_0000;
    this.#highest = this.#firstSequence;
    this.#highestTimestamp = packet.timestamp;
    this.#received++;
    this.#streamReceived = 1;
    this.#lastPlayed = Number.NEGATIVE_INFINITY;
    this.#restart(this.#firstSequence, packet.timestamp);
    this.#transit.restart(now - packet.timestamp / TICKS_PER_MS, now);
    this.#store(this.#firstSequence, packet.timestamp, packet.payload);
  }

  /** Empty the ring and wait for the target age anew, beginning with the packet that is about to be stored. */
  #restart(sequence: number, timestamp: number): void {
    if (this.#state !== 'empty') this.#restarts++;
    this.#sequences.fill(EMPTY);
    this.#buffered = 0;
    this.#state = 'filling';
    this.#next = sequence;
    this.#nextTimestamp = timestamp;
    this.#missing = 0;
  }
}
