import { relative } from 'node:path';
import { expect, test } from 'vitest';

/** Set to a number, every story runs with that seed alone. */
const REPLAY = process.env['SIM_SEED'];

/**
 * A test for each seed. One that fails says with which seed, and how to run it again: the world does the same each time.
 * @param seeds those that every run of the suite tries
 */
export function story(name: string, seeds: readonly number[], run: (seed: number) => void): void {
  const wanted = REPLAY === undefined ? seeds : [Number(REPLAY)];
  test.each(wanted)(`${name} (seed %i)`, (seed) => {
    const file = relative(process.cwd(), expect.getState().testPath ?? '');
    withSeed(seed, replayCommand(seed, file, name), () => run(seed));
  });
}

export function replayCommand(seed: number, file: string, name: string): string {
  const pattern = name.replace(/[^\w ,-]/g, '.');
  return `SIM_SEED=${seed} npx vitest run --project unit ${file} -t "${pattern}"`;
}

/** @throws whatever `run` throws, its message beginning with the seed and the command that shows it again */
export function withSeed<T>(seed: number, command: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof Error) error.message = `seed ${seed}: ${error.message}\nagain: ${command}`;
    throw error;
  }
}
