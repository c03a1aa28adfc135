import { DURATION_EXPECTED, parseDuration } from '../base/duration.ts';

/** Words of the command line, before and after yargs. */

/** No argument of a process holds a NUL. */
const MARK = '\0';

/**
 * yargs 18 loses a lone `-` and what follows `--` when a command takes words by position. Both are marked before it sees
 * them, so that they cannot be taken for options, and get their own face back in `asWord`.
 */
export function markWords(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  const options = end === -1 ? argv : argv.slice(0, end);
  const words = end === -1 ? [] : argv.slice(end + 1);
  return [
    ...options.map((word) => (word === '-' ? MARK + word : word)),
    ...words.map((word) => MARK + word),
  ];
}

export function asWord(word: string): string {
  return word.replaceAll(MARK, '');
}

/** @returns how an option with this name becomes milliseconds. The parser throws what is wrong. */
export function parseTime(option: string): (text: string) => number {
  return (text) => {
    const ms = parseDuration(text);
    if (ms === undefined || ms < 1)
      throw new Error(`${option}: "${text}" is not ${DURATION_EXPECTED}`);
    return ms;
  };
}
