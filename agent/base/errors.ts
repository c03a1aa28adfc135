/** Bytes from outside that do not follow their format. Caught in one place per engine, counted, dropped. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
}

/**
 * An operation that failed in a way its caller can act on.
 * `code` is stable and listed in the docstring of what throws it; `hint` says what a person can do.
 */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.hint = hint;
  }
}

/** The text of anything that was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** `code` of a Node system error (`EADDRINUSE`, `ENOENT`, …) or of an AgentError. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
