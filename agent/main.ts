/** Process entry: arguments, exit code; no logic. The station and the command line share no library but Node. */

import { commandIndex } from './cli/command-index.ts';

const argv = process.argv.slice(2);
const wantsHelp = argv.includes('--help') || argv.includes('-h');

const command = commandIndex(argv);

if (argv[command] === 'run' && !wantsHelp) {
  const { runCommand } = await import('./run.ts');
  const assemblies = {
    station: async () => (await import('./daemon.ts')).runStation,
    dhtOnly: async () => (await import('./dht-only.ts')).runDhtOnly,
  };
  const { exitNow } = await import('./base/exit.ts');
  exitNow(await runCommand(argv.toSpliced(command, 1), assemblies));
} else {
  const { cliProcess } = await import('./cli/process.ts');
  // Not exit(): what was written to a pipe is still on its way.
  process.exitCode = await cliProcess(argv);
}
