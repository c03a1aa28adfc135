import { resolve } from 'node:path';
import { errorCode } from '../base/errors.ts';
import { formatProblems, loadConfig } from '../config/config.ts';
import { SYSTEM_CONFIG } from '../config/paths.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { type Output, table } from './output.ts';
import { configOf, configSources } from './station.ts';
import type { World } from './world.ts';

/** The commands that need no station. */

export interface CheckArguments {
  readonly file: string | undefined;
  readonly settings: readonly string[] | undefined;
  readonly printEffective: boolean;
}

/** `doorward check-config`: every problem of a configuration, without touching anything. */
export async function checkConfigCommand(
  world: World,
  args: CheckArguments,
  output: Output,
): Promise<ExitCode> {
  const { file, settings } = args;
  const loaded = await loadConfig(configSources(world, file, settings));
  if (!loaded.ok) {
    output.note(formatProblems(loaded.problems));
    if (output.isJson) {
      const problems = loaded.problems.map(({ source, place, path, reason }) => ({
        source,
        ...place,
        path,
        reason,
      }));
      output.result('', { ok: false, problems });
    }
    return EXIT.config;
  }
  const name = loaded.file ?? `no ${SYSTEM_CONFIG}, so the defaults`;
  if (!args.printEffective) {
    output.result(`${name}: good`, { ok: true, file: loaded.file ?? null });
    return EXIT.done;
  }
  const rows = loaded.effective.map(({ path, value, origin }) => [
    `${path}: ${value === undefined ? '' : JSON.stringify(value)}`.trimEnd(),
    `# ${origin}`,
  ]);
  const effective = loaded.effective.map(({ path, value, origin }) => {
    return [path, { value: value ?? null, origin }];
  });
  output.result(table(rows), Object.fromEntries(effective));
  return EXIT.done;
}

export interface InitArguments {
  readonly config: string | undefined;
  readonly state: string | undefined;
}

/**
 * `doorward init`: what the first start would do, ahead of it: the state folder and the identity, whose keys take a while on a
 * small board. With `-c FILE` that is not there yet, the explained configuration as well.
 */
export async function initCommand(
  world: World,
  args: InitArguments,
  output: Output,
): Promise<ExitCode> {
  const { config: file } = args;
  const path = file === undefined ? undefined : resolve(world.workingFolder, file);
  const isNew = path !== undefined && !(await exists(world, path));
  if (isNew) {
    await world.createFile(path, await world.exampleConfig());
    output.note(`wrote ${file}, with every key explained`);
  }
  const settings = args.state === undefined ? [] : [`state=${args.state}`];
  const { config } = await configOf(world, file, settings);
  const id = await world.identity(config.state, (sentence) => output.note(sentence));
  output.result(id, { id, state: config.state, ...(isNew && { config: path }) });
  return EXIT.done;
}

/** What is there and cannot be read is there: loading it says what is wrong. */
async function exists(world: World, path: string): Promise<boolean> {
  try {
    await world.readFile(path);
    return true;
  } catch (error) {
    return errorCode(error) !== 'ENOENT';
  }
}
