import type { InfoHash } from './infohash.ts';
import type { SelectedFields } from './query.ts';
import type { Query } from './value.ts';

/**
 * The messages of the DHT (opendht.md 4 and 5). One datagram is one msgpack map:
 *
 *   query   { a: {id, …}, q: method, t: tid, y: "q", v?, n?, s? }
 *   reply   { r: {id, …}, t: tid, y: "r", v?, n?, s? }
 *   error   { e: [code, text], r: {id}, t: tid, y: "e", v?, n? }
 *   part    { n?, s?, y: "p", t: tid, p: { index: {o: offset, d: bytes} } }
 *   update of the old style  { u: {id, token, re | exp}, y: "r", v?, n?, t: sid }
 *
 * Here are the shapes; `message-encode.ts` and `message-decode.ts` turn them into bytes and back.
 */

/** What every datagram carries. */
export interface Envelope {
  readonly tid: number;
  /** 0 is the main network and is not written. */
  readonly network?: number;
  /** The sender is a client only and wants no place in routing tables. */
  readonly client?: boolean;
  /** Name of the program; informative only. */
  readonly version?: string | undefined;
}

/**
 * One entry of `values`: a packed value, or in place of it its announced size, when the value itself comes in parts
 * (opendht.md 6). Not yet looked at: one may be unreadable while its neighbours are fine.
 */
export type WireValue = Uint8Array | number;

interface FromNode extends Envelope {
  /** Node id of the sender. */
  readonly id: InfoHash;
}

export interface PingQuery extends FromNode {
  readonly type: 'ping';
}

export interface FindQuery extends FromNode {
  readonly type: 'find';
  readonly target: InfoHash;
  /** Wanted families in the numbers of Linux; absent: that of the transport. */
  readonly want?: readonly number[] | undefined;
}

export interface GetQuery extends FromNode {
  readonly type: 'get';
  readonly key: InfoHash | undefined;
  readonly query?: Query | undefined;
  readonly want?: readonly number[] | undefined;
}

export interface PutQuery extends FromNode {
  readonly type: 'put';
  readonly key: InfoHash | undefined;
  readonly values: readonly WireValue[];
  /** Creation time, unix seconds. */
  readonly created?: number | undefined;
  readonly token?: Uint8Array | undefined;
}

export interface RefreshQuery extends FromNode {
  readonly type: 'refresh';
  readonly key: InfoHash | undefined;
  readonly valueId: bigint;
  readonly token?: Uint8Array | undefined;
}

export interface ListenQuery extends FromNode {
  readonly type: 'listen';
  /** 1: pushes are `update` queries. 0: the old style. */
  readonly style: number;
  readonly key: InfoHash | undefined;
  readonly token?: Uint8Array | undefined;
  readonly sid: number;
  readonly query?: Query | undefined;
}

/** The content of a push to a listener. */
export interface Changes {
  readonly values?: readonly WireValue[] | undefined;
  readonly refreshed?: readonly bigint[] | undefined;
  readonly expired?: readonly bigint[] | undefined;
}

export interface UpdateQuery extends FromNode, Changes {
  readonly type: 'update';
  readonly style: number;
  readonly key?: InfoHash | undefined;
  readonly sid: number;
  readonly created?: number | undefined;
  readonly token?: Uint8Array | undefined;
}

export interface Reply extends FromNode {
  readonly type: 'reply';
  readonly valueId?: bigint | undefined;
  /** Address of the asker as the answerer sees it: 4 or 16 bytes. */
  readonly seenIp?: Uint8Array | undefined;
  /** Compact node lists (opendht.md 14). */
  readonly nodes4?: Uint8Array | undefined;
  readonly nodes6?: Uint8Array | undefined;
  readonly token?: Uint8Array | undefined;
  readonly values?: readonly WireValue[] | undefined;
  readonly fields?: SelectedFields | undefined;
}

export interface ErrorReply extends Envelope {
  readonly type: 'error';
  readonly code: number;
  readonly text: string;
  readonly id: InfoHash | undefined;
}

/** A push of the old style other than new values, which come as a `Reply` (opendht.md 9.5). `tid` is the sid. */
export interface OldUpdate extends FromNode, Changes {
  readonly type: 'old-update';
  readonly token?: Uint8Array | undefined;
}

export interface PartPiece {
  /** Position in `values` of the header. */
  readonly index: number;
  readonly offset: number;
  readonly data: Uint8Array;
}

/** A datagram with a piece of a value that its header announced by size. `tid` is that of the header. */
export interface PartMessage extends Envelope {
  readonly type: 'part';
  readonly pieces: readonly PartPiece[];
}

export type QueryMessage =
  | PingQuery
  | FindQuery
  | GetQuery
  | PutQuery
  | RefreshQuery
  | ListenQuery
  | UpdateQuery;

export type Message = QueryMessage | Reply | ErrorReply | OldUpdate | PartMessage;

/** Numbers of the families in `w`, as Linux has them (opendht.md 21.2). */
export const WANT_IPV4 = 2;
export const WANT_IPV6 = 10;

/** Codes of error replies (opendht.md 7). The texts are never compared. */
export const ERROR_CODE = { badRequest: 203, unauthorized: 401, notFound: 404 } as const;
