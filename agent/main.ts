/** Process entry: arguments, exit code; no logic. The station and the command line share no library but Node. */

const argv = process.argv.slice(2);
const wantsHelp = argv.includes('--help') || argv.includes('-h');

if (argv[0] === 'run' && !wantsHelp) {
  const { runCommand } = await import('./run.ts');
  const load = async () => (await import('./daemon.ts')).runStation;
  process.exit(await runCommand(argv.slice(1), load));
} else {
  const { cliProcess } = await import('./cli/process.ts');
  // Not exit(): what was written to a pipe is still on its way.
  process.exitCode = await cliProcess(argv);
}
