// Loaded on first use otherwise, which takes turns of the event loop that nobody counts.
import '../../agent/config/file.ts';
import { AgentError } from '../../agent/base/errors.ts';
import { runCli } from '../../agent/cli/cli.ts';
import type { ExitCode } from '../../agent/cli/exit-codes.ts';
import type { Alarm, PrivateStation, StationOptions, World } from '../../agent/cli/world.ts';
import type { ControlConnection } from '../../agent/control/client.ts';
import type { DhtFound, DhtValue } from '../../agent/control/dht-protocol.ts';
import type {
  ControlInput,
  ControlMethod,
  ControlResults,
  WireEvent,
} from '../../agent/control/protocol.ts';
import type { ControlHandlers } from '../../agent/control/server.ts';
import { fakeHandlers } from '../control/fake-station.ts';

/** A station without a socket: scripted handlers, events and sound on demand. */
export class FakeStation implements ControlConnection {
  readonly requests: { method: string; params: object }[] = [];
  readonly heard: Int16Array[] = [];
  isClosed = false;
  #handlers: ControlHandlers;
  #onEvent: (event: WireEvent) => void = () => {};
  #onFound: (found: DhtFound) => void = () => {};
  #onAudio: (pcm: Int16Array) => void = () => {};
  #onLost: (error: AgentError) => void = () => {};

  constructor(handlers: Partial<ControlHandlers> = {}) {
    this.#handlers = fakeHandlers(handlers);
  }

  async request<M extends ControlMethod>(
    method: M,
    params: ControlInput<M>,
  ): Promise<ControlResults[M]> {
    this.requests.push({ method, params });
    const handlers: Record<string, (params: object) => Promise<unknown>> = {
      ...(this.#handlers as object),
      'events.subscribe': async () => ({}),
    };
    return (await handlers[method]?.(params)) as ControlResults[M];
  }

  onEvent(listener: (event: WireEvent) => void): void {
    this.#onEvent = listener;
  }
  onFound(listener: (found: DhtFound) => void): void {
    this.#onFound = listener;
  }
  onAudio(listener: (pcm: Int16Array) => void): void {
    this.#onAudio = listener;
  }
  onLost(listener: (error: AgentError) => void): void {
    this.#onLost = listener;
  }
  sendAudio(pcm: Int16Array): void {
    this.heard.push(pcm);
  }
  close(): void {
    this.isClosed = true;
  }

  emit(event: WireEvent): void {
    this.#onEvent(event);
  }
  find(value: DhtValue, expired = false): void {
    this.#onFound({ stream: 1, value, expired });
  }
  speak(pcm: Int16Array): void {
    this.#onAudio(pcm);
  }
  die(): void {
    this.#onLost(new AgentError('station-lost', 'the connection to the station ended'));
  }
}

/** Everything a command touches, in memory, on a clock that only moves when nothing else can. */
export class FakeWorld implements World {
  readonly environment: Record<string, string> = { HOME: '/home/pi' };
  readonly workingFolder = '/srv';
  out = '';
  err = '';
  now = 0;
  input: string | Uint8Array = '';
  readonly outBytes: Uint8Array[] = [];
  /** Stations by control socket. */
  readonly stations = new Map<string, FakeStation | AgentError>();
  /** What `startStation` gives. */
  privateStation = new FakeStation();
  readonly started: StationOptions[] = [];
  privateStopped = 0;
  readonly files = new Map<string, string>();
  /** Frames of the WAV that `--play` names; each frame is filled with its number. */
  playFrames = 0;
  readonly recorded: number[] = [];
  recordingClosed = false;
  interrupt: () => void = () => {};
  /** What happens by itself, at a time. */
  readonly #alarms = new Set<{ deadline: number; callback: () => void }>();

  readonly clock = { now: () => this.now, unixMs: () => 1_700_000_000_000 + this.now };

  /** The station at the default socket. */
  constructor(station?: FakeStation) {
    if (station !== undefined) {
      this.stations.set('/home/pi/.local/state/doorward/control.sock', station);
    }
  }

  stdout(text: string): void {
    this.out += text;
  }
  stdoutBytes(bytes: Uint8Array): void {
    this.outBytes.push(bytes);
  }
  stderr(text: string): void {
    this.err += text;
  }
  async stdinBytes(): Promise<Uint8Array> {
    return typeof this.input === 'string' ? new TextEncoder().encode(this.input) : this.input;
  }
  alarm(callback: () => void): Alarm {
    const entry = { deadline: 0, callback };
    return {
      arm: (deadline) => {
        this.#alarms.delete(entry);
        entry.deadline = deadline;
        if (deadline !== Number.POSITIVE_INFINITY) this.#alarms.add(entry);
      },
      disarm: () => {
        this.#alarms.delete(entry);
      },
    };
  }
  at(ms: number, callback: () => void): void {
    this.alarm(callback).arm(ms);
  }
  onInterrupt(listener: () => void): () => void {
    this.interrupt = listener;
    return () => {
      this.interrupt = () => {};
    };
  }
  async connect(path: string): Promise<ControlConnection> {
    const station = this.stations.get(path);
    if (station instanceof FakeStation) return station;
    throw station ?? new AgentError('not-running', `no station answers at ${path}`);
  }
  async startStation(options: StationOptions): Promise<PrivateStation> {
    this.started.push(options);
    return {
      connection: this.privateStation,
      stop: async () => {
        this.privateStopped++;
      },
    };
  }
  readonly sound = {
    open: async (path: string) => {
      if (path !== 'in.wav') throw new AgentError('audio-unusable', `${path} is not a WAV file`);
      let next = 0;
      return { frames: this.playFrames, read: (frame: Int16Array) => void frame.fill(++next) };
    },
    create: async (path: string) => {
      if (path !== 'out.wav') throw new AgentError('audio-unusable', `${path} cannot be written`);
      return {
        write: (frame: Int16Array) => void this.recorded.push(frame[0] ?? 0),
        close: async () => {
          this.recordingClosed = true;
        },
      };
    },
  };
  async identity(state: string, onProgress: (sentence: string) => void): Promise<string> {
    onProgress(`making a new identity in ${state}`);
    return 'c3'.repeat(20);
  }
  async exampleConfig(): Promise<string> {
    return '# every key explained\n';
  }
  async readFile(path: string): Promise<string> {
    const text = this.files.get(path);
    if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    return text;
  }
  async createFile(path: string, text: string): Promise<void> {
    this.files.set(path, text);
  }

  /** Run a command to its end, moving the clock from alarm to alarm. */
  async run(...argv: string[]): Promise<ExitCode> {
    let exit: ExitCode | undefined;
    const running = runCli(argv, this).then((code) => {
      exit = code;
    });
    let failure: unknown;
    running.catch((error: unknown) => {
      failure = error;
    });
    // Between alarms promises settle.
    for (let turns = 0; exit === undefined && failure === undefined && turns < 200; turns++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      const next = [...this.#alarms].sort((a, b) => a.deadline - b.deadline)[0];
      if (turns % 10 !== 9 || next === undefined) continue;
      turns = 0;
      this.#alarms.delete(next);
      this.now = Math.max(this.now, next.deadline);
      next.callback();
    }
    if (failure !== undefined) throw failure;
    if (exit === undefined) throw new Error(`"${argv.join(' ')}" waits for what never comes`);
    return exit;
  }
}
