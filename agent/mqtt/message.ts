/** What goes over the wire, free of any client library. */

/** A publish of ours. All are QoS 1. */
export interface OutgoingMessage {
  readonly topic: string;
  readonly payload: string;
  readonly retain: boolean;
  /** MQTT 5 Correlation Data, echoed. */
  readonly correlationData?: Uint8Array;
}

/** A publish as the broker delivered it. */
export interface IncomingMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  /**
   * From the broker's store, or, where Retain As Published is in force (MQTT 5), published live with the retain bit set.
   */
  readonly retain: boolean;
  /** MQTT 5 only. */
  readonly responseTopic?: string;
  readonly correlationData?: Uint8Array;
}
