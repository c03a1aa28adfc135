// Bundles the station for a board: `npm run build`, or `node cross/build.mjs --root FOLDER --out FOLDER`.
// What it makes and why: README.md beside this file.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { build } from 'esbuild';

/** Programs, and the library, that may exist under agent/: dist/NAME.js from SOURCE.ts; what they share becomes chunks. */
const ENTRIES = { main: 'main', dht: 'dht-library' };

/** What `import … from 'doorward/dht'` finds, in the bundle; in a clone it is the same below dist/ (package.json). */
const EXPORTS = { './dht': { types: './types/dht-library.d.ts', default: './dht.js' } };

/** Packages with files of their own for each machine: installed beside the bundle, never in it. */
const EXTERNAL = ['koffi', 'node-datachannel', '@evan/opus'];

/** Packages in which a second copy would be a fault: the reason. */
const ONE_COPY = {
  'mqtt-packet': 'its number table (8 MB) is switched off once for client and broker',
};

// Packages in CommonJS ask for Node's modules with require(), which an ES module does not have.
const BANNER =
  "import { createRequire as nodeRequire } from 'node:module'; const require = nodeRequire(import.meta.url);";

const TSC = join(import.meta.dirname, '../node_modules/typescript/bin/tsc');

const { values } = parseArgs({
  options: { root: { type: 'string' }, out: { type: 'string' } },
});
const root = resolve(values.root ?? join(import.meta.dirname, '..'));
const out = resolve(values.out ?? join(root, 'dist'));
const agent = join(root, 'agent');

const files = await readdir(agent, { recursive: true, withFileTypes: true });
const hasSource = (name) =>
  files.some((file) => file.parentPath === agent && file.name === `${name}.ts`);
const entryPoints = Object.fromEntries(
  Object.entries(ENTRIES)
    .filter(([, source]) => hasSource(source))
    .map(([name, source]) => [name, join(agent, `${source}.ts`)]),
);
if (entryPoints.main === undefined) fail(`there is no main.ts in ${agent}`);

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints,
  outdir: out,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // A dynamic import() becomes a file of its own, so the daemon never reads what only the command line needs.
  splitting: true,
  // Beside the entries, not in a folder: code that finds its assets by import.meta.url finds them from a chunk too.
  chunkNames: '[name]-[hash]',
  external: EXTERNAL,
  minify: true,
  // Stack traces and error classes name what the source names.
  keepNames: true,
  sourcemap: 'linked',
  sourcesContent: false,
  legalComments: 'none',
  banner: { js: BANNER },
  define: { 'process.env.NODE_ENV': '"production"' },
  metafile: true,
  logLevel: 'warning',
});

const inputs = Object.keys(metafile.inputs);
checkOneCopy(inputs);
await copyAssets();
if (entryPoints.dht !== undefined) await declarations(entryPoints.dht);
await writeFile(join(out, 'package.json'), `${JSON.stringify(await runtimePackage(), null, 2)}\n`);
await writeFile(join(out, 'THIRD-PARTY.txt'), await licences(inputs));
report(metafile.outputs);

/** Everything under agent/ that is no source: sounds, pictures. Flat, as the bundle is. */
async function copyAssets() {
  const assets = files.filter((file) => file.isFile() && !/\.(ts|mjs|md)$|^\./.test(file.name));
  const names = assets.map((file) => file.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    fail(`two assets are called ${twice}: in the bundle they share a folder`);
  for (const file of assets) await cp(join(file.parentPath, file.name), join(out, file.name));
  // What `doorward init` writes for a person to edit.
  const example = join(root, 'config/doorward.yaml');
  if (existsSync(example)) await cp(example, join(out, 'doorward.yaml'));
}

/** Types of the library, and of what its types mention: dist/types. */
async function declarations(entry) {
  const types = join(out, 'types');
  const project = join(out, 'tsconfig.json');
  const compilerOptions = {
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    sourceMap: false,
    rootDir: agent,
    outDir: types,
    typeRoots: [join(root, 'node_modules/@types')],
  };
  const base = join(root, 'tsconfig.json');
  await writeFile(
    project,
    JSON.stringify({ extends: base, compilerOptions, include: [], files: [entry] }),
  );
  try {
    await promisify(execFile)(process.execPath, [TSC, '-p', project]);
  } catch (error) {
    fail(`no types: ${error.stdout ?? error.message}`);
  }
  await rm(project);
  // The sources import .ts; declarations are beside .js.
  for (const file of await readdir(types, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const path = join(file.parentPath, file.name);
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replaceAll(/(from '\.[^']*)\.ts'/g, "$1.js'"));
  }
}

/** What npm needs to install the external packages beside the bundle, in the versions that were tested. */
async function runtimePackage() {
  const { name, version, license, engines, os, dependencies } = await readJson(
    join(root, 'package.json'),
  );
  return {
    name,
    version,
    license,
    private: true,
    type: 'module',
    engines,
    os,
    ...(entryPoints.dht !== undefined && { exports: EXPORTS }),
    dependencies: Object.fromEntries(
      Object.entries(dependencies).filter(([dependency]) => EXTERNAL.includes(dependency)),
    ),
  };
}

function checkOneCopy(paths) {
  for (const [name, reason] of Object.entries(ONE_COPY)) {
    const copies = packageFolders(paths).filter((folder) =>
      folder.endsWith(`node_modules/${name}`),
    );
    if (copies.length > 1) fail(`${copies.join(' and ')} are in the bundle, but ${reason}`);
  }
}

/** The licences of all packages that are in the bundle: theirs ask to be passed on. */
async function licences(paths) {
  const texts = [];
  for (const folder of packageFolders(paths)) {
    const { name, version, license } = await readJson(join(root, folder, 'package.json'));
    const file = (await readdir(join(root, folder))).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? '' : `\n${await readFile(join(root, folder, file), 'utf8')}`;
    texts.push(`${name} ${version}: ${license ?? 'see its licence'}\n${text}`);
  }
  return texts.join(`\n${'-'.repeat(100)}\n`);
}

/** `node_modules/…/PACKAGE` of each input that comes from a package. */
function packageFolders(paths) {
  const folders = paths.flatMap(
    (path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? [],
  );
  return [...new Set(folders)].sort();
}

function report(outputs) {
  const scripts = Object.entries(outputs).filter(([path]) => path.endsWith('.js'));
  for (const [path, { bytes }] of scripts.sort((a, b) => b[1].bytes - a[1].bytes)) {
    console.log(`${String(Math.ceil(bytes / 1024)).padStart(6)} KiB  ${basename(path)}`);
  }
  console.log(`bundle in ${relative(process.cwd(), out) || out}`);
}

async function readJson(path) {
  return JSON.parse(await readFile(path, 'utf8'));
}

function fail(sentence) {
  console.error(`build: ${sentence}`);
  process.exit(1);
}
