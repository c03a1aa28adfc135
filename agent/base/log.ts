import { formatIp, parseIp } from './address.ts';

/** Levels of `config.log.level`, loudest first; journald priorities are in PRIORITY. */
export const LOG_LEVELS = ['error', 'warn', 'notice', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** sd-daemon(3): syslog priorities written as `<N>` in front of a line. */
const PRIORITY: Record<LogLevel, number> = { error: 3, warn: 4, notice: 5, info: 6, debug: 7 };

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * One record per call, a short sentence and fields: `log.info('answered', {call, peer})`.
 * Never pass keys, message text or passwords; ids go through `shortId`, addresses through `maskIp`.
 */
export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  notice(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** The same log with another subsystem in front: `dht: …`. */
  child(subsystem: string): Logger;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** Under systemd: `<6>dht: …` without a time. Else: time and level in front. */
  readonly journal: boolean;
  readonly write: (line: string) => void;
  readonly unixMs: () => number;
}

export function createLogger(options: LogOptions, subsystem = 'doorward'): Logger {
  const record = (level: LogLevel, message: string, fields: LogFields = {}) => {
    if (LOG_LEVELS.indexOf(level) > LOG_LEVELS.indexOf(options.level)) return;
    const prefix = options.journal
      ? `<${PRIORITY[level]}>`
      : `${new Date(options.unixMs()).toISOString().slice(11, 23)} ${level.padEnd(6)} `;
    const tail = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => ` ${key}=${quote(String(value))}`)
      .join('');
    options.write(`${prefix}${subsystem}: ${oneLine(message)}${tail}\n`);
  };
  return {
    error: (message, fields) => record('error', message, fields),
    warn: (message, fields) => record('warn', message, fields),
    notice: (message, fields) => record('notice', message, fields),
    info: (message, fields) => record('info', message, fields),
    debug: (message, fields) => record('debug', message, fields),
    child: (name) => createLogger(options, name),
  };
}

export const silentLogger: Logger = createLogger({
  level: 'error',
  journal: false,
  write: () => {},
  unixMs: () => 0,
});

/** First 8 characters of an id: enough to tell peers apart in a log, not enough to call them. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}

/** /24 of an IPv4 address (`192.0.2.x`), /48 of an IPv6 one (`2001:db8:0::`). Anything else becomes `?`. */
export function maskIp(text: string): string {
  const ip = parseIp(text.replace(/%.*$/, ''));
  if (ip === undefined) return '?';
  const full = formatIp(ip);
  return ip.length === 4 ? full.replace(/\d+$/, 'x') : `${full.split(':').slice(0, 3).join(':')}::`;
}

// Text from the network must not forge records or colour the terminal.
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, ' ');
}

function quote(value: string): string {
  const clean = oneLine(value);
  return clean === '' || /[\s"=]/.test(clean) ? JSON.stringify(clean) : clean;
}
