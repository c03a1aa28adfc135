import type { Address } from './address.ts';
import type { Millis } from './clock.ts';

/** What an engine wants done: a datagram sent, or an event handed up. A packet is good until the engine is called again. */
export type EngineOutput<Event> =
  | { readonly type: 'send'; readonly to: Address; readonly packet: Uint8Array }
  | { readonly type: 'event'; readonly event: Event };

/**
 * Every protocol core over datagrams has this shape. Driving contract: after every call, an operation of the
 * engine's own included, drain `poll` until it gives `undefined`, then arm one timer for `nextTimeout`.
 * `now` is monotonic ms, read once per turn.
 */
export interface Engine<Event> {
  /** Feed one datagram. Hostile bytes are counted and dropped, never thrown. */
  receive(packet: Uint8Array, from: Address, now: Millis): void;
  /** Run whatever is due. */
  timeout(now: Millis): void;
  /** Next moment `timeout` wants to run; Infinity when idle. */
  nextTimeout(): Millis;
  /** Next output, or undefined. */
  poll(): EngineOutput<Event> | undefined;
}
