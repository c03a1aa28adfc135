import { type Clock, type Moment, readClock, WakeUp } from './base/clock.ts';
import { errorText } from './base/errors.ts';
import type { JsonFile } from './base/json-file.ts';
import type { Logger } from './base/log.ts';
import { type MessageFile, messageFile } from './contact/message-store.ts';
import type { MessageAuthor, Messages, MessagesOutput } from './contact/messages.ts';
import type { TextMessage } from './contact/text-message.ts';
import type { MessageEvent, MessageRecord } from './events.ts';

/** How texts reach other devices. `SealedPost` does it over the DHT. */
export interface TextPost {
  /**
   * Keep `message` in the inbox of each device of the account until `forget`. `onStored` when a node has it, `onFailed` when
   * nobody can be reached.
   */
  keep(
    accountId: string,
    message: TextMessage,
    onStored: () => void,
    onFailed: (reason: string) => void,
  ): void;
  forget(id: bigint): void;
  acknowledge(deviceId: string, id: bigint): void;
}

export interface MessageDeskOptions {
  readonly messages: Messages;
  readonly store: JsonFile<MessageFile>;
  readonly post: TextPost;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onEvent: (event: MessageEvent) => void;
}

/** Changes that follow each other are written once: an SD card counts its writes. */
const SAVE_DELAY_MS = 2_000;

/** Drives `Messages`: hands its outputs to the post, the file and the events, and what those say back to it. */
export class MessageDesk {
  readonly #options: MessageDeskOptions;
  readonly #timer: WakeUp;
  readonly #saveTimer: WakeUp;
  #unsaved = false;
  #saving: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: MessageDeskOptions) {
    this.#options = options;
    this.#timer = new WakeUp(options.clock, () => {
      this.#run((messages, at) => messages.timeout(at.now));
    });
    this.#saveTimer = new WakeUp(options.clock, () => void this.#save());
  }

  /** @throws {AgentError} as `Messages.send` */
  send(to: { peer: string; accountId: string }, text: string): MessageRecord {
    return this.#run((messages, at) => messages.send(to, text, at.now, at.unixMs));
  }

  receive(author: MessageAuthor, message: TextMessage): void {
    // Confirmed and then forgotten, it would be lost; so it comes again.
    if (this.#isStopped) return;
    this.#run((messages, at) => messages.receive(author, message, at.now, at.unixMs));
  }

  list(): readonly MessageRecord[] {
    return this.#options.messages.list();
  }

  stats(): Readonly<Record<string, number>> {
    return this.#options.messages.stats();
  }

  /** Write what is not written yet. Afterwards nothing is received and nothing changes any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer.disarm();
    this.#saveTimer.disarm();
    await this.#save();
  }

  #run<Result>(input: (messages: Messages, at: Moment) => Result): Result {
    const { messages, clock } = this.#options;
    const result = input(messages, readClock(clock));
    for (let out = messages.poll(); out !== undefined; out = messages.poll()) this.#carryOut(out);
    this.#timer.arm(messages.nextTimeout());
    return result;
  }

  /** What the post says: at the end of the station it fails whatever is under way, which is no news. */
  #heard(input: (messages: Messages) => void): void {
    if (!this.#isStopped) this.#run(input);
  }

  #carryOut(output: MessagesOutput): void {
    const { post, onEvent, clock } = this.#options;
    switch (output.type) {
      case 'put': {
        const { id } = output.message;
        post.keep(
          output.accountId,
          output.message,
          () => this.#heard((messages) => messages.stored(id)),
          (reason) => this.#heard((messages) => messages.failed(id, reason)),
        );
        break;
      }
      case 'forget':
        post.forget(output.id);
        break;
      case 'acknowledge':
        post.acknowledge(output.author.deviceId, output.id);
        break;
      case 'event':
        this.#unsaved = true;
        this.#saveTimer.arm(clock.now() + SAVE_DELAY_MS);
        onEvent(output.event);
        break;
      default:
        output satisfies never;
    }
  }

  #save(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#write());
    return this.#saving;
  }

  /** Never rejects. */
  async #write(): Promise<void> {
    if (!this.#unsaved) return;
    this.#unsaved = false;
    try {
      await this.#options.store.save(messageFile(this.list()));
    } catch (error) {
      this.#unsaved = true; // the next change, or the end, tries again
      this.#options.log.warn('messages are not kept', { why: errorText(error) });
    }
  }
}
