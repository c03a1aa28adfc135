import { createHash } from 'node:crypto';
import { BoundedMap } from '../base/bounded.ts';
import type { Millis } from '../base/clock.ts';
import { TokenBucket } from '../base/token-bucket.ts';
import type { AgentCommand, CommandResult } from '../events.ts';
import { type DecodedCommand, type ReplyAddress, resultMessage } from './command.ts';
import {
  COMMAND_BURST,
  COMMAND_EVERY_MS,
  COMMAND_ID_MS,
  COMMAND_IDS,
  COMMAND_TIMEOUT_MS,
  COMMANDS_RUNNING,
} from './limits.ts';
import type { OutgoingMessage } from './message.ts';

/** What the gate says to one delivery. */
export type Verdict =
  | { readonly kind: 'run'; readonly ticket: number; readonly command: AgentCommand }
  /** Do not act. `answer` is undefined when nobody asked, or when the first delivery will be answered anyway. */
  | {
      readonly kind: 'refuse';
      readonly code: CommandResult['code'];
      readonly answer: OutgoingMessage | undefined;
    };

interface Running {
  readonly command: AgentCommand;
  readonly id: string | undefined;
  readonly reply: ReplyAddress | undefined;
  readonly startedAt: Millis;
}

/** A command that acted, or acts: its id is taken. */
interface Taken {
  readonly fingerprint: string;
  readonly takenAt: Millis;
  done: { readonly result: CommandResult; readonly tookMs: Millis } | undefined;
}

/**
 * The memory in front of the commands: an id acts once, commands are rate-limited, and one that nobody finishes is
 * answered all the same. No clock; `now` is monotonic ms.
 */
export class CommandGate {
  readonly #running = new Map<number, Running>();
  readonly #taken = new BoundedMap<string, Taken>(COMMAND_IDS);
  readonly #rate = new TokenBucket(COMMAND_BURST, COMMAND_EVERY_MS);
  #nextTicket = 1;
  #timedOut = 0;
  #repeated = 0;

  admit(decoded: DecodedCommand, now: Millis): Verdict {
    const withinRate = this.#rate.take(now);
    if (decoded.kind === 'refusal') {
      return refusal(decoded.result, decoded.reply);
    }
    const { command, id, reply } = decoded;
    const taken = id === undefined ? undefined : this.#lookUp(id, now);
    if (taken !== undefined) {
      this.#repeated++;
      return this.#repeat(taken, decoded, withinRate);
    }
    if (!withinRate) {
      return refusal({ code: 'rate_limited', message: 'too many commands, wait a moment' }, reply);
    }
    if (this.#running.size >= COMMANDS_RUNNING) {
      return refusal({ code: 'busy', message: 'too many commands are in progress' }, reply);
    }
    const ticket = this.#nextTicket++;
    this.#running.set(ticket, { command, id, reply, startedAt: now });
    if (id !== undefined) {
      this.#taken.set(id, { fingerprint: fingerprint(command), takenAt: now, done: undefined });
    }
    return { kind: 'run', ticket, command };
  }

  /** @returns the answer to publish, if one was asked for; undefined as well for a ticket that timed out before */
  complete(ticket: number, result: CommandResult, now: Millis): OutgoingMessage | undefined {
    const running = this.#running.get(ticket);
    if (running === undefined) return undefined;
    this.#running.delete(ticket);
    const tookMs = now - running.startedAt;
    const taken = running.id === undefined ? undefined : this.#taken.get(running.id);
    if (taken !== undefined) taken.done = { result, tookMs };
    return running.reply === undefined ? undefined : resultMessage(running.reply, result, tookMs);
  }

  /** Answers for the commands that nobody finished in time. */
  timeout(now: Millis): OutgoingMessage[] {
    const answers: OutgoingMessage[] = [];
    for (const [ticket, { startedAt }] of this.#running) {
      if (now < startedAt + COMMAND_TIMEOUT_MS) break;
      this.#timedOut++;
      const result = { code: 'internal', message: 'the station did not answer in time' } as const;
      const answer = this.complete(ticket, result, now);
      if (answer !== undefined) answers.push(answer);
    }
    return answers;
  }

  nextTimeout(): Millis {
    const [oldest] = this.#running.values();
    return oldest === undefined ? Number.POSITIVE_INFINITY : oldest.startedAt + COMMAND_TIMEOUT_MS;
  }

  stats(): Readonly<Record<string, number>> {
    return {
      running: this.#running.size,
      idsTaken: this.#taken.size,
      idsForgotten: this.#taken.evicted,
      repeated: this.#repeated,
      timedOut: this.#timedOut,
    };
  }

  #lookUp(id: string, now: Millis): Taken | undefined {
    // Entries are in the order they were taken, so the expired ones are in front.
    for (const [oldId, { takenAt }] of this.#taken.entries()) {
      if (now < takenAt + COMMAND_ID_MS) break;
      this.#taken.delete(oldId);
    }
    return this.#taken.get(id);
  }

  #repeat(
    taken: Taken,
    decoded: Extract<DecodedCommand, { kind: 'command' }>,
    withinRate: boolean,
  ): Verdict {
    if (taken.fingerprint !== fingerprint(decoded.command)) {
      return refusal(
        { code: 'replayed', message: 'this id was used by another command' },
        decoded.reply,
      );
    }
    const silent = { kind: 'refuse', code: 'replayed', answer: undefined } as const;
    // Still in progress: its one result is to come. In a flood: it has been given.
    if (taken.done === undefined || decoded.reply === undefined || !withinRate) return silent;
    return {
      ...silent,
      answer: resultMessage(decoded.reply, taken.done.result, taken.done.tookMs),
    };
  }
}

function refusal(result: CommandResult, reply: ReplyAddress | undefined): Verdict {
  const answer = reply === undefined ? undefined : resultMessage(reply, result, 0);
  return { kind: 'refuse', code: result.code, answer };
}

/** What makes two commands the same; `ts` is not part of it, so that a retry may carry a new one. */
function fingerprint(command: AgentCommand): string {
  return createHash('sha256').update(JSON.stringify(command)).digest('base64');
}
