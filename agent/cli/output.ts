import type { AgentError } from '../base/errors.ts';
import type { World } from './world.ts';

/**
 * The voice of every command. What was asked for goes to stdout, as text or with `--json` as one object; what happens on the
 * way goes to stderr. `--quiet` leaves the exit code alone to speak.
 */
export class Output {
  readonly #world: World;
  readonly isJson: boolean;
  readonly isQuiet: boolean;

  constructor(world: World, options: { readonly json: boolean; readonly quiet: boolean }) {
    this.#world = world;
    this.isJson = options.json;
    this.isQuiet = options.quiet;
  }

  /** The result, in both forms. */
  result(text: string, json: object): void {
    if (this.isQuiet) return;
    this.#world.stdout(this.isJson ? `${JSON.stringify(json)}\n` : `${text}\n`);
  }

  /** A line on the way to the result, which with `--json` holds everything. */
  progress(line: string): void {
    if (!this.isQuiet && !this.isJson) this.#world.stdout(`${line}\n`);
  }

  /** For the person who waits; no part of the result. */
  note(line: string): void {
    if (!this.isQuiet) this.#world.stderr(`${line}\n`);
  }

  error({ code, message, hint }: AgentError): void {
    if (this.isQuiet) return;
    this.#world.stderr(`doorward: ${message}${hint === undefined ? '' : `\n  ${hint}`}\n`);
    if (this.isJson) {
      const error = { code, message, ...(hint !== undefined && { hint }) };
      this.#world.stdout(`${JSON.stringify({ error })}\n`);
    }
  }
}

/** Text from the network must not move the cursor, colour the terminal or begin a line. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, ' ');
}

/** Columns by their longest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `45 s`, `3 min`, `5 h 20 min`, `12 d 3 h` */
export function formatSeconds(seconds: number): string {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48
    ? `${hours} h ${minutes % 60} min`
    : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** `2026-09-01 10:15:02Z` */
export function formatUnixMs(unixMs: number): string {
  const date = new Date(unixMs);
  return Number.isNaN(date.getTime())
    ? '?'
    : `${date.toISOString().slice(0, 19).replace('T', ' ')}Z`;
}
