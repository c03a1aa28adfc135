import type { Clock } from './base/clock.ts';
import type { Logger } from './base/log.ts';
import type { Random } from './base/random.ts';
import type { SystemdNotifier } from './systemd.ts';

/** What the process gives to the assembly, and gets from it (types only). */

export interface StationDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly systemd: SystemdNotifier;
  /** It ends with the command that started it. */
  readonly isForOneCommand: boolean;
  /** One sentence for the person who waits for the first start: making keys takes minutes on a small board. */
  readonly onProgress: (sentence: string) => void;
}

/** What was bound and found, for the lines that `run` prints. */
export type ReadyInfo = StationReady | NodeReady;

/** Of a node of the DHT alone. */
export interface NodeReady {
  readonly mode: 'dht-only';
  /** Node id, 40 hex digits. */
  readonly id: string;
  /** `127.0.0.1:4222` */
  readonly dht: string;
}

export interface StationReady {
  readonly mode: 'station';
  /** 40 hex digits. */
  readonly id: string;
  /** `127.0.0.1:4222` */
  readonly dht: string;
  /** For a person: `own broker at mqtt://127.0.0.1:1883`, `mqtts://broker:8883`, `off`. */
  readonly mqtt: string;
  /** For a person: `ALSA default`, or the stand-in and why. */
  readonly sound: string;
}

export interface Station {
  readonly ready: ReadyInfo;
  /** End calls, say goodbye, close everything. Idempotent, takes less than 2 s. */
  stop(): Promise<void>;
}
