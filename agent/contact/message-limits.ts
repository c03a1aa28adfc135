/** Bounds of text messages. */
export const MESSAGE_LIMITS = {
  /** Bytes of one text. Fits, sealed to one device, in a handful of value parts. */
  textBytes: 4096,
  /** Messages of ours that wait to be confirmed; each is a permanent put per device of the contact. */
  outgoing: 32,
  /** How long we keep trying. Nodes drop an encrypted value after 10 minutes; we put it again until then. */
  lifetimeMs: 3_600_000,
  /** Ids of received messages that are remembered to drop repeats. */
  seenIds: 1024,
  /** Messages kept for people to read. */
  history: 500,
  /** More than `history` texts of full length in JSON: a larger file is not ours. */
  fileBytes: 16 * 1024 * 1024,
  /** A contact may write this many messages … */
  ratePerWindow: 30,
  /** … in this time; what comes faster is dropped and counted. */
  rateWindowMs: 60_000,
  /** Contacts whose rate is watched: more than a house has. Of the others the one that wrote longest ago begins anew. */
  rateEntries: 256,
} as const;
