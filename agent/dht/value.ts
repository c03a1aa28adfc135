import type { InfoHash } from './infohash.ts';

/** Well-known value types (opendht.md 11). */
export const VALUE_TYPE = {
  userData: 0,
  dhtMessage: 1,
  ipService: 2,
  imMessage: 3,
  trustRequest: 4,
  iceCandidates: 5,
  certificate: 8,
} as const;

/** A plain or signed value: its body is readable by every storing node. */
export interface PlainValue {
  readonly kind: 'plain';
  /** 64 bit, never 0 once stored. */
  readonly id: bigint;
  readonly type: number;
  readonly data: Uint8Array;
  readonly userType?: string;
  /** Together or not at all: who signed, and what. */
  readonly signed?: SignedPart;
  /** `p`, outside the signature. */
  readonly priority?: number;
  /** `pt`, outside the signature. */
  readonly pushType?: string;
}

export interface SignedPart {
  /** DER SubjectPublicKeyInfo of the signer. */
  readonly owner: Uint8Array;
  /** 16 bit. */
  readonly seq: number;
  /** Short key id of the recipient, for values that were encrypted. */
  readonly to?: InfoHash;
  readonly signature: Uint8Array;
}

/** An encrypted value: nobody but the holder of the key knows what is inside. */
export interface EncryptedValue {
  readonly kind: 'encrypted';
  readonly id: bigint;
  readonly cypher: Uint8Array;
  readonly priority?: number;
  readonly pushType?: string;
}

export type Value = PlainValue | EncryptedValue;

/** One equality of a query; all must hold (opendht.md 12). */
export type Filter =
  | { readonly field: 'id'; readonly value: bigint }
  | { readonly field: 'type'; readonly value: number }
  | { readonly field: 'owner'; readonly value: InfoHash }
  | { readonly field: 'userType'; readonly value: string };

export type Field = 'id' | 'type' | 'owner' | 'seq' | 'userType';

export interface Query {
  readonly where: readonly Filter[];
  /** Empty: whole values. */
  readonly select: readonly Field[];
}
