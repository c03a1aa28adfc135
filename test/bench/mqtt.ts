import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { exited, linesOf, Mosquitto } from '../mqtt/mosquitto.ts';

/**
 * What MQTT costs a process, in use: connected with a will, states published, commands subscribed. Prints resident and
 * private memory: `node --import tsx test/bench/mqtt.ts`.
 */

const PORT = 46480;
const root = resolve(import.meta.dirname, '../..');
// Inside the project, so that what is not bundled is found.
const folder = join(root, 'dist/bench');

interface Variant {
  readonly name: string;
  readonly uses: readonly ('client' | 'broker')[];
  readonly bundled: boolean;
  /** With mqtt-packet's table of numbers, as in a program that does not know of it. */
  readonly table?: boolean;
}

const VARIANTS: readonly Variant[] = [
  { name: 'bare node', uses: [], bundled: false },
  { name: 'client, from node_modules, with table', uses: ['client'], bundled: false, table: true },
  { name: 'client, from node_modules', uses: ['client'], bundled: false },
  { name: 'client, bundled, with table', uses: ['client'], bundled: true, table: true },
  { name: 'client, bundled', uses: ['client'], bundled: true },
  { name: 'embedded broker, from node_modules', uses: ['broker'], bundled: false },
  { name: 'embedded broker, bundled', uses: ['broker'], bundled: true },
  { name: 'client and embedded broker, bundled', uses: ['client', 'broker'], bundled: true },
];

function source({ uses, table }: Variant): string {
  const from = (file: string) => JSON.stringify(join(root, 'agent', file));
  const lines = [
    `import { systemClock } from ${from('base/clock.ts')};`,
    `import { systemRandom } from ${from('base/random.ts')};`,
    `import { silentLogger } from ${from('base/log.ts')};`,
    `let port = ${PORT};`,
  ];
  if (uses.includes('broker')) {
    lines.push(
      `const { startBroker } = await import(${from('mqtt/broker.ts')});`,
      'port = (await startBroker({ port: 0 })).port;',
    );
  }
  if (uses.includes('client')) {
    lines.push(
      `const { createMqtt } = await import(${from('mqtt/client.ts')});`,
      `const mqtt = createMqtt({
        config: { url: 'mqtt://127.0.0.1:' + port, base: 'bench' }, node: 'front',
        info: { version: '0', stationId: '01234567' }, privacy: { publishMessageText: false },
        clock: systemClock, random: systemRandom, logger: silentLogger,
        handle: async () => ({ code: 'ok', message: '' }),
      });`,
      'mqtt.start();',
      "while (mqtt.state() !== 'connected') await new Promise((r) => setTimeout(r, 20));",
      ...(table ? ["(await import('mqtt-packet')).writeToStream.cacheNumbers = true;"] : []),
      "mqtt.publish({ type: 'audio.state', state: 'ok' });",
    );
  }
  lines.push(
    'await new Promise((r) => setTimeout(r, 1500));',
    'globalThis.gc();',
    "console.log('ready');",
    'setInterval(() => {}, 60_000);',
  );
  return lines.join('\n');
}

async function measure(variant: Variant): Promise<string> {
  const outfile = join(folder, `${VARIANTS.indexOf(variant)}.mjs`);
  await build({
    stdin: { contents: source(variant), loader: 'ts', resolveDir: root },
    outfile,
    bundle: true,
    minify: variant.bundled,
    packages: variant.bundled ? 'bundle' : 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    banner: {
      js: "import { createRequire as r } from 'node:module'; const require = r(import.meta.url);",
    },
  });
  const child = spawn(process.execPath, ['--expose-gc', outfile], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await linesOf(child).waitFor((line) => line === 'ready', 20_000);
  const rollup = readFileSync(`/proc/${child.pid}/smaps_rollup`, 'utf8');
  const mb = (key: string) =>
    Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(rollup)?.[1]) / 1024;
  child.kill('SIGKILL');
  await exited(child);
  const rss = mb('Rss');
  const dirty = mb('Private_Dirty');
  return `${variant.name.padEnd(40)} ${rss.toFixed(1).padStart(6)} ${dirty.toFixed(1).padStart(8)}`;
}

const mosquitto = new Mosquitto(PORT);
mkdirSync(folder, { recursive: true });
await mosquitto.start();
try {
  console.log(`${'MB'.padEnd(40)} ${'rss'.padStart(6)} ${'private'.padStart(8)}`);
  for (const variant of VARIANTS) console.log(await measure(variant));
} finally {
  await mosquitto.remove();
  rmSync(folder, { recursive: true, force: true });
}
