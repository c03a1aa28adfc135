import type { Clock, Millis } from '../base/clock.ts';
import type { Environment } from '../config/paths.ts';
import type { ControlConnection } from '../control/client.ts';

/** Everything that a command touches: the real one in `process.ts`, in tests one in memory. */
export interface World {
  readonly environment: Environment;
  /** Relative paths count from here. */
  readonly workingFolder: string;
  readonly clock: Clock;
  /** What was asked for. */
  stdout(text: string): void;
  /** The same, byte by byte. */
  stdoutBytes(bytes: Uint8Array): void;
  /** Everything else. */
  stderr(text: string): void;
  /** Standard input to its end. @throws {AgentError} `message-too-long` */
  stdinBytes(): Promise<Uint8Array>;
  alarm(callback: () => void): Alarm;
  /** Ctrl-C or SIGTERM: `listener` instead of the end of the process. @returns how to stop listening */
  onInterrupt(listener: () => void): () => void;
  /** @throws {AgentError} `not-running`, `control-denied` */
  connect(path: string): Promise<ControlConnection>;
  /** Start a station of our own as a child. */
  startStation(options: StationOptions): Promise<PrivateStation>;
  readonly sound: SoundFiles;
  /** Id of the identity in a state folder, made if there is none. @throws {AgentError} from the keystore */
  identity(state: string, onProgress: (sentence: string) => void): Promise<string>;
  /** config/doorward.yaml */
  exampleConfig(): Promise<string>;
  /** @throws the system's error */
  readFile(path: string): Promise<string>;
  /** Never overwrites. @throws {AgentError} `cannot-write` */
  createFile(path: string, text: string): Promise<void>;
}

/** One re-armable timer on the world's clock; `WakeUp` is the real one. */
export interface Alarm {
  arm(deadline: Millis): void;
  disarm(): void;
}

export async function sleep(world: World, ms: Millis): Promise<void> {
  await new Promise<void>((resolve) => world.alarm(resolve).arm(world.clock.now() + ms));
}

export interface StationOptions {
  /** Only a node of the DHT: `run --dht-only`. */
  readonly dhtOnly: boolean;
  readonly configFile: string | undefined;
  /** `--set` of `run`, beside the control socket, which is private. */
  readonly settings: readonly string[];
  /** What the station logs. */
  readonly onLog: (text: string) => void;
}

export interface PrivateStation {
  readonly connection: ControlConnection;
  stop(): Promise<void>;
}

/** WAV files as the voice path wants them: 48 kHz, mono, frames of 20 ms. */
export interface SoundFiles {
  /** @throws {AgentError} `audio-unusable` */
  open(path: string): Promise<SoundReader>;
  /** @param onFailure called once when the disk fails later on. @throws {AgentError} `audio-unusable` */
  create(path: string, onFailure: (reason: string) => void): Promise<SoundWriter>;
}

export interface SoundReader {
  /** Frames until its end; silence comes after it. */
  readonly frames: number;
  /** Fill one frame. */
  read(frame: Int16Array): void;
}

export interface SoundWriter {
  /** One frame, which is copied. */
  write(frame: Int16Array): void;
  close(): Promise<void>;
}
