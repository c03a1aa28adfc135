/**
 * Text between two devices as a DHT value of type 3, in the form that Jami devices of the 2023 release read (jami.md 10.2):
 *
 *   { id: uint, msg: str, date: uint unix seconds, status: uint, datatype: str, metadatas: {} }
 *
 * `datatype` is `text/plain` for a text and empty for an acknowledgement of the same `id`.
 */
export interface Text {
  readonly kind: 'text';
  /** 1 … 2^53, chosen by the writer. */
  readonly id: bigint;
  readonly text: string;
  readonly dateUnixS: number;
}

export interface Acknowledgement {
  readonly kind: 'ack';
  readonly id: bigint;
}

export type TextMessage = Text | Acknowledgement;
