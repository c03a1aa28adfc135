/** Every number of the MQTT part. First what the contract promises (README.md), then our own bounds with their reason. */

/** `v` of every JSON payload; goes up when a field changes its meaning or goes away. */
export const PAYLOAD_VERSION = 1;

/** `api` in `info`: goes up with every topic or verb that joins. */
export const API_LEVEL = 1;

/** A command that carries `ts` is refused as `stale` when it is further than this from the station's clock. */
export const COMMAND_AGE_MS = 15_000;

/** How long an `id` is single-use. */
export const COMMAND_ID_MS = 10 * 60_000;

/** An event that leaves later than this after it happened carries `late: true`. */
export const LATE_AFTER_MS = 10_000;

/** How long `info` may take to come back before the broker counts as one that lost its store. */
export const READ_BACK_MS = 2_000;

export const RECONNECT_FIRST_MS = 1_000;
export const RECONNECT_MAX_MS = 60_000;

/** Wall clocks before 2026 are those of a board without a battery: not set yet. */
export const CLOCK_FLOOR_UNIX_MS = Date.UTC(2026, 0, 1);

/** The broker publishes our will after 1.5 times this, [MQTT-3.1.2-22]. Two small packets a minute. */
export const KEEPALIVE_S = 30;

// Our own bounds.

/** Events kept while offline, oldest dropped first: an afternoon of a busy door, 25 kB. */
export const QUEUED_EVENTS = 50;

/** Results waiting to leave, oldest dropped first: only a flood of commands gets here. */
export const QUEUED_RESULTS = 32;

/** Publishes without acknowledgement. Below the 20 that mosquitto takes from one client by default. */
export const INFLIGHT_PUBLISHES = 16;

/** Calls whose phase is remembered to tell `call/state`; calls.ts allows fewer. */
export const TRACKED_CALLS = 8;

/** Largest payload of a command that is looked at: a long message with room for its envelope. */
export const COMMAND_BYTES = 16 * 1024;

/** Characters of a command's `id`. */
export const COMMAND_ID_LENGTH = 64;

/** Characters of `to`: 40 for an id, and names are short. */
export const COMMAND_TO_LENGTH = 64;

/** Characters of the levels after `cmd/`, as they come back in `result/…`. */
export const VERB_LENGTH = 64;

/** Characters of a Response Topic. */
export const RESPONSE_TOPIC_LENGTH = 256;

/** Bytes of Correlation Data. */
export const CORRELATION_BYTES = 256;

/** Commands at once after a pause, then one a second: a person with an automation, not a loop. */
export const COMMAND_BURST = 20;
export const COMMAND_EVERY_MS = 1_000;

/** Command ids remembered. More cannot be admitted within COMMAND_ID_MS, so none is ever forgotten early. */
export const COMMAND_IDS = COMMAND_BURST + COMMAND_ID_MS / COMMAND_EVERY_MS + 1;

/** Commands in progress; the station answers each at once, so more means that it is stuck. */
export const COMMANDS_RUNNING = 16;

/** After this a command that is still in progress is answered with `internal`. */
export const COMMAND_TIMEOUT_MS = 10_000;

/** Largest packet taken from a broker, or by the embedded one; a larger one ends the connection. */
export const PACKET_BYTES = 256 * 1024;

/** TCP, TLS and CONNACK together. */
export const CONNECT_TIMEOUT_MS = 10_000;

/** A connection that lived this long starts the reconnect delays afresh. */
export const STABLE_CONNECTION_MS = 30_000;

/** A clean stop waits this long for the acknowledgement of `offline`; the whole station has 2 s to end. */
export const STOP_TIMEOUT_MS = 800;

/** … and then this long for the DISCONNECT to leave. */
export const DISCONNECT_TIMEOUT_MS = 200;

/** The same complaint is logged once in this time. */
export const LOG_AGAIN_MS = 10 * 60_000;

/** Kinds of complaint remembered for it. */
export const LOGGED_KINDS = 32;

// The embedded broker: for one house on one board, reached through loopback.

export const BROKER_CLIENTS = 32;

/** Subscriptions of one client. */
export const BROKER_SUBSCRIPTIONS = 64;

/** Retained topics, and the bytes of their names and payloads together: Home Assistant discovery fits with room. */
export const BROKER_RETAINED_TOPICS = 1_000;
export const BROKER_RETAINED_BYTES = 1024 * 1024;

/** QoS 2 publishes of one client that wait for PUBREL, each up to PACKET_BYTES. */
export const BROKER_INFLIGHT_QOS2 = 16;

/** A connection without CONNECT, and one that does not read, end after this. */
export const BROKER_PATIENCE_MS = 10_000;

/** `close` ends connections by force after this. */
export const BROKER_CLOSE_MS = 500;
