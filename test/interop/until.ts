import { setTimeout as sleep } from 'node:timers/promises';

/** For tests with real processes. @throws {Error} when `condition` does not come true in time */
export async function until(condition: () => boolean, timeoutMs = 30_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${condition}`);
    await sleep(10);
  }
}
