import { createLogger, type Logger } from '../../agent/base/log.ts';

/** A log that keeps its lines, without time and level. */
export function keptLog(): { readonly log: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const log = createLogger({
    level: 'debug',
    journal: true,
    write: (line) => lines.push(line.replace(/^<\d>/, '').trimEnd()),
    unixMs: () => 0,
  });
  return { log, lines };
}
