import { chmod, lstat, mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { systemClock, WakeUp } from '../base/clock.ts';
import { AgentError, errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { AgentEvent } from '../events.ts';
import { encodeAudio } from './audio.ts';
import { connectSocket } from './client.ts';
import type { DhtResults } from './dht-protocol.ts';
import { encodeNotification, type RpcId } from './json-rpc.ts';
import { CONTROL_LIMITS } from './limits.ts';
import type { ControlMethod, ControlParams, ControlResults } from './protocol.ts';
import { type ControlCall, ControlSession } from './session.ts';
import { toWire } from './wire-case.ts';

/** One connected client, as handlers see it. */
export interface ControlPeer {
  /** Distinct among all clients of this run. */
  readonly id: number;
  /** Sound from the client: 48 kHz mono, one or more whole frames, the listener's to keep. Replaces the last listener. */
  onAudio(listener: ((pcm: Int16Array) => void) | undefined): void;
  /** Sound to the client. @returns false when it is gone, or was dropped because it reads too slowly */
  sendAudio(pcm: Int16Array): boolean;
  /** A notification to the client. @returns false as `sendAudio` */
  notify(method: string, params: object): boolean;
  /** Bytes that it has not read yet; over CONTROL_LIMITS.unsentBytes it is dropped. */
  readonly unsentBytes: number;
  /** Called when it has read them all. Several may listen. */
  onDrain(listener: () => void): void;
  /** Called once when the client is gone, however; at once if it is already. */
  onClose(listener: () => void): void;
}

/** A handler rejects with AgentError to tell the client; any other rejection is logged as our own error. */
export type ControlHandlers = {
  readonly [M in Exclude<ControlMethod, 'events.subscribe'>]: (
    params: ControlParams<M>,
    client: ControlPeer,
  ) => Promise<ControlResults[M]>;
};

/** What a station answers, and a node of the DHT alone does not. */
export type StationHandlers = Omit<ControlHandlers, keyof DhtResults>;
export type DhtHandlers = Pick<ControlHandlers, keyof DhtResults>;

export interface ControlServerOptions {
  readonly path: string;
  /** A method without one is refused: `not-offered`. */
  readonly handlers: Partial<ControlHandlers>;
  readonly logger: Logger;
}

/** How long a client may take to read its last lines when the station stops. */
const FLUSH_MS = 200;

/** Driver: the Unix socket of the station. Requests are answered, events broadcast to who subscribed. */
export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #clients = new Set<Client>();
  #server: Server | undefined;
  #nextId = 1;
  readonly #counters = { connected: 0, refused: 0, tooSlow: 0, invalid: 0, requests: 0 };

  constructor(options: ControlServerOptions) {
    this.#options = options;
  }

  /**
   * Make the folder (0700) where there is none, and listen. The socket of a station that died is replaced.
   * @throws {AgentError} `already-running` when a station answers there, `control-unusable` when nobody can listen there
   */
  async start(): Promise<void> {
    const { path } = this.#options;
    const server = createServer((socket) => this.#accept(socket));
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await removeStaleSocket(path);
      await listen(server, path);
      await chmod(path, 0o600); // the station's own user and root
    } catch (error) {
      server.close();
      if (error instanceof AgentError) throw error;
      throw new AgentError(
        'control-unusable',
        `the control socket ${path} cannot be made: ${errorText(error)}`,
        'name a path in a folder of the user that runs doorward with "control:"',
        { cause: error },
      );
    }
    server.on('error', (error) => {
      this.#options.logger.warn('cannot accept a client', { reason: errorText(error) });
    });
    this.#server = server;
  }

  broadcast(event: AgentEvent): void {
    let line: string | undefined;
    for (const client of this.#clients) {
      if (!client.session.wantsEvent(event.type)) continue;
      line ??= encodeNotification('event', toWire(event));
      client.write(line);
    }
  }

  stats(): Readonly<Record<string, number>> {
    return { clients: this.#clients.size, clientsLimit: CONTROL_LIMITS.clients, ...this.#counters };
  }

  /** Close every connection and remove the socket. Idempotent. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const clients = [...this.#clients];
    for (const client of clients) client.socket.destroySoon();
    const giveUp = new WakeUp(systemClock, () => {
      for (const client of clients) client.socket.destroy();
    });
    giveUp.arm(systemClock.now() + FLUSH_MS);
    await closed;
    giveUp.disarm();
  }

  #accept(socket: Socket): void {
    if (this.#clients.size >= CONTROL_LIMITS.clients) {
      this.#counters.refused++;
      socket.destroy();
      return;
    }
    this.#counters.connected++;
    const client = new Client(this.#nextId++, socket, () => this.#tooSlow(client));
    this.#clients.add(client);
    socket.on('data', (chunk) => {
      client.session.receive(chunk);
      this.#drain(client);
    });
    // Without a listener an error of the socket would end the process; 'close' follows.
    socket.on('error', (error) => {
      this.#options.logger.debug('client lost', { client: client.id, reason: errorText(error) });
    });
    socket.on('drain', () => client.drained());
    socket.on('close', () => {
      this.#clients.delete(client);
      client.closed();
    });
  }

  #drain(client: Client): void {
    for (let out = client.session.poll(); out !== undefined; out = client.session.poll()) {
      switch (out.type) {
        case 'send':
          client.write(out.line);
          break;
        case 'call':
          this.#counters.requests++;
          void this.#answer(out.id, out.call, client);
          break;
        case 'audio':
          client.audioListener?.(out.pcm);
          break;
        case 'drop':
          this.#counters.invalid++;
          this.#options.logger.warn('dropped a client that does not speak JSON-RPC', {
            client: client.id,
          });
          client.socket.destroySoon();
          return;
        default:
          out satisfies never;
      }
    }
  }

  /** Never rejects. */
  async #answer(id: RpcId, call: ControlCall, client: Client): Promise<void> {
    try {
      client.session.resolve(id, await this.#handle(call, client));
    } catch (error) {
      if (!(error instanceof AgentError)) {
        this.#options.logger.error('a request failed by our own fault', {
          method: call.method,
          reason: errorText(error),
        });
      }
      client.session.reject(id, error);
    }
    this.#drain(client);
  }

  async #handle(call: ControlCall, client: ControlPeer): Promise<unknown> {
    // The session answers it itself.
    if (call.method === 'events.subscribe') return {};
    // Method and parameters belong together; TypeScript cannot follow the lookup.
    const handler = this.#options.handlers[call.method] as
      | ((params: ControlCall['params'], client: ControlPeer) => Promise<unknown>)
      | undefined;
    if (handler === undefined) {
      throw new AgentError(
        'not-offered',
        `what runs here is a node of the DHT and no station: it has no "${call.method}"`,
        'start a station with "doorward run", without --dht-only',
      );
    }
    return await handler(call.params, client);
  }

  #tooSlow(client: Client): void {
    this.#counters.tooSlow++;
    this.#options.logger.warn('dropped a client that reads too slowly', { client: client.id });
  }
}

class Client implements ControlPeer {
  readonly id: number;
  readonly socket: Socket;
  readonly session = new ControlSession();
  readonly #onTooSlow: () => void;
  readonly #closeListeners: (() => void)[] = [];
  readonly #drainListeners: (() => void)[] = [];
  #isClosed = false;
  audioListener: ((pcm: Int16Array) => void) | undefined;

  constructor(id: number, socket: Socket, onTooSlow: () => void) {
    this.id = id;
    this.socket = socket;
    this.#onTooSlow = onTooSlow;
  }

  write(line: string): boolean {
    if (this.socket.destroyed || this.socket.writableEnded) return false;
    this.socket.write(line);
    if (this.socket.writableLength <= CONTROL_LIMITS.unsentBytes) return true;
    this.#onTooSlow();
    this.socket.destroy();
    return false;
  }

  onAudio(listener: ((pcm: Int16Array) => void) | undefined): void {
    this.audioListener = listener;
  }

  sendAudio(pcm: Int16Array): boolean {
    return this.write(encodeAudio(pcm));
  }

  notify(method: string, params: object): boolean {
    return this.write(encodeNotification(method, params));
  }

  get unsentBytes(): number {
    return this.socket.writableLength;
  }

  onDrain(listener: () => void): void {
    this.#drainListeners.push(listener);
  }

  drained(): void {
    for (const listener of this.#drainListeners) listener();
  }

  onClose(listener: () => void): void {
    if (this.#isClosed) listener();
    else this.#closeListeners.push(listener);
  }

  closed(): void {
    this.#isClosed = true;
    this.audioListener = undefined;
    for (const listener of this.#closeListeners.splice(0)) listener();
  }
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // The socket is bound before listen returns: nobody else gets in before its mode is set.
    const umask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.removeListener('error', reject);
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
}

/** @throws {AgentError} `already-running`, `control-unusable` */
async function removeStaleSocket(path: string): Promise<void> {
  try {
    const found = await lstat(path);
    if (!found.isSocket()) {
      throw new AgentError(
        'control-unusable',
        `the control socket cannot be made: ${path} is there and is no socket`,
        'move it away, or name another path with "control:"',
      );
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  try {
    (await connectSocket(path)).destroy();
  } catch (error) {
    // Nobody listens: what a station leaves that was killed.
    if (errorCode(error) !== 'ECONNREFUSED') throw error;
    await rm(path, { force: true });
    return;
  }
  throw new AgentError(
    'already-running',
    `a station already answers at ${path}`,
    '"doorward status" shows it; a second one needs a state, a control socket and a DHT port of its own',
  );
}
