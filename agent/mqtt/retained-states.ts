import { BoundedMap } from '../base/bounded.ts';
import type { AgentEvent, CallSnapshot } from '../events.ts';
import { TRACKED_CALLS } from './limits.ts';
import { encodeCallState, encodeNetState } from './payload.ts';
import type { Topics } from './topics.ts';

/** What is retained about the station: the newest payload of each topic, and which of them the broker does not have yet. */
export class RetainedStates {
  readonly #topics: Topics;
  /** Filled from a fixed set of topics only. */
  readonly #payloads = new Map<string, string>();
  /** To be sent, in this order. */
  readonly #unsent = new Set<string>();
  readonly #calls = new BoundedMap<string, CallSnapshot>(TRACKED_CALLS);
  #unchanged = 0;

  /**
   * @param info   payload of `info`, the first to go out
   * @param unixMs wall clock ms: since when there is no call
   */
  constructor(topics: Topics, info: string, unixMs: number) {
    this.#topics = topics;
    this.set(topics.info, info);
    this.set(topics.callState, encodeCallState(undefined, unixMs));
    this.set(topics.netState, encodeNetState({ state: 'disconnected', peers4: 0, peers6: 0 }));
  }

  /** @param unixMs wall clock ms of `event` */
  update(event: AgentEvent, unixMs: number): void {
    switch (event.type) {
      case 'call.phase':
        this.#trackCall(event.call, event.call.phase === 'idle', unixMs);
        break;
      case 'call.ended':
      case 'call.missed':
      case 'call.rejected':
      case 'call.failed':
        this.#trackCall(event.call, true, unixMs);
        break;
      case 'dht.state':
        this.set(this.#topics.netState, encodeNetState(event));
        break;
      case 'audio.state':
        this.set(this.#topics.audioState, event.state);
        break;
      case 'call.incoming':
      case 'call.ringing':
      case 'call.answered':
      case 'message':
      case 'security':
      case 'system':
        break;
      default:
        event satisfies never;
    }
  }

  set(topic: string, payload: string): void {
    if (this.#payloads.get(topic) === payload) {
      this.#unchanged++;
      return;
    }
    this.#payloads.set(topic, payload);
    this.#unsent.add(topic);
  }

  /** The broker may have none of them: every one is to be sent again. */
  resend(): void {
    for (const topic of this.#payloads.keys()) this.#unsent.add(topic);
  }

  /** The next one to send, which counts as sent. */
  take(): { readonly topic: string; readonly payload: string } | undefined {
    const [topic] = this.#unsent;
    if (topic === undefined) return undefined;
    this.#unsent.delete(topic);
    return { topic, payload: this.#payloads.get(topic) ?? '' };
  }

  stats(): Readonly<Record<string, number>> {
    return {
      states: this.#payloads.size,
      statesUnchanged: this.#unchanged,
      callsTracked: this.#calls.size,
      callsForgotten: this.#calls.evicted,
    };
  }

  /** `call/state` shows the call that changed last, and `idle` only when none is left. */
  #trackCall(call: CallSnapshot, over: boolean, unixMs: number): void {
    if (!over) this.#calls.set(call.callId, call);
    else if (!this.#calls.delete(call.callId)) return;
    const shown = [...this.#calls.values()].at(-1);
    this.set(this.#topics.callState, encodeCallState(shown, unixMs));
  }
}
