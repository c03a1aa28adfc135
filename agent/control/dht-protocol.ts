import * as v from 'valibot';

/**
 * The DHT over the control socket: methods `dht.…`, and the notification `dht.value` for what a get or listen finds. A value
 * goes as base64, its id in decimal: 64 bits are more than a number of JSON holds.
 */

/** Reference numbers of values: 1 to 2^64 - 1. */
const valueId = v.pipe(
  v.string(),
  v.regex(/^[1-9]\d{0,19}$/, 'must be a decimal number from 1'),
  v.check((text) => BigInt(text) < 1n << 64n, 'must be below 2^64'),
);
/** 40 hex digits. Text is hashed by the client (opendht.md 2). */
const key = v.pipe(v.string(), v.regex(/^[0-9a-f]{40}$/, 'must be 40 hex digits'));
const nothing = v.strictObject({});
/** A value is at most 64 KiB (opendht.md 6.4); in base64 a third more. */
const MAX_BASE64_CHARS = 4 * Math.ceil(65_536 / 3);
const data = v.pipe(
  v.string(),
  v.maxLength(MAX_BASE64_CHARS, 'is more than the 64 KiB that one value holds'),
  v.regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, 'must be base64'),
);
/** Text form of the reference's tools: `id=5,value_type=3,owner_pk=<hex>,user_type=x` (opendht.md 12). */
const where = v.optional(v.pipe(v.string(), v.maxLength(1024)));
/** The client's own number for a get or listen, free again when that is over. */
const stream = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0x7fff_ffff));

const content = {
  key,
  data,
  id: v.optional(valueId),
  type: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff)), 0),
  user_type: v.optional(v.pipe(v.string(), v.maxLength(256))),
  /** Announced again before it expires, for as long as the station runs or until `dht.cancel_put`. */
  permanent: v.optional(v.boolean(), false),
} as const;

/** Parameters of each method. */
export const DHT_PARAMS = {
  /**
   * → DhtGetResult when the search is over. Until then each value comes as a notification `dht.value`.
   * Fails with `bad-query`, `too-many-streams`.
   */
  'dht.get': v.strictObject({ stream, key, where }),
  /** → {}. From now on each value that is there, comes or goes is a `dht.value`. Fails as `dht.get`. */
  'dht.listen': v.strictObject({ stream, key, where }),
  /** → {}. Ends a get or listen of this client; its end of the connection does the same. */
  'dht.stop': v.strictObject({ stream }),
  /** → DhtPutResult, when all nodes that were asked have answered or are lost. Fails with `too-many-puts`. */
  'dht.put': v.strictObject(content),
  /** → DhtPutResult. Signed by this station; with the id of a value that it signed before it replaces that. */
  'dht.put_signed': v.strictObject(content),
  /**
   * → DhtSealedResult: signed, and sealed to each device of `to`: short (40 hex digits) or long id (64) of a device, name
   * or account id of a contact. Fails with `no-such-device`.
   */
  'dht.put_encrypted': v.strictObject({
    ...content,
    to: v.pipe(v.string(), v.minLength(1, 'must not be empty'), v.maxLength(64)),
  }),
  /** → {}. Announce a permanent value no longer. Fails with `no-such-put`. */
  'dht.cancel_put': v.strictObject({ key, id: valueId }),
  /** → DhtPingResult. Fails with `bad-address`, `no-answer`. */
  'dht.ping': v.strictObject({
    host: v.pipe(v.string(), v.minLength(1), v.maxLength(253)),
    port: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)),
  }),
  /** → DhtNodesResult: the routing tables, IPv4 first, by bucket. */
  'dht.nodes': nothing,
  /** → DhtStatsResult */
  'dht.stats': nothing,
} as const;

/** A value that a get or listen found: what is known of it, and of who wrote it. */
export interface DhtValue {
  /** 64 bit, decimal. */
  readonly id: string;
  /** Absent where it cannot be read: of encrypted values. */
  readonly type?: number;
  /** base64; absent as `type`. */
  readonly data?: string;
  readonly user_type?: string;
  /** Of a signed value. */
  readonly signed?: {
    /** Short id of the key that is said to have signed it, 40 hex digits. */
    readonly by: string;
    readonly seq: number;
    /** Short id of the recipient, where one is named. */
    readonly to?: string;
    /** Whether that key did. */
    readonly signature: 'good' | 'bad';
  };
  /** Of an encrypted value: `opened` with this station's key, and then signed, too; or why not. */
  readonly encrypted?: 'opened' | 'not-for-us' | 'broken' | 'not-tried';
}

/** Notification `dht.value`. */
export interface DhtFound {
  readonly stream: number;
  readonly value: DhtValue;
  /** Of a listen: the last node that had it has dropped it. */
  readonly expired: boolean;
}

export interface DhtGetResult {
  /** Values that were handed on. */
  readonly values: number;
  /** Found, but this client read too slowly for them. */
  readonly dropped: number;
}

export interface DhtPutResult {
  /** 64 bit, decimal. */
  readonly id: string;
  /** Nodes that said that they store it. */
  readonly acknowledged: number;
}

export interface DhtSealedResult {
  /** One value for each device. */
  readonly puts: readonly (DhtPutResult & {
    /** Long id of the device, 64 hex digits. */
    readonly device: string;
  })[];
}

export interface DhtPingResult {
  /** Node id, 40 hex digits. */
  readonly id: string;
  /** `127.0.0.1:4222` */
  readonly address: string;
  readonly rtt_ms: number;
}

export interface DhtNodeResult {
  readonly id: string;
  readonly address: string;
  /** good: answered lately. dubious: may be there. expired: did not answer. */
  readonly state: 'good' | 'dubious' | 'expired';
  /** Seconds since anything came from it; absent: nothing ever did. */
  readonly heard_s?: number;
  /** How many leading bits of our id its bucket shares. */
  readonly bucket: number;
}

export interface DhtNodesResult {
  /** Our own node id. */
  readonly id: string;
  readonly nodes: readonly DhtNodeResult[];
}

export interface DhtStatsResult {
  readonly id: string;
  /** What is held, beside the most that it can be. */
  readonly sizes: readonly { readonly name: string; readonly size: number; readonly cap: number }[];
  readonly counters: Readonly<Record<string, number>>;
}

export interface DhtResults {
  readonly 'dht.get': DhtGetResult;
  readonly 'dht.listen': Readonly<Record<string, never>>;
  readonly 'dht.stop': Readonly<Record<string, never>>;
  readonly 'dht.put': DhtPutResult;
  readonly 'dht.put_signed': DhtPutResult;
  readonly 'dht.put_encrypted': DhtSealedResult;
  readonly 'dht.cancel_put': Readonly<Record<string, never>>;
  readonly 'dht.ping': DhtPingResult;
  readonly 'dht.nodes': DhtNodesResult;
  readonly 'dht.stats': DhtStatsResult;
}
