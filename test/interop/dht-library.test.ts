import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CommandOutcome, Workshop } from './harness.ts';
import { buildBundle, execute, ROOT } from './outside.ts';

/** `doorward/dht` as another program has it: installed in an empty folder, run by plain Node, checked by TypeScript. */

let workshop: Workshop;
let example: string;

beforeAll(async () => {
  workshop = await Workshop.open('library');
  await buildBundle(workshop.folder);
  // What `npm install FOLDER` makes of a folder.
  await mkdir(join(workshop.folder, 'consumer/node_modules'), { recursive: true });
  await symlink(
    join(workshop.folder, 'dist'),
    join(workshop.folder, 'consumer/node_modules/doorward'),
  );
  const readme = await readFile(join(ROOT, 'agent/dht/README.md'), 'utf8');
  example = /```js\n(.*?)```/s.exec(readme)?.[1] ?? '';
  expect(example).toContain("from 'doorward/dht'");
}, 60_000);

afterAll(() => workshop.close());

async function inConsumer(name: string, text: string, command: readonly string[]) {
  const cwd = join(workshop.folder, 'consumer');
  await writeFile(join(cwd, name), text);
  return await execute([process.execPath, ...command, name], { cwd, env: {} });
}

const TSC = [
  join(ROOT, 'node_modules/typescript/bin/tsc'),
  ...['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node'],
  ...['--typeRoots', join(ROOT, 'node_modules/@types')],
];
const typed = (name: string, text: string): Promise<CommandOutcome> => inConsumer(name, text, TSC);

test('the example of the README runs as it stands', async () => {
  expect(await inConsumer('example.mjs', example, [])).toEqual({
    code: 0,
    stdout: 'new hello\ngot hello\n',
    stderr: '',
  });
});

test('has types that hold what they promise', async () => {
  expect(await typed('example.mts', example)).toMatchObject({ code: 0, stdout: '' });
  const wrong = `${example}\nconst port: string = one.port;\n`;
  const { code, stdout } = await typed('wrong.mts', wrong);
  expect(code).not.toBe(0);
  expect(stdout).toContain("Type 'number' is not assignable to type 'string'");
  expect(stdout.match(/error TS/g)).toHaveLength(1);
});

test('is all that the package gives, in a clone as in the bundle', async () => {
  const [clone, bundle] = await Promise.all(
    [ROOT, join(workshop.folder, 'dist')].map(async (folder) =>
      JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')),
    ),
  );
  expect(JSON.parse(JSON.stringify(clone.exports).replaceAll('./dist/', './'))).toEqual(
    bundle.exports,
  );
  const inside = await inConsumer('inside.mjs', "import 'doorward/main.js';", []);
  expect(inside.stderr).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED');
});

test('loads neither the station nor its packages', async () => {
  const script = `
    import 'doorward/dht';
    import { memoryUsage } from 'node:process';
    console.log(memoryUsage.rss());`;
  const bare = await inConsumer('bare.mjs', 'console.log(process.memoryUsage.rss());', []);
  const { stdout } = await inConsumer('load.mjs', script, []);
  const mb = (Number(stdout) - Number(bare.stdout)) / 1e6;
  console.log(`resident: the library adds ${mb.toFixed(1)} MB to bare Node`);
  expect(mb).toBeLessThan(20);
  // Without koffi it has one socket call for each datagram, and works.
  await rm(join(workshop.folder, 'dist/node_modules'), { recursive: true });
  expect(await inConsumer('example.mjs', example, [])).toMatchObject({ code: 0 });
});
