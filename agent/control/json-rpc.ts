import { isRecord } from '../base/record.ts';

/**
 * JSON-RPC 2.0 with one object per line (the signal-cli convention): bytes in, messages out. Pure.
 * @see https://www.jsonrpc.org/specification
 *
 * Left out: batches (section 6; a line each does the same) and parameters by position (4.2 allows either kind).
 */

/** Section 5.1; the range from -32000 is the application's. */
export const RPC_ERROR = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  /** An AgentError: `data.code` says which. */
  failed: -32000,
} as const;

export type RpcId = string | number;
export type RpcParams = Readonly<Record<string, unknown>>;

export interface RpcErrorObject {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

export type RpcMessage =
  | {
      readonly kind: 'request';
      readonly id: RpcId;
      readonly method: string;
      readonly params: RpcParams;
    }
  | { readonly kind: 'notification'; readonly method: string; readonly params: RpcParams }
  | { readonly kind: 'result'; readonly id: RpcId; readonly result: unknown }
  /** `id` null: the other side could not read which request it was. */
  | { readonly kind: 'error'; readonly id: RpcId | null; readonly error: RpcErrorObject }
  /** Not JSON-RPC: what to answer, and to which request as far as it could be read. */
  | { readonly kind: 'invalid'; readonly id: RpcId | null; readonly error: RpcErrorObject };

/** Methods are short words; a longer one is an attempt at our memory. */
const MAX_METHOD_CHARS = 64;
const MAX_ID_CHARS = 64;

/** Never throws: what is wrong comes back as `invalid`. */
export function parseRpc(line: string): RpcMessage {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return invalid(null, RPC_ERROR.parse, 'not JSON');
  }
  if (Array.isArray(value)) {
    return invalid(
      null,
      RPC_ERROR.invalidRequest,
      'batches are not supported: one object per line',
    );
  }
  if (!isRecord(value)) return invalid(null, RPC_ERROR.invalidRequest, 'not an object');
  const id = isId(value['id']) ? value['id'] : null;
  if (value['jsonrpc'] !== '2.0') {
    return invalid(id, RPC_ERROR.invalidRequest, 'jsonrpc must be "2.0"');
  }
  if ('method' in value) return parseCall(value, id);
  if ('error' in value) return parseError(value['error'], id);
  if (!('result' in value) || id === null) {
    return invalid(id, RPC_ERROR.invalidRequest, 'neither a request nor a response');
  }
  return { kind: 'result', id, result: value['result'] };
}

function parseCall(value: RpcParams, id: RpcId | null): RpcMessage {
  const { method, params = {} } = value as { method: unknown; params?: unknown };
  if (typeof method !== 'string' || method.length > MAX_METHOD_CHARS) {
    return invalid(id, RPC_ERROR.invalidRequest, 'method must be a word');
  }
  if ('id' in value && id === null) {
    return invalid(null, RPC_ERROR.invalidRequest, 'id must be a number or a short text');
  }
  if (!isRecord(params)) {
    return invalid(id, RPC_ERROR.invalidParams, 'params must be an object');
  }
  return id === null
    ? { kind: 'notification', method, params }
    : { kind: 'request', id, method, params };
}

function parseError(error: unknown, id: RpcId | null): RpcMessage {
  const isError =
    isRecord(error) && Number.isInteger(error['code']) && typeof error['message'] === 'string';
  if (!isError) return invalid(id, RPC_ERROR.invalidRequest, 'not an error object');
  return { kind: 'error', id, error: error as unknown as RpcErrorObject };
}

function invalid(id: RpcId | null, code: number, message: string): RpcMessage {
  return { kind: 'invalid', id, error: { code, message } };
}

function isId(value: unknown): value is RpcId {
  return typeof value === 'string' ? value.length <= MAX_ID_CHARS : Number.isFinite(value);
}

export function encodeRequest(id: RpcId, method: string, params: object): string {
  return encode({ id, method, params });
}

export function encodeNotification(method: string, params: object): string {
  return encode({ method, params });
}

export function encodeResult(id: RpcId, result: unknown): string {
  return encode({ id, result: result ?? null });
}

export function encodeError(id: RpcId | null, error: RpcErrorObject): string {
  return encode({ id, error });
}

/** JSON has no line feed outside of its texts, and escapes it inside. */
function encode(fields: object): string {
  return `${JSON.stringify({ jsonrpc: '2.0', ...fields })}\n`;
}

const LINE_FEED = 10;
/** What a client keeps between lines; most lines fit. */
const SMALL_BUFFER_BYTES = 1024;

/**
 * Cuts a stream of bytes into lines. A line over the limit comes out as `undefined`, once, when the limit is passed; the
 * rest of it is skipped, so that memory is bounded and the next line is read again.
 */
export class LineSplitter {
  readonly #maxBytes: number;
  #buffer = new Uint8Array(SMALL_BUFFER_BYTES);
  #length = 0;
  #isSkipping = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Malformed UTF-8 becomes U+FFFD: whether the line means anything is for the parser to say. */
  *push(chunk: Uint8Array): Generator<string | undefined> {
    for (let start = 0; start < chunk.length; ) {
      const end = chunk.indexOf(LINE_FEED, start);
      const part = chunk.subarray(start, end === -1 ? chunk.length : end);
      start += part.length + 1;
      if (!this.#isSkipping && !this.#append(part)) {
        this.#isSkipping = true;
        yield undefined;
      }
      if (end === -1) return;
      if (this.#isSkipping) {
        this.#isSkipping = false;
      } else {
        const line = this.#take();
        if (line.trim() !== '') yield line;
      }
    }
  }

  #append(part: Uint8Array): boolean {
    const length = this.#length + part.length;
    if (length > this.#maxBytes) {
      this.#reset();
      return false;
    }
    if (length > this.#buffer.length) {
      const grown = new Uint8Array(Math.min(this.#maxBytes, Math.max(length, 2 * this.#length)));
      grown.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = grown;
    }
    this.#buffer.set(part, this.#length);
    this.#length = length;
    return true;
  }

  #take(): string {
    const line = new TextDecoder().decode(this.#buffer.subarray(0, this.#length));
    this.#reset();
    return line;
  }

  #reset(): void {
    this.#length = 0;
    if (this.#buffer.length > SMALL_BUFFER_BYTES) this.#buffer = new Uint8Array(SMALL_BUFFER_BYTES);
  }
}
