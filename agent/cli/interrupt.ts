import type { Clock, Millis } from '../base/clock.ts';
import { EXIT } from './exit-codes.ts';

/** npm hands on to us what the terminal has already told us: that is one Ctrl-C, and no person presses twice so fast. */
const SAME_PRESS_MS: Millis = 200;

/**
 * Driver: call `listener` once, at the first Ctrl-C, SIGTERM or end of the terminal, instead of the end of the process. A second
 * Ctrl-C ends the process at once.
 * @returns how to stop listening
 */
export function onInterrupt(clock: Clock, listener: () => void): () => void {
  let firstAt: Millis | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    const now = clock.now();
    if (firstAt === undefined) {
      firstAt = now;
      listener();
    } else if (signal === 'SIGINT' && now - firstAt > SAME_PRESS_MS) {
      process.exit(EXIT.interrupted);
    }
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  return () => {
    for (const signal of signals) process.removeListener(signal, onSignal);
  };
}
