import { connect, type Socket } from 'node:net';
import { AgentError, errorCode, errorText } from '../base/errors.ts';
import { decodeAudio, encodeAudio } from './audio.ts';
import type { DhtFound } from './dht-protocol.ts';
import { encodeRequest, LineSplitter, parseRpc, type RpcErrorObject } from './json-rpc.ts';
import { CONTROL_LIMITS } from './limits.ts';
import type { ControlInput, ControlMethod, ControlResults, WireEvent } from './protocol.ts';

/** What the command line needs of a station, over the socket or, in tests, without one. */
export interface ControlConnection {
  /**
   * @throws {AgentError} the station's own code and hint, `station-lost` when the connection ends first
   */
  request<M extends ControlMethod>(method: M, params: ControlInput<M>): Promise<ControlResults[M]>;
  /** Events of `events.subscribe`. Replaces the last listener. */
  onEvent(listener: (event: WireEvent) => void): void;
  /** What gets and listens of `dht.get` and `dht.listen` find. Replaces the last listener. */
  onFound(listener: (found: DhtFound) => void): void;
  /** Sound to be heard here, whole frames at 48 kHz. */
  onAudio(listener: (pcm: Int16Array) => void): void;
  /** Called once when the station goes away by itself. */
  onLost(listener: (error: AgentError) => void): void;
  /** Whole frames at 48 kHz, at most CONTROL_LIMITS.audioFrames. */
  sendAudio(pcm: Int16Array): void;
  close(): void;
}

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: AgentError) => void;
}

/** Driver: a client of the station's Unix socket. */
export class ControlClient implements ControlConnection {
  readonly #socket: Socket;
  readonly #splitter = new LineSplitter(CONTROL_LIMITS.outputLineBytes);
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #isClosing = false;
  #lost: AgentError | undefined;
  #eventListener: ((event: WireEvent) => void) | undefined;
  #foundListener: ((found: DhtFound) => void) | undefined;
  #audioListener: ((pcm: Int16Array) => void) | undefined;
  #lostListener: ((error: AgentError) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => {
      for (const line of this.#splitter.push(chunk)) this.#line(line);
    });
    let reason = 'the connection to the station ended';
    socket.on('error', (error) => {
      reason = `the connection to the station broke: ${errorText(error)}`;
    });
    socket.on('close', () => this.#end(new AgentError('station-lost', reason)));
  }

  /** @throws {AgentError} `not-running` when no station answers at `path`, `control-denied` when we may not ask it */
  static async connect(path: string): Promise<ControlClient> {
    try {
      return new ControlClient(await connectSocket(path));
    } catch (error) {
      const code = errorCode(error);
      if (code === 'EACCES' || code === 'EPERM') {
        throw new AgentError(
          'control-denied',
          `no permission to talk to the station at ${path}`,
          'run this as the user of the station, or with sudo',
          { cause: error },
        );
      }
      throw new AgentError(
        'not-running',
        `no station answers at ${path}`,
        'start one with "doorward run", or name its configuration with -c',
        { cause: error },
      );
    }
  }

  async request<M extends ControlMethod>(
    method: M,
    params: ControlInput<M>,
  ): Promise<ControlResults[M]> {
    if (this.#lost !== undefined) throw this.#lost;
    const id = this.#nextId++;
    const result = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
    });
    this.#socket.write(encodeRequest(id, method, params));
    return (await result) as ControlResults[M];
  }

  onEvent(listener: (event: WireEvent) => void): void {
    this.#eventListener = listener;
  }

  onFound(listener: (found: DhtFound) => void): void {
    this.#foundListener = listener;
  }

  onAudio(listener: (pcm: Int16Array) => void): void {
    this.#audioListener = listener;
  }

  onLost(listener: (error: AgentError) => void): void {
    this.#lostListener = listener;
  }

  sendAudio(pcm: Int16Array): void {
    this.#socket.write(encodeAudio(pcm));
  }

  /** What was sent before is still delivered; requests under way reject with `station-lost`. */
  close(): void {
    this.#isClosing = true;
    this.#socket.destroySoon();
  }

  #line(line: string | undefined): void {
    if (line === undefined) {
      this.#socket.destroy(new Error('a line from the station was too long'));
      return;
    }
    const message = parseRpc(line);
    switch (message.kind) {
      case 'result':
        this.#settle(message.id)?.resolve(message.result);
        break;
      case 'error':
        this.#settle(message.id)?.reject(toAgentError(message.error));
        break;
      case 'notification':
        if (message.method === 'event') {
          this.#eventListener?.(message.params as unknown as WireEvent);
        } else if (message.method === 'dht.value') {
          this.#foundListener?.(message.params as unknown as DhtFound);
        } else if (message.method === 'audio') {
          const pcm = decodeAudio(message.params);
          if (pcm !== undefined) this.#audioListener?.(pcm);
        }
        break;
      case 'request':
      case 'invalid':
        this.#socket.destroy(new Error('what answers there is no station'));
        break;
      default:
        message satisfies never;
    }
  }

  #settle(id: unknown): Pending | undefined {
    if (typeof id !== 'number') return undefined;
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #end(error: AgentError): void {
    this.#lost = error;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(error);
    if (!this.#isClosing) this.#lostListener?.(error);
  }
}

function toAgentError({ code, message, data }: RpcErrorObject): AgentError {
  const { code: word, hint } = (data ?? {}) as { code?: unknown; hint?: unknown };
  return new AgentError(
    typeof word === 'string' ? word : `rpc${code}`,
    message,
    typeof hint === 'string' ? hint : undefined,
  );
}

/** @throws the system's error: `ENOENT`, `ECONNREFUSED`, `EACCES` */
export async function connectSocket(path: string): Promise<Socket> {
  return await new Promise<Socket>((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      resolve(socket);
    });
  });
}
