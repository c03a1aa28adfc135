import { openLibrary } from './native.ts';

/**
 * End the process at once. `process.exit` waits for the thread pool, where a key that is being made cannot be interrupted:
 * minutes on a small board. And it runs the destructors of native libraries whose threads still live. What was written to
 * standard output is out: Node writes to files and pipes before `write` returns. Where libc cannot be reached, as Node does it.
 */
export function exitNow(code: number): never {
  let exit: (code: number) => void;
  try {
    exit = openLibrary('libc').func('void _exit(int status)') as typeof exit;
  } catch {
    return process.exit(code); // without koffi; slower, and no more
  }
  exit(code);
  throw new Error('_exit returned');
}
