import { readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

/** Packages that a file, and whatever it imports of ours, statically or later, may load. `seen` collects what is ours. */
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

test('a node of the DHT alone loads nothing of what it has not', () => {
  const files = new Set<string>();
  const packages = packagesOf(resolve(agent, 'dht-only.ts'), files);
  const folders = new Set([...files].map((file) => dirname(relative(agent, file))));
  // Of identity only what checks signatures; of audio the length of a frame, which the control socket knows.
  expect([...folders].sort()).toEqual(['.', 'audio', 'base', 'control', 'dht', 'identity']);
  const of = (folder: string) =>
    [...files].map((file) => relative(agent, file)).filter((file) => file.startsWith(folder));
  expect(of('audio/')).toEqual(['audio/device.ts']);
  expect(of('identity/').length).toBeLessThan(8);
  expect(of('identity/')).not.toContain('identity/keystore.ts');
  expect([...packages].filter((name) => !name.startsWith('node:')).sort()).toEqual([
    'koffi',
    'valibot',
  ]);
});
