import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { expect, test } from 'vitest';

/** Packages that a file, and whatever it imports of ours, statically or later, may load. */
function packagesOf(file: string, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>();
  if (seen.has(file)) return packages;
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  const imports = text.matchAll(
    /^(?:import|export)\s(?!type\b)[^'";]*?\bfrom\s+'([^']+)'|\bimport\(\s*'([^']+)'/gm,
  );
  for (const [, fixed, dynamic] of imports) {
    const target = fixed ?? dynamic ?? '';
    if (!target.startsWith('.')) packages.add(target);
    else for (const name of packagesOf(resolve(dirname(file), target), seen)) packages.add(name);
  }
  return packages;
}

const agent = resolve(import.meta.dirname, '../../agent');

test('the station never loads the parser of the command line', () => {
  expect(packagesOf(resolve(agent, 'cli/process.ts'))).toContain('yargs/yargs');
  for (const file of ['run.ts', 'daemon.ts']) {
    expect(packagesOf(resolve(agent, file))).not.toContain('yargs/yargs');
  }
  expect(packagesOf(resolve(agent, 'run.ts'))).toContain('valibot');
});
