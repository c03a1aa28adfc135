import type { Millis } from '../base/clock.ts';

// Formats.

/** The largest signal that is decoded. An offer with everything it may have is 567 bytes. */
export const MAX_SIGNAL_BYTES = 1024;
/** Candidates of one side. A host with four addresses, a STUN and a TURN server has seven. */
export const MAX_CANDIDATES = 16;
/** RFC 8839 section 5.4 allows 256; libdatachannel writes 4 and 22, browsers 4 and 24. */
export const MAX_ICE_CREDENTIAL_CHARS = 64;
/** Frames of the control channel. The largest has 2 bytes; later ones may carry a short command. */
export const MAX_CONTROL_BYTES = 4096;
/** An RTP packet must fit one Ethernet frame. */
export const MAX_RTP_BYTES = 1500;

// Tables.

/** Calls that dial, ring or run at once. One loudspeaker, one visitor; the second hears busy. */
export const MAX_LIVE_CALLS = 1;
/** All calls, with those that still say good-bye. */
export const MAX_CALLS = 4;
/** Devices of one contact that are rung in parallel; each costs two RSA operations per signal. */
export const MAX_DEVICES = 8;
/** Ended calls that are remembered, so that late or repeated signals do not begin them again. */
export const MAX_ENDED_CALLS = 256;
/** Contacts whose rate of offers is watched at once. */
export const MAX_WATCHED_PEERS = 128;
/** Offers that one contact may make: this many at once, then one in OFFER_REFILL_MS. */
export const OFFER_BURST = 12;
export const OFFER_REFILL_MS: Millis = 5_000;
/**
 * Refusals that are sent to strangers, all together. Beyond it they hear nothing: an answer costs
 * us two RSA operations.
 */
export const REFUSAL_BURST = 4;
export const REFUSAL_REFILL_MS: Millis = 15_000;
/** How often one call repeats its last reply when the caller repeats its offer. */
export const MAX_REPEATED_REPLIES = 3;
/** Connections tried per call: the first, and once more (webrtc-sip.md 5, "second race"). */
export const MAX_ATTEMPTS = 2;

// Times. Each is one row of TIMERS in call.ts unless it says otherwise.

/** A signal that begins something is taken this long after it was sent … */
export const SIGNAL_LIFETIME_MS: Millis = 60_000;
/** … give or take how wrong two wall clocks may be. Both tested in calls.ts. */
export const CLOCK_TOLERANCE_MS: Millis = 30_000;
/**
 * An offer from longer before the station's start is not taken. Clocks that are kept differ by less; who calls right now
 * repeats it every RESEND_MS.
 */
export const START_TOLERANCE_MS: Millis = 2_000;
/** `security` events: at most one in this time, the rest are counted into the next. */
export const SECURITY_EVENT_INTERVAL_MS: Millis = 60_000;

export const PREPARE_MS: Millis = 5_000;
export const REACTION_MS: Millis = 15_000;
/** A flood at the inbox may push an offer out; the next one must come while the visitor still waits. */
export const RESEND_MS: Millis = 2_000;
export const RING_MS: Millis = 30_000;
export const CONNECT_MS: Millis = 12_000;
export const RETRY_MS: Millis = 5_000;
export const HOLD_MS: Millis = 1_000;
export const SILENCE_MS: Millis = 6_000;
export const BYE_MS: Millis = 1_000;

// Times of the media driver (webrtc.ts).

export const HEARTBEAT_MS: Millis = 1_000;
/**
 * The offer leaves when gathering is complete or after this; later candidates follow alone
 * (webrtc-sip.md 5).
 */
export const GATHER_MS: Millis = 300;
/** How long a closing connection waits for its last frame to be confirmed. */
export const LINGER_MS: Millis = 400;
