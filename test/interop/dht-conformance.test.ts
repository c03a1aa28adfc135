import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CONFORMANCE, OUR_NODE, PYTHON } from '../peers/opendht/programs.ts';

/** The black-box run against our node (test/peers/opendht/README.md): hand-made datagrams, then real nodes. */

const PORT = 46030;

interface CaseResult {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

const names = execFileSync(PYTHON, [CONFORMANCE, '--list'], { encoding: 'utf8' })
  .split('\n')
  .flatMap((line) => /^(?:raw|peers)\s+(\S+)/.exec(line)?.[1] ?? []);

const node = spawn(process.execPath, ['--import', 'tsx', OUR_NODE, String(PORT)], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const results = new Map<string, CaseResult>();

beforeAll(async () => {
  const died = once(node, 'exit').then(([code]) => {
    throw new Error(`our node ended with ${code}`);
  });
  await Promise.race([once(node.stdout, 'data'), died]); // it says that it is bound
  died.catch(() => {}); // later it ends because we say so
  const folder = await mkdtemp(join(tmpdir(), 'dht-conformance-'));
  const json = join(folder, 'results.json');
  // Its exit code only says again that a case failed.
  await new Promise<void>((resolve) => {
    execFile(PYTHON, [CONFORMANCE, '--target', `127.0.0.1:${PORT}`, '--json', json], () =>
      resolve(),
    );
  });
  const { cases } = JSON.parse(await readFile(json, 'utf8')) as { cases: CaseResult[] };
  for (const result of cases) results.set(result.name, result);
  await rm(folder, { recursive: true });
}, 240_000);

afterAll(async () => {
  const gone = once(node, 'exit');
  node.kill();
  await gone;
});

describe('conformance', () => {
  test('has all its cases', () => {
    expect(names.length).toBe(105);
  });

  test.each(names)('%s', (name) => {
    expect(results.get(name)).toMatchObject({ ok: true });
  });
});
