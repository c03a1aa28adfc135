import { rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { doneWithin, systemClock } from './base/clock.ts';
import { AgentError, errorText } from './base/errors.ts';
import { createLogger } from './base/log.ts';
import { systemRandom } from './base/random.ts';
import { EXIT, type ExitCode, exitOfError } from './cli/exit-codes.ts';
import { onInterrupt } from './cli/interrupt.ts';
import { type Config, formatProblems, loadConfig } from './config/config.ts';
import { LIMITS } from './dht/limits.ts';
import { keepHeapLean } from './lean-heap.ts';
import { readyText } from './ready-text.ts';
import type { Station, StationDeps } from './station.ts';
import { systemdNotifier } from './systemd.ts';

/**
 * `doorward run`: the life of the station's process, from its configuration to its exit code. Its few options are parsed by
 * Node itself: yargs would stay in the daemon's memory (13 MB) for nothing, and a child to parse them would cost the first
 * start of a small board half a second.
 */

/**
 * An assembly, `runStation` of daemon.ts or `runDhtOnly` of dht-only.ts: resolves when the station is ready.
 * @throws {AgentError} what cli/exit-codes.ts lists: `port-in-use`, `store-unusable`, `audio-unusable`, `already-running`, …
 */
export type RunStation = (config: Config, deps: StationDeps) => Promise<Station>;

/** How to load the assemblies: only for a configuration that is good, and only the one that is run. */
export interface Assemblies {
  readonly station: () => Promise<RunStation>;
  readonly dhtOnly: () => Promise<RunStation>;
}

/** A station that does not stop by then is left to die with the process. */
const STOP_LIMIT_MS = 2000;

interface RunArguments {
  readonly config: string | undefined;
  readonly settings: readonly string[];
  readonly json: boolean;
  readonly quiet: boolean;
  /** A node of the DHT and nothing else. */
  readonly dhtOnly: boolean;
  /** Stop when standard input ends: for a parent that may die without a word. */
  readonly tied: boolean;
}

/** @param argv what follows `run`. @throws {AgentError} `usage` */
export function parseRunArguments(argv: readonly string[]): RunArguments {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        config: { type: 'string', short: 'c' },
        set: { type: 'string', multiple: true },
        json: { type: 'boolean' },
        quiet: { type: 'boolean', short: 'q' },
        'dht-only': { type: 'boolean' },
        tied: { type: 'boolean' },
      },
    });
    return {
      config: values.config,
      settings: values.set ?? [],
      json: values.json ?? false,
      quiet: values.quiet ?? false,
      dhtOnly: values['dht-only'] ?? false,
      tied: values.tied ?? false,
    };
  } catch (error) {
    throw new AgentError(
      'usage',
      errorText(error),
      'doorward run [-c FILE] [--set KEY=VALUE] [--dht-only]',
    );
  }
}

/** Resolves with the exit code once the station has stopped. */
export async function runCommand(
  argv: readonly string[],
  assemblies: Assemblies,
): Promise<ExitCode> {
  try {
    return await run(parseRunArguments(argv), assemblies);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    const hint = error.hint === undefined ? '' : `\n  ${error.hint}`;
    process.stderr.write(`doorward: ${error.message}${hint}\n`);
    return exitOfError(error);
  }
}

async function run(args: RunArguments, assemblies: Assemblies): Promise<ExitCode> {
  keepHeapLean();
  const { env: environment } = process;
  // A full disk or a terminal that is gone takes our log, not the door.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const loaded = await loadConfig({
    file: args.config,
    environment,
    settings: args.settings,
    workingFolder: process.cwd(),
  });
  if (!loaded.ok) {
    process.stderr.write(`${formatProblems(loaded.problems)}\n`);
    return EXIT.config;
  }
  const { config } = loaded;
  const logger = createLogger({
    level: config.log.level,
    journal: environment['JOURNAL_STREAM'] !== undefined,
    write: (line) => process.stderr.write(line),
    unixMs: systemClock.unixMs,
  });

  const stopping = stopRequested(args.tied);
  const runStation = await (args.dhtOnly ? assemblies.dhtOnly() : assemblies.station());
  const starting = runStation(config, {
    clock: systemClock,
    random: systemRandom,
    logger,
    systemd: systemdNotifier(environment, process.pid, (sentence) => logger.warn(sentence)),
    isForOneCommand: args.tied,
    onProgress: (sentence) => {
      if (!args.quiet) process.stderr.write(`${sentence}\n`);
    },
  });
  const station = await Promise.race([starting, stopping]);
  // Before there is a station there is nothing to take leave of; every file is written whole or not at all.
  if (station === undefined) return EXIT.done;
  if (args.json) {
    process.stdout.write(`${JSON.stringify({ ...station.ready, pid: process.pid })}\n`);
  } else if (!args.quiet) {
    process.stdout.write(readyText(station.ready, { environment, config, file: args.config }));
  }
  await stopping;
  // What it keeps for others may have to find new homes first.
  const limitMs = STOP_LIMIT_MS + (config.dht.republish ? LIMITS.leaveMs : 0);
  const stopped = await doneWithin(station.stop(), limitMs, systemClock);
  if (args.tied) await removeFolder(dirname(config.control));
  return stopped ? EXIT.done : EXIT.failed;
}

/** The folder that a parent made for our socket: it cannot do it itself when it was killed. */
async function removeFolder(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch {
    // The parent lives and was faster; or something else is in it, which is not ours to remove.
  }
}

/** Resolves at the first Ctrl-C or SIGTERM, or when the terminal goes away. */
async function stopRequested(tied: boolean): Promise<undefined> {
  return await new Promise<undefined>((resolve) => {
    onInterrupt(systemClock, () => resolve(undefined));
    if (tied) {
      process.stdin.on('end', () => resolve(undefined));
      process.stdin.on('error', () => resolve(undefined));
      process.stdin.resume();
    }
  });
}
