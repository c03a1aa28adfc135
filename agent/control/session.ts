import * as v from 'valibot';
import { AgentError } from '../base/errors.ts';
import { decodeAudio } from './audio.ts';
import {
  encodeError,
  encodeResult,
  LineSplitter,
  parseRpc,
  RPC_ERROR,
  type RpcErrorObject,
  type RpcId,
  type RpcMessage,
  type RpcParams,
} from './json-rpc.ts';
import { CONTROL_LIMITS } from './limits.ts';
import { CONTROL_PARAMS, type ControlMethod, type ControlParams } from './protocol.ts';

/** A request whose parameters are checked. */
export type ControlCall = {
  readonly [M in ControlMethod]: { readonly method: M; readonly params: ControlParams<M> };
}[ControlMethod];

export type SessionOutput =
  | { readonly type: 'send'; readonly line: string }
  /** To be answered with `resolve` or `reject`. */
  | { readonly type: 'call'; readonly id: RpcId; readonly call: ControlCall }
  | { readonly type: 'audio'; readonly pcm: Int16Array }
  /** Close the connection, after what was sent before. */
  | { readonly type: 'drop'; readonly reason: 'invalid' };

/**
 * The station's side of one client on the control socket, without the socket: bytes in, lines and calls out. After each
 * method call drain `poll`. Never throws on what a client sends.
 */
export class ControlSession {
  readonly #splitter = new LineSplitter(CONTROL_LIMITS.inputLineBytes);
  /** Drained after every chunk: as long as what one chunk of input can cause. */
  readonly #outputs: SessionOutput[] = [];
  readonly #pending = new Set<RpcId>();
  #invalidLines = 0;
  #isDropped = false;
  /** undefined: not subscribed; empty: all. */
  #eventTypes: readonly string[] | undefined;

  receive(chunk: Uint8Array): void {
    for (const line of this.#splitter.push(chunk)) {
      if (this.#isDropped) return;
      if (line === undefined) {
        const limit = CONTROL_LIMITS.inputLineBytes;
        this.#invalid(null, rpcError('invalidRequest', `a line has at most ${limit} bytes`));
      } else {
        this.#message(parseRpc(line));
      }
    }
  }

  poll(): SessionOutput | undefined {
    return this.#outputs.shift();
  }

  resolve(id: RpcId, result: unknown): void {
    if (this.#pending.delete(id)) this.#send(encodeResult(id, result));
  }

  /** An AgentError goes to the client; anything else is our own bug, of which the client hears only that. */
  reject(id: RpcId, error: unknown): void {
    if (!this.#pending.delete(id)) return;
    const isOurs = error instanceof AgentError;
    this.#send(
      encodeError(id, isOurs ? failure(error) : rpcError('internal', 'an error in the station')),
    );
  }

  /** @param type a whole type, or its first part: `call` is every `call.…` */
  wantsEvent(type: string): boolean {
    const types = this.#eventTypes;
    if (types === undefined) return false;
    return types.length === 0 || types.some((t) => type === t || type.startsWith(`${t}.`));
  }

  #message(message: RpcMessage): void {
    switch (message.kind) {
      case 'request':
        this.#request(message.id, message.method, message.params);
        break;
      case 'notification':
        if (message.method === 'audio') this.#audio(message.params);
        // Section 4.1: a notification is never answered, wrong or not.
        break;
      case 'result':
      case 'error':
        // The station asks clients nothing.
        this.#invalid(null, rpcError('invalidRequest', 'an answer to nothing'));
        break;
      case 'invalid':
        this.#invalid(message.id, message.error);
        break;
      default:
        message satisfies never;
    }
  }

  #request(id: RpcId, method: string, params: unknown): void {
    if (!isMethod(method)) {
      this.#send(encodeError(id, rpcError('methodNotFound', `there is no method "${method}"`)));
      return;
    }
    if (this.#pending.has(id)) {
      this.#invalid(id, rpcError('invalidRequest', 'a request with this id is under way'));
      return;
    }
    if (this.#pending.size >= CONTROL_LIMITS.pendingRequests) {
      const error = new AgentError('too-many-requests', 'too many requests under way');
      this.#send(encodeError(id, failure(error)));
      return;
    }
    const parsed = v.safeParse(CONTROL_PARAMS[method], params, { abortEarly: true });
    if (!parsed.success) {
      const issue = parsed.issues[0];
      const path = v.getDotPath(issue);
      const message = path === null ? issue.message : `${path}: ${issue.message}`;
      this.#send(encodeError(id, rpcError('invalidParams', message)));
      return;
    }
    this.#pending.add(id);
    // `method` and the type of its parameters belong together; TypeScript cannot follow the lookup.
    const call = { method, params: parsed.output } as ControlCall;
    if (call.method === 'events.subscribe') {
      this.#eventTypes = call.params.types ?? [];
      this.resolve(id, {});
    } else {
      this.#outputs.push({ type: 'call', id, call });
    }
  }

  #audio(params: RpcParams): void {
    const pcm = decodeAudio(params);
    if (pcm !== undefined) this.#outputs.push({ type: 'audio', pcm });
    else this.#invalid(null, rpcError('invalidParams', 'pcm must be whole frames of 20 ms'));
  }

  #invalid(id: RpcId | null, error: RpcErrorObject): void {
    this.#send(encodeError(id, error));
    this.#invalidLines++;
    if (this.#invalidLines < CONTROL_LIMITS.invalidLines) return;
    this.#isDropped = true;
    this.#outputs.push({ type: 'drop', reason: 'invalid' });
  }

  #send(line: string): void {
    this.#outputs.push({ type: 'send', line });
  }
}

function isMethod(method: string): method is ControlMethod {
  return Object.hasOwn(CONTROL_PARAMS, method);
}

function rpcError(kind: keyof typeof RPC_ERROR, message: string): RpcErrorObject {
  return { code: RPC_ERROR[kind], message };
}

function failure({ code, message, hint }: AgentError): RpcErrorObject {
  return { code: RPC_ERROR.failed, message, data: { code, ...(hint !== undefined && { hint }) } };
}
