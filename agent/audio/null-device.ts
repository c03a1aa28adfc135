import type { AudioDevice, AudioSession } from './device.ts';
import type { Timing } from './pace.ts';
import { NOWHERE, PacedSession, SILENCE } from './paced-session.ts';

/** Says silence and keeps nothing, in real time. */
export class NullDevice implements AudioDevice {
  readonly description = 'none (silence)';
  readonly state = 'ok';
  readonly #timing: Timing;

  constructor(timing: Timing) {
    this.#timing = timing;
  }

  async open(): Promise<AudioSession> {
    return new PacedSession({ source: SILENCE, sink: NOWHERE, timing: this.#timing });
  }
}
