import type { KeyObject } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import { LibcryptoRsa } from './libcrypto.ts';
import { WorkerRsa } from './rsa-worker.ts';

/** The bare RSA private operation, off the event loop. No padding is added or removed. */
export interface RawRsa {
  /**
   * One at a time: the next call only after this one has settled.
   * @param block k bytes
   * @returns k bytes, or undefined when `block` as a number is not below the modulus
   * @throws {AgentError} `decryption-failed` when it could not be done at all
   */
  decrypt(block: Uint8Array): Promise<Uint8Array | undefined>;
  /** Forget the key. Only when no call is under way. */
  close(): void;
}

/**
 * libcrypto where it can be had, else a worker thread (README: which and why).
 * @param onStandIn told once why libcrypto is not used; the hint names the Debian package
 */
export function openRawRsa(
  key: KeyObject,
  clock: Clock,
  onStandIn: (why: AgentError) => void,
): RawRsa {
  try {
    return new LibcryptoRsa(key);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    onStandIn(error);
    return new WorkerRsa(key, clock);
  }
}
