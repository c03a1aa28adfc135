import { BoundedQueue } from '../base/bounded.ts';
import type { Millis, Moment } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { ulid } from '../base/ulid.ts';
import type { AgentCommand, AgentEvent, CommandResult, ResultCode } from '../events.ts';
import { decodeCommand } from './command.ts';
import { CommandGate } from './command-gate.ts';
import { EventQueue } from './event-queue.ts';
import {
  INFLIGHT_PUBLISHES,
  LATE_AFTER_MS,
  QUEUED_EVENTS,
  QUEUED_RESULTS,
  READ_BACK_MS,
  STOP_TIMEOUT_MS,
} from './limits.ts';
import type { IncomingMessage, OutgoingMessage } from './message.ts';
import {
  type ClockState,
  clockStateOf,
  encodeEvent,
  encodeInfo,
  eventBody,
  type Privacy,
  type StationInfo,
} from './payload.ts';
import { RetainedStates } from './retained-states.ts';
import type { Topics } from './topics.ts';

export interface BridgeOptions {
  readonly topics: Topics;
  readonly info: StationInfo;
  readonly privacy: Privacy;
  readonly random: Random;
  /** What is known of the wall clock beyond its own plausibility. */
  readonly clockState?: (unixMs: Millis) => ClockState;
}

/** What the bridge wants done. */
export type BridgeOutput =
  /** `storedToo` false: retained messages are not wanted (MQTT 5 Retain Handling 2), and the retain bit of live ones is. */
  | { readonly type: 'subscribe'; readonly filter: string; readonly storedToo: boolean }
  | { readonly type: 'unsubscribe'; readonly filter: string }
  /** QoS 1; report its acknowledgement with `settled(token)`. */
  | { readonly type: 'publish'; readonly token: number; readonly message: OutgoingMessage }
  /** Carry out a command; report with `completed(ticket)`. */
  | { readonly type: 'run'; readonly ticket: number; readonly command: AgentCommand }
  /** For the log. */
  | { readonly type: 'refused'; readonly topic: string; readonly code: ResultCode }
  | { readonly type: 'store_lost' }
  /** After `stop`, once. `clean`: the broker has acknowledged `offline`. */
  | { readonly type: 'stopped'; readonly clean: boolean };

/** What a publish in flight carries. */
type Cargo = 'state' | 'online' | 'offline' | 'event' | 'result';

type Phase = 'offline' | 'connected' | 'stopping' | 'stopped';

/** The last will: what the broker publishes for a station that died. */
export function willOf(topics: Topics): OutgoingMessage {
  return { topic: topics.availability, payload: 'offline', retain: true };
}

/**
 * Between the station and one broker: what to publish, in which order, what to keep while there is no connection, and
 * which commands to let in. No socket, timer or clock; after every call drain `poll`, then arm one timer for
 * `nextTimeout`. After CONNACK the order on the wire is: subscribe, every retained state, `online`, then whatever
 * waited.
 */
export class MqttBridge {
  readonly #options: BridgeOptions;
  readonly #topics: Topics;
  readonly #gate = new CommandGate();
  readonly #states: RetainedStates;
  readonly #events = new EventQueue(QUEUED_EVENTS);
  readonly #results = new BoundedQueue<OutgoingMessage>(QUEUED_RESULTS, 'drop-oldest');
  readonly #inflight = new Map<number, Cargo>();
  readonly #outputs: BridgeOutput[] = [];
  #phase: Phase = 'offline';
  #window = INFLIGHT_PUBLISHES;
  #announced = false;
  #storeToCheck = false;
  #infoClock: ClockState;
  #nextToken = 1;
  #seq = 0;
  #readBackBy: Millis = Number.POSITIVE_INFINITY;
  #stopBy: Millis = Number.POSITIVE_INFINITY;
  readonly #counters = {
    published: 0,
    acknowledged: 0,
    publishesRefused: 0,
    eventsLate: 0,
    commands: 0,
    storesLost: 0,
  };
  readonly #refusals = new Map<ResultCode, number>();

  constructor(options: BridgeOptions, start: Moment) {
    this.#options = options;
    this.#topics = options.topics;
    this.#infoClock = this.#clock(start);
    const info = encodeInfo(options.info, this.#infoClock);
    this.#states = new RetainedStates(options.topics, info, start.unixMs);
  }

  /** Something happened in the station. */
  publish(event: AgentEvent, moment: Moment): void {
    if (this.#phase === 'stopping' || this.#phase === 'stopped') return;
    this.#refreshInfo(moment);
    this.#states.update(event, moment.unixMs);
    const body = eventBody(this.#topics, event, this.#options.privacy);
    if (body !== undefined) {
      const envelope = {
        id: ulid(moment.unixMs, this.#options.random),
        seq: ++this.#seq,
        unixMs: moment.unixMs,
        clock: this.#clock(moment),
      };
      this.#events.push({ body, envelope, happenedAt: moment.now });
    }
    this.#pump(moment);
  }

  /**
   * The broker took our CONNECT.
   * @param receiveMaximum how many unacknowledged publishes it takes, if it said so (MQTT 5)
   */
  connected(receiveMaximum: number | undefined, moment: Moment): void {
    if (this.#phase === 'stopped') return;
    this.#phase = 'connected';
    this.#window = Math.min(INFLIGHT_PUBLISHES, receiveMaximum ?? INFLIGHT_PUBLISHES);
    this.#refreshInfo(moment);
    this.#announce();
    this.#storeToCheck = true;
    this.#outputs.push({ type: 'subscribe', filter: this.#topics.commands, storedToo: false });
    this.#pump(moment);
  }

  /** The connection is gone; nothing of it is acknowledged any more. */
  disconnected(moment: Moment): void {
    this.#inflight.clear();
    this.#events.rewind();
    this.#readBackBy = Number.POSITIVE_INFINITY;
    if (this.#phase === 'connected') this.#phase = 'offline';
    if (this.#phase === 'stopping') this.#finishStop(false);
    this.#pump(moment);
  }

  /** @param accepted false when the broker refused this publish (MQTT 5 reason code): asking again would not help */
  settled(token: number, accepted: boolean, moment: Moment): void {
    const cargo = this.#inflight.get(token);
    if (cargo === undefined) return;
    this.#inflight.delete(token);
    if (accepted) this.#counters.acknowledged++;
    else this.#counters.publishesRefused++;
    switch (cargo) {
      case 'event':
        this.#events.settle(token);
        break;
      case 'online':
        if (this.#storeToCheck) this.#readBack(moment);
        break;
      case 'offline':
        this.#finishStop(accepted);
        break;
      case 'state':
      case 'result':
        break;
      default:
        cargo satisfies never;
    }
    this.#pump(moment);
  }

  /** A publish was delivered. Hostile ones are counted and refused, never thrown. */
  received(message: IncomingMessage, moment: Moment): void {
    if (this.#phase !== 'connected') return;
    if (message.topic === this.#topics.info) {
      if (message.retain && message.payload.length > 0) this.#endReadBack();
      return;
    }
    const clock = this.#clock(moment);
    const decoded = decodeCommand(this.#topics, message, moment.unixMs, clock);
    if (decoded === undefined) {
      this.#countRefusal('unknown_verb', message.topic);
      return;
    }
    const verdict = this.#gate.admit(decoded, moment.now);
    if (verdict.kind === 'run') {
      this.#counters.commands++;
      this.#outputs.push({ type: 'run', ticket: verdict.ticket, command: verdict.command });
    } else {
      this.#countRefusal(verdict.code, message.topic);
      if (verdict.answer !== undefined) this.#results.push(verdict.answer);
    }
    this.#pump(moment);
  }

  /** A command was carried out, or refused by the station. */
  completed(ticket: number, result: CommandResult, moment: Moment): void {
    const answer = this.#gate.complete(ticket, result, moment.now);
    // Offline nobody waits for it any more; a result that comes late would only puzzle.
    if (answer !== undefined && this.#phase === 'connected') this.#results.push(answer);
    this.#pump(moment);
  }

  /** Say `offline` and wait, not for long, until the broker has it. Ends in exactly one `stopped`. */
  stop(moment: Moment): void {
    if (this.#phase === 'stopping' || this.#phase === 'stopped') return;
    if (this.#phase === 'offline') {
      this.#finishStop(false);
      return;
    }
    this.#pump(moment);
    this.#phase = 'stopping';
    this.#stopBy = moment.now + STOP_TIMEOUT_MS;
    // Past the window: what is left must leave now, in order, with `offline` behind it.
    this.#window = Number.POSITIVE_INFINITY;
    this.#pump(moment);
    this.#send('offline', willOf(this.#topics));
  }

  timeout(moment: Moment): void {
    if (moment.now >= this.#stopBy) this.#finishStop(false);
    if (moment.now >= this.#readBackBy) {
      this.#endReadBack();
      this.#counters.storesLost++;
      this.#outputs.push({ type: 'store_lost' });
      this.#announce();
    }
    for (const answer of this.#gate.timeout(moment.now)) {
      if (this.#phase === 'connected') this.#results.push(answer);
    }
    this.#pump(moment);
  }

  nextTimeout(): Millis {
    // A command still in progress must not keep a stopped station alive.
    if (this.#phase === 'stopped') return Number.POSITIVE_INFINITY;
    return Math.min(this.#readBackBy, this.#stopBy, this.#gate.nextTimeout());
  }

  poll(): BridgeOutput | undefined {
    return this.#outputs.shift();
  }

  stats(): Readonly<Record<string, number>> {
    return {
      ...this.#counters,
      events: this.#seq,
      eventsQueued: this.#events.size,
      eventsDropped: this.#events.dropped,
      resultsQueued: this.#results.size,
      resultsDropped: this.#results.dropped,
      inflight: this.#inflight.size,
      ...this.#states.stats(),
      ...this.#gate.stats(),
      ...Object.fromEntries([...this.#refusals].map(([code, n]) => [`refused_${code}`, n])),
    };
  }

  #clock({ unixMs }: Moment): ClockState {
    const plausible = clockStateOf(unixMs);
    return plausible === 'unset' ? plausible : (this.#options.clockState?.(unixMs) ?? plausible);
  }

  #refreshInfo(moment: Moment): void {
    const clock = this.#clock(moment);
    if (clock === this.#infoClock) return;
    this.#infoClock = clock;
    this.#states.set(this.#topics.info, encodeInfo(this.#options.info, clock));
  }

  /** Everything retained goes out again, `online` last. */
  #announce(): void {
    this.#states.resend();
    this.#announced = false;
  }

  /** Once per connection, ask for our own `info`: a broker that has it keeps a store. */
  #readBack(moment: Moment): void {
    this.#storeToCheck = false;
    this.#readBackBy = moment.now + READ_BACK_MS;
    this.#outputs.push({ type: 'subscribe', filter: this.#topics.info, storedToo: true });
  }

  #endReadBack(): void {
    if (this.#readBackBy === Number.POSITIVE_INFINITY) return;
    this.#readBackBy = Number.POSITIVE_INFINITY;
    this.#outputs.push({ type: 'unsubscribe', filter: this.#topics.info });
  }

  #finishStop(clean: boolean): void {
    this.#phase = 'stopped';
    this.#stopBy = Number.POSITIVE_INFINITY;
    this.#readBackBy = Number.POSITIVE_INFINITY;
    this.#outputs.push({ type: 'stopped', clean });
  }

  #countRefusal(code: ResultCode, topic: string): void {
    this.#refusals.set(code, (this.#refusals.get(code) ?? 0) + 1);
    this.#outputs.push({ type: 'refused', topic, code });
  }

  /** Publish what waits, as far as the window allows: states, `online`, results, events. */
  #pump(moment: Moment): void {
    if (this.#phase !== 'connected' && this.#phase !== 'stopping') return;
    while (this.#inflight.size < this.#window && this.#sendNext(moment));
  }

  #sendNext(moment: Moment): boolean {
    const state = this.#states.take();
    if (state !== undefined) {
      this.#send('state', { ...state, retain: true });
      return true;
    }
    if (!this.#announced) {
      this.#announced = true;
      this.#send('online', { topic: this.#topics.availability, payload: 'online', retain: true });
      return true;
    }
    const result = this.#results.shift();
    if (result !== undefined) {
      this.#send('result', result);
      return true;
    }
    const event = this.#events.take(this.#nextToken);
    if (event === undefined) return false;
    const late = moment.now - event.happenedAt > LATE_AFTER_MS;
    if (late) this.#counters.eventsLate++;
    this.#send('event', encodeEvent(event.body, event.envelope, late));
    return true;
  }

  #send(cargo: Cargo, message: OutgoingMessage): void {
    const token = this.#nextToken++;
    this.#inflight.set(token, cargo);
    this.#counters.published++;
    this.#outputs.push({ type: 'publish', token, message });
  }
}
