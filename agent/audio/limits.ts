import type { Millis } from '../base/clock.ts';

/*
 * Constants of the formats.
 */

/** Largest Opus packet of one 20 ms frame: a TOC byte and 1275 bytes (RFC 6716 §3.2.1, §3.4 R2). */
export const MAX_OPUS_PACKET_BYTES = 1276;

/** RIFF sizes are 32 bit; 36 bytes of header count into the outer one. */
export const MAX_WAV_DATA_BYTES = 2 ** 32 - 1 - 36;

/*
 * Our own bounds, each with its reason.
 */

/** Frames a pacer makes up for at once after the event loop was held up: what a card's buffer has room for. */
export const MAX_CATCH_UP_FRAMES = 5;

/** Frames that a paced device accounts for after a longer stall (10 s); beyond that the recording loses its timing. */
export const MAX_MISSED_FRAMES = 500;

/** Frames that wait in a paced device to be heard. More would be delay that nobody asked for. */
export const MAX_QUEUED_FRAMES = 10;

/** Frames that must wait before a paced device plays, again after it ran dry: it hides 20 ms of timer jitter. */
export const START_FRAMES = 2;

/** A door announces in seconds; five minutes of 48 kHz mono are 29 MB, the most a 512 MB board should hold. */
export const MAX_WAV_INPUT_S = 300;
export const MAX_WAV_INPUT_BYTES = 64 * 1024 * 1024;

/** One hour is 345 MB: a recording that somebody forgot must not fill the SD card. */
export const MAX_RECORDING_S = 3600;

/** Sound that waits for a slow disk, in seconds, before it is dropped. */
export const MAX_UNWRITTEN_S = 4;

/** Slots of the jitter buffer: 1.28 s. A power of two, so that a mask finds the slot. */
export const JITTER_SLOTS = 64;

/** A packet further than this from its neighbours belongs to another stream, or to one that was cut for long. */
export const MAX_SEQUENCE_JUMP = 50;
export const MAX_TRANSIT_JUMP_MS: Millis = 1000;

/** From arrival of the fastest packet to its playout: two frames of jitter and one of FEC. */
export const JITTER_TARGET_MS: Millis = 60;

/** Frames concealed in a row before the gap is silence; libopus has faded out by then (webrtc-sip.md 7). */
export const MAX_CONCEALED_FRAMES = 5;

/** What another process may push ahead of the clock: 1 s. */
export const MAX_STREAM_AHEAD_FRAMES = 50;

/** Waits between attempts to open a card that is away; the last repeats. */
export const CARD_RETRY_MS: readonly Millis[] = [500, 1000, 2000, 5000];

/** An open card that gave no sound for this long is closed and opened again. PulseAudio takes up to 2 s to begin. */
export const CARD_SILENT_MS: Millis = 5000;
