/** Bounds of the control socket, per station unless said otherwise. */
export const CONTROL_LIMITS = {
  /** People and programs at one station; each may hold the buffers below. */
  clients: 16,
  /** Longest line from a client: a message of 16 KiB of text with every byte escaped, or half a second of sound. */
  inputLineBytes: 128 * 1024,
  /** Longest line from the station, read by the client: a long list of messages. */
  outputLineBytes: 4 * 1024 * 1024,
  /** Requests of one client that are not answered yet. */
  pendingRequests: 32,
  /** Bytes waiting for a client that reads slowly: some eight seconds of sound. Over it the client is dropped. */
  unsentBytes: 1024 * 1024,
  /** Gets and listens on the DHT of one client at a time. */
  dhtStreams: 16,
  /** A client with this much unread gets no further values of the DHT until it has read it. */
  dhtUnsentBytes: 256 * 1024,
  /** Values found on the DHT that wait for clients, of all clients together: anybody may have put 4096 large ones. */
  dhtWaitingBytes: 8 * 1024 * 1024,
  /** Permanent values announced for commands; each is put again every few minutes. */
  dhtPermanentPuts: 256,
  /** Lines that are no JSON-RPC before a client is dropped: it speaks something else. */
  invalidLines: 16,
  /** 20 ms frames in one `audio` notification. */
  audioFrames: 25,
} as const;
