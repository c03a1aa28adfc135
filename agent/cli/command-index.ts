/** Options of every command that take the next argument for their value. */
const WITH_VALUE = new Set(['-c', '--config', '--set']);

/**
 * Where in `argv` the command stands: `doorward -c door.yaml run` is `doorward run -c door.yaml`. For the choice between the
 * station and the command line, which parse what is left by themselves.
 * @returns `argv.length` when there is none
 */
export function commandIndex(argv: readonly string[]): number {
  let i = 0;
  while (argv[i]?.startsWith('-') === true) i += WITH_VALUE.has(argv[i] ?? '') ? 2 : 1;
  return Math.min(i, argv.length);
}
