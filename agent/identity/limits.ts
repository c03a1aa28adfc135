/** Every bound of this folder. First what the protocol fixes, then our own with the reason. */

// --- fixed by the protocol

/** Account and device keys that we make (jami.md 2). */
export const RSA_BITS = 4096;
/** 10 × 365 days (opendht.md 13.6). */
export const CERTIFICATE_LIFETIME_MS = 10 * 365 * 24 * 3600_000;
/** Value id under which every certificate is published (opendht.md 13.6). */
export const CERTIFICATE_VALUE_ID = 1n;
/** A stored value's data, signature and user type together (opendht.md 6.4). */
export const MAX_VALUE_BYTES = 65536;
/** Sequence numbers are 16 bits and do not wrap (opendht.md 10). */
export const MAX_SEQ = 0xffff;

// --- ours

/** Data and user type of one signed or encrypted value: leaves room for owner, signature, RSA block and names in 64 KiB. */
export const MAX_CONTENT_BYTES = 60_000;

/**
 * RSA keys of others. Larger ones, or long exponents, cost a verifier whole seconds, which is a way to stop the event
 * loop. The reference makes 4096 bits; 8192 have been seen in the field.
 */
export const MAX_RSA_BITS = 8192;
export const MAX_RSA_EXPONENT = 2n ** 32n;
/** Below this a device or account key can be broken by someone who wants to. */
export const MIN_TRUSTED_RSA_BITS = 2048;

/** Parsed public keys of signers that are kept: one takes about 3 KB. */
export const MAX_CACHED_SIGNERS = 256;

/** Device, account, CA: three; one more for an authority above. */
export const MAX_CHAIN_LENGTH = 4;
/** Three RSA-4096 certificates take 5.7 KB as PEM. */
export const MAX_CHAIN_BYTES = 16_384;

/**
 * Our clock, or a peer's when it made its certificate, may be this wrong. Certificates that we make begin this much
 * earlier, so that a peer whose clock runs behind accepts them at once.
 */
export const CLOCK_TOLERANCE_MS = 24 * 3600_000;

/** A worker thread that stands in for libcrypto costs 8 MB: ended after this much idleness. */
export const WORKER_IDLE_MS = 10_000;

/** Values that are being signed or encrypted, or wait for that: a put of 60 KB each makes 8 MB. */
export const MAX_PUTS_IN_WORK = 128;
/** Places of own signed values whose last sequence number is remembered: as many as the DHT keeps of our own. */
export const MAX_REMEMBERED_PUTS = 1024;

/** Keys listened to with `listen`, and gets that run at a time: the daemon's own and those of people at the command line. */
export const MAX_READS = 128;
/** Values of one read whose sequence number, or expiry, is still waited for: as many as the DHT itself remembers. */
export const MAX_READ_VALUES = 4096;
/** Public keys that are remembered, of some 550 bytes each. */
export const MAX_KNOWN_KEYS = 512;
/** Public keys that are looked up at a time. */
export const MAX_KEY_LOOKUPS = 32;

/** Keys listened to with `listenSealed`: the inbox, the two of Jami, and some per call. */
export const MAX_LISTENS = 32;
/** Encrypted values of one listen or get that wait for the RSA key: on a board the last of them waits ten seconds. */
export const MAX_WAITING_PER_LANE = 128;
/** Bytes of all encrypted values that wait: 64 of the largest, or some thousand call signals. */
export const MAX_WAITING_BYTES = 4 * 2 ** 20;
/** A lane with more waiting than this is served newest first: see open-queue.ts. */
export const IN_ORDER_WAITING = 4;
/** Encrypted values that were found to be junk, remembered so that a repetition costs a hash: 150 bytes each. */
export const MAX_REMEMBERED_JUNK = 1024;
/** Sealed values that reached the application, remembered so that it hears of each once: 150 bytes each. */
export const MAX_REMEMBERED_VALUES = 1024;

/**
 * Certificates kept. Known: of devices of accounts that the station looks for by itself or is told to know; strangers'
 * are counted apart, so that no number of them pushes a known one out. About 8 KB each.
 */
export const MAX_KNOWN_CERTIFICATES = 256;
export const MAX_STRANGER_CERTIFICATES = 16;
/**
 * Somebody may have published a certificate of his own for a contact's device, and been first: what was found for a stranger
 * is believed for this long.
 */
export const STRANGER_FRESH_MS = 60_000;
/** Running certificate look-ups, counted in the same two groups. */
export const MAX_KNOWN_LOOKUPS = 32;
export const MAX_STRANGER_LOOKUPS = 8;
/** Examined in one look-up; a storing node that sends more wants to keep us busy with signatures. */
export const MAX_CERTIFICATES_PER_LOOKUP = 32;
/** Opened values of one author that wait for the author's certificate. */
export const MAX_WAITING_PER_AUTHOR = 8;

/** Accounts whose devices are remembered. */
export const MAX_KNOWN_ACCOUNTS = 128;
/** Devices of one account. Its own signature is needed for each, so only the account itself can fill this. */
export const MAX_DEVICES_PER_ACCOUNT = 16;
/** Values examined in one search for devices: anybody may put at an account's id. */
export const MAX_ANNOUNCEMENTS_PER_SEARCH = 256;
/** Younger than this, remembered devices are the answer; older, they are the first answer while a search runs. */
export const DEVICES_FRESH_MS = 60_000;
/** Older than this they are not reported any more before the DHT has confirmed them. */
export const DEVICES_STALE_MS = 24 * 3600_000;
