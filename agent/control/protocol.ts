import * as v from 'valibot';
import {
  type AgentEvent,
  type CallSnapshot,
  type CommandResult,
  type MessageRecord,
  RIGHTS,
} from '../events.ts';
import { DHT_PARAMS, type DhtResults } from './dht-protocol.ts';
import type { Wire } from './wire-case.ts';

/**
 * What goes over the control socket: methods with their parameters and results, and notifications. Everything on the wire
 * is snake_case. The schemas check what comes in; clients import only types from here.
 */

const text = (maxLength: number) =>
  v.pipe(
    v.string(),
    v.minLength(1, 'must not be empty'),
    v.maxLength(maxLength, `has at most ${maxLength} characters`),
  );
/** A contact's name or a 40-digit id. */
const peer = text(64);
const callId = v.optional(text(64));
const nothing = v.strictObject({});

/** Parameters of each method. */
export const CONTROL_PARAMS = {
  /** → IdResult */
  id: nothing,
  /** → VersionResult */
  version: nothing,
  /** → StatusResult */
  status: nothing,
  /** → ContactResult. Fails as `Contacts.add`, which also says what a name and an id look like. */
  'contact.add': v.strictObject({
    name: text(64),
    id: text(64),
    can: v.optional(v.array(v.picklist(RIGHTS)), ['ring']),
  }),
  /** → ContactListResult */
  'contact.list': nothing,
  /** → {}. Fails with `no-such-contact`, `contact-in-config` (to be removed there). */
  'contact.remove': v.strictObject({ name: peer }),
  /**
   * → CommandResult: `accepted` with `data.call_id`, or why not. Progress comes as events.
   * `audio: stream`: this client is the sound device of the call (notification `audio`); when it disconnects the call ends.
   * `for_ms`: the station hangs up that long after it was answered.
   */
  call: v.strictObject({
    to: peer,
    audio: v.optional(v.picklist(['station', 'stream']), 'station'),
    for_ms: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(86_400_000))),
  }),
  /** → CommandResult. Without `call_id`: the one call that rings here. */
  answer: v.strictObject({ call_id: callId }),
  /** → CommandResult. Without `call_id`: every call. */
  hangup: v.strictObject({ call_id: callId }),
  /** → CommandResult: `accepted` with `data.message_id`; its way comes as `message` events. */
  send: v.strictObject({ to: peer, text: text(16_384) }),
  /** → MessagesResult: the last ones, oldest first. */
  messages: v.strictObject({
    limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000)), 100),
  }),
  /** → {}. From now on each event comes as a notification `event`; only those of `types` when given. */
  'events.subscribe': v.strictObject({
    types: v.optional(v.pipe(v.array(text(64)), v.maxLength(64))),
  }),
  ...DHT_PARAMS,
} as const;

export type ControlMethod = keyof typeof CONTROL_PARAMS;
/** What a client sends. */
export type ControlInput<M extends ControlMethod> = v.InferInput<(typeof CONTROL_PARAMS)[M]>;
/** What a handler gets: checked, with defaults. */
export type ControlParams<M extends ControlMethod> = v.InferOutput<(typeof CONTROL_PARAMS)[M]>;

export interface IdResult {
  /** 40 hex digits. */
  readonly id: string;
}

export interface VersionResult {
  readonly version: string;
  /** `process.version` */
  readonly node: string;
}

export interface ContactResult {
  readonly name: string;
  readonly id: string;
  readonly can: readonly string[];
  /** Where it is kept: the configuration file, or the station's own list. */
  readonly source: 'config' | 'station';
}

export interface ContactListResult {
  readonly contacts: readonly ContactResult[];
}

export interface MessagesResult {
  readonly messages: readonly Wire<MessageRecord>[];
}

export interface StatusResult {
  /** What runs: everything, or `run --dht-only`, which has no id, MQTT, sound and calls. */
  readonly mode: 'station' | 'dht-only';
  readonly pid: number;
  readonly version: string;
  readonly node: string;
  /** Account id, 40 hex digits. */
  readonly id?: string;
  readonly uptime_s: number;
  /** Path of the state folder. */
  readonly state: string;
  readonly dht: {
    /** Node id, 40 hex digits. */
    readonly id: string;
    /** `127.0.0.1:4222`, the port as it is bound. */
    readonly address: string;
    readonly network: number;
    readonly state: 'disconnected' | 'connecting' | 'connected';
    readonly peers4: number;
    readonly peers6: number;
  };
  readonly mqtt?: {
    readonly mode: 'off' | 'embedded' | 'client';
    readonly url: string;
    readonly connected: boolean;
  };
  readonly audio?: { readonly description: string; readonly state: string };
  readonly calls?: readonly Wire<CallSnapshot>[];
  readonly memory: { readonly rss_bytes: number };
  /** Sizes and counters of each part. */
  readonly stats: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export interface ControlResults extends DhtResults {
  readonly id: IdResult;
  readonly version: VersionResult;
  readonly status: StatusResult;
  readonly 'contact.add': ContactResult;
  readonly 'contact.list': ContactListResult;
  readonly 'contact.remove': Readonly<Record<string, never>>;
  readonly call: CommandResult;
  readonly answer: CommandResult;
  readonly hangup: CommandResult;
  readonly send: CommandResult;
  readonly messages: MessagesResult;
  readonly 'events.subscribe': Readonly<Record<string, never>>;
}

/** An event as it is on the wire: notification `event`, its params. */
export type WireEvent = Wire<AgentEvent>;
