import { BoundedMap } from '../base/bounded.ts';
import { utf8 } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { MessageEvent, MessageRecord } from '../events.ts';
import { MESSAGE_LIMITS } from './message-limits.ts';
import type { TextMessage } from './text-message.ts';

/** Who wrote: an account of the contact table and the device whose signature was checked. */
export interface MessageAuthor {
  readonly peer: string;
  readonly accountId: string;
  readonly deviceId: string;
}

export type MessagesOutput =
  /** Put `message` for every device of the account, kept alive until `forget`. */
  | { readonly type: 'put'; readonly accountId: string; readonly message: TextMessage }
  /** Confirmed or given up: stop keeping it alive. */
  | { readonly type: 'forget'; readonly id: bigint }
  /** Tell the author's device that we have it. */
  | { readonly type: 'acknowledge'; readonly author: MessageAuthor; readonly id: bigint }
  | { readonly type: 'event'; readonly event: MessageEvent };

interface Outgoing {
  record: MessageRecord;
  readonly id: bigint;
  readonly expires: Millis;
}

/**
 * Text to and from contacts: what was sent and is not confirmed yet, what was seen already, and the last messages for
 * people to read. No media, no network: drain `poll` after every call. `now` is monotonic ms.
 *
 * A message of ours goes queued → sent (a storing node has it) → delivered (the other device said so) or failed.
 */
export class Messages {
  readonly #random: Random;
  readonly #outputs: MessagesOutput[] = [];
  readonly #outgoing = new Map<bigint, Outgoing>();
  readonly #seen = new BoundedMap<string, true>(MESSAGE_LIMITS.seenIds);
  readonly #arrivals = new BoundedMap<string, { windowStart: Millis; count: number }>(
    MESSAGE_LIMITS.rateEntries,
  );
  /** Oldest first, at most MESSAGE_LIMITS.history. */
  #list: readonly MessageRecord[] = [];
  readonly #dropped = { repeated: 0, tooLong: 0, rateLimited: 0, unknownAck: 0 };

  /** @param history messages of earlier runs, oldest first */
  constructor(options: { readonly random: Random; readonly history?: readonly MessageRecord[] }) {
    this.#random = options.random;
    for (const record of options.history ?? []) {
      // What was under way when the last run ended cannot be confirmed any more.
      const open = record.state === 'queued' || record.state === 'sent';
      this.#remember(open ? { ...record, state: 'failed', reason: 'restarted' } : record);
    }
  }

  /**
   * @throws {AgentError} `message-empty`, `message-too-long`, `too-many-messages`
   */
  send(
    to: { peer: string; accountId: string },
    text: string,
    now: Millis,
    unixMs: number,
  ): MessageRecord {
    const bytes = utf8(text).length;
    if (bytes === 0) throw new AgentError('message-empty', 'the message has no text');
    if (bytes > MESSAGE_LIMITS.textBytes) {
      throw new AgentError(
        'message-too-long',
        `the message has ${bytes} bytes, at most ${MESSAGE_LIMITS.textBytes} fit`,
      );
    }
    if (this.#outgoing.size >= MESSAGE_LIMITS.outgoing) {
      throw new AgentError(
        'too-many-messages',
        `${this.#outgoing.size} messages wait to be confirmed`,
        'try again when some of them are delivered',
      );
    }
    // Jami's ids: 1 … 2^53 (jami.md 3.3, 10.1).
    const id = ((BigInt(this.#random.uint32()) << 21n) | BigInt(this.#random.uint32() >>> 11)) + 1n;
    const record: MessageRecord = {
      messageId: id.toString(16).padStart(16, '0'),
      peer: to.peer,
      accountId: to.accountId,
      state: 'queued',
      text,
      unixMs,
    };
    this.#outgoing.set(id, { record, id, expires: now + MESSAGE_LIMITS.lifetimeMs });
    this.#remember(record);
    this.#emit(record);
    this.#outputs.push({
      type: 'put',
      accountId: to.accountId,
      message: { kind: 'text', id, text, dateUnixS: Math.floor(unixMs / 1000) },
    });
    return record;
  }

  /** A storing node took the value of `id`. */
  stored(id: bigint): void {
    const outgoing = this.#outgoing.get(id);
    if (outgoing?.record.state === 'queued') this.#update(outgoing, { state: 'sent' });
  }

  /** The value of `id` cannot reach anybody: no device was found, or no node took it. */
  failed(id: bigint, reason: string): void {
    const outgoing = this.#outgoing.get(id);
    if (outgoing !== undefined) this.#close(outgoing, { state: 'failed', reason });
  }

  /** A text or an acknowledgement of a contact, signature checked. */
  receive(author: MessageAuthor, message: TextMessage, now: Millis, unixMs: number): void {
    if (message.kind === 'ack') {
      const outgoing = this.#outgoing.get(message.id);
      if (outgoing === undefined || outgoing.record.accountId !== author.accountId) {
        this.#dropped.unknownAck++;
      } else {
        this.#close(outgoing, { state: 'delivered' });
      }
      return;
    }
    if (utf8(message.text).length > MESSAGE_LIMITS.textBytes) {
      this.#dropped.tooLong++;
      return;
    }
    const key = `${author.accountId}:${message.id}`;
    if (this.#seen.has(key)) {
      this.#dropped.repeated++;
      // Perhaps our acknowledgement was lost, or another device of theirs repeats: confirm again.
      if (this.#admit(author.accountId, now)) this.#acknowledge(author, message.id);
      return;
    }
    if (!this.#admit(author.accountId, now)) {
      this.#dropped.rateLimited++;
      return;
    }
    this.#seen.set(key, true);
    const record: MessageRecord = {
      messageId: message.id.toString(16).padStart(16, '0'),
      peer: author.peer,
      accountId: author.accountId,
      state: 'received',
      text: message.text,
      unixMs,
    };
    this.#remember(record);
    this.#emit(record);
    this.#acknowledge(author, message.id);
  }

  timeout(now: Millis): void {
    for (const outgoing of [...this.#outgoing.values()]) {
      if (outgoing.expires <= now) this.#close(outgoing, { state: 'failed', reason: 'expired' });
    }
  }

  nextTimeout(): Millis {
    let next = Number.POSITIVE_INFINITY;
    for (const { expires } of this.#outgoing.values()) next = Math.min(next, expires);
    return next;
  }

  poll(): MessagesOutput | undefined {
    return this.#outputs.shift();
  }

  /** The last messages, oldest first. */
  list(): readonly MessageRecord[] {
    return this.#list;
  }

  stats(): Readonly<Record<string, number>> {
    return {
      outgoing: this.#outgoing.size,
      outgoingLimit: MESSAGE_LIMITS.outgoing,
      history: this.#list.length,
      historyLimit: MESSAGE_LIMITS.history,
      seen: this.#seen.size,
      ...this.#dropped,
    };
  }

  #admit(accountId: string, now: Millis): boolean {
    const entry = this.#arrivals.get(accountId);
    if (entry === undefined || now - entry.windowStart >= MESSAGE_LIMITS.rateWindowMs) {
      this.#arrivals.set(accountId, { windowStart: now, count: 1 });
      return true;
    }
    entry.count++;
    return entry.count <= MESSAGE_LIMITS.ratePerWindow;
  }

  #acknowledge(author: MessageAuthor, id: bigint): void {
    this.#outputs.push({ type: 'acknowledge', author, id });
  }

  #close(outgoing: Outgoing, change: Pick<MessageRecord, 'state' | 'reason'>): void {
    this.#outgoing.delete(outgoing.id);
    this.#update(outgoing, change);
    this.#outputs.push({ type: 'forget', id: outgoing.id });
  }

  #update(outgoing: Outgoing, change: Pick<MessageRecord, 'state' | 'reason'>): void {
    const record = { ...outgoing.record, ...change };
    this.#list = this.#list.map((entry) => (entry === outgoing.record ? record : entry));
    outgoing.record = record;
    this.#emit(record);
  }

  #remember(record: MessageRecord): void {
    this.#list = [...this.#list, record].slice(-MESSAGE_LIMITS.history);
  }

  #emit(record: MessageRecord): void {
    this.#outputs.push({ type: 'event', event: { type: 'message', message: record } });
  }
}
