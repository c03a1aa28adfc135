import {
  type AudioDevice,
  type AudioSession,
  FRAME_MS,
  FRAME_SAMPLES,
  SAMPLE_RATE_HZ,
} from './device.ts';
import { Pacer, systemTiming, type Timing } from './pace.ts';

/** Ding, dong: E5 and C5, struck and dying away, then a pause. */
const NOTES = [
  { hz: 659.26, atS: 0 },
  { hz: 523.25, atS: 0.5 },
] as const;
const PERIOD_S = 3;
const DECAY_PER_S = 4;
const ATTACK_S = 0.005;
/** −14 dB below full scale for one note. */
const AMPLITUDE = 6500;

/** One period of the chime, made once. */
function makeChime(): Int16Array {
  return Int16Array.from({ length: PERIOD_S * SAMPLE_RATE_HZ }, (_, i) => {
    let sum = 0;
    for (const { hz, atS } of NOTES) {
      const t = i / SAMPLE_RATE_HZ - atS;
      if (t < 0) continue;
      const envelope = Math.min(1, t / ATTACK_S) * Math.exp(-DECAY_PER_S * t);
      sum += AMPLITUDE * envelope * Math.sin(2 * Math.PI * hz * t);
    }
    return Math.round(sum);
  });
}

/** Rings on a device until stopped. What its microphone hears meanwhile goes nowhere. */
export class RingTone {
  readonly #session: AudioSession;
  readonly #pacer: Pacer;
  readonly #chime = makeChime();
  #position = 0;

  private constructor(session: AudioSession, timing: Timing) {
    this.#session = session;
    this.#pacer = new Pacer(timing, FRAME_MS, () => this.#write());
    session.start(
      () => {},
      () => {},
    );
    this.#pacer.start();
  }

  /** @throws {AgentError} `audio-unusable`, as `open` of the device */
  static async start(device: AudioDevice, timing: Timing = systemTiming): Promise<RingTone> {
    return new RingTone(await device.open(), timing);
  }

  /** Idempotent; resolves when the device is free for the call. */
  async stop(): Promise<void> {
    this.#pacer.stop();
    await this.#session.close();
  }

  #write(): void {
    this.#session.write(this.#chime.subarray(this.#position, this.#position + FRAME_SAMPLES));
    this.#position = (this.#position + FRAME_SAMPLES) % this.#chime.length;
  }
}
