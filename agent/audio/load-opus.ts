import { AgentError } from '../base/errors.ts';
import type { OpusBackend } from './opus.ts';

/**
 * Debian's libopus; where it is missing the codec that comes with the npm package, which has no FEC decoding.
 * Loaded on first use: a station that never calls does not pay.
 */
export async function loadOpus(): Promise<OpusBackend> {
  try {
    const { openLibopus } = await import('./opus-libopus.ts');
    return openLibopus();
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    const { openWasmOpus } = await import('./opus-wasm.ts');
    return openWasmOpus(error.hint);
  }
}
