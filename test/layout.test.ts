import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

/**
 * Who may import whom, checked on the import lines. (The idea is Tailscale's deptest.) Parts with no arrow between them
 * meet only in the assembly, the files directly under agent/.
 */
const MAY_IMPORT: Record<string, readonly string[]> = {
  base: [],
  dht: ['base'],
  audio: ['base'],
  gpio: ['base'],
  identity: ['base', 'dht'],
  contact: ['base', 'dht', 'identity'],
  call: ['base', 'dht', 'identity', 'contact', 'audio'],
  mqtt: ['base'],
  config: ['base', 'contact'],
  control: ['base', 'audio', 'contact'],
  cli: ['base', 'audio', 'identity', 'config', 'control'],
};

/** Parts that speak the vocabulary of events.ts. All but those that check input against it take types alone. */
const MAY_USE_EVENT_TYPES = new Set(['contact', 'call', 'mqtt', 'config', 'control', 'cli']);
const MAY_USE_EVENT_WORDS = new Set(['config', 'control', 'cli']);

/** The files inside folders that use timers, clocks or randomness by themselves: the few drivers that must. */
const DRIVERS = new Set([
  'base/clock.ts',
  'base/random.ts',
  'base/store.ts',
  'call/native-peer.ts',
  'dht/state-keeper.ts',
  'dht/udp-dgram.ts',
  'cli/private-station.ts',
  'mqtt/broker.ts',
  'mqtt/connection.ts',
]);

const agent = resolve(import.meta.dirname, '../agent');

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  const lines = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^'"]*?from\s+['"]([^'"]+)['"]/g,
  );
  const dynamic = text.matchAll(/import\(\s*['"]([^'"]+)['"]/g);
  return [
    ...[...lines].map((m) => ({ file, target: m[2] ?? '', typeOnly: m[1] !== undefined })),
    ...[...dynamic].map((m) => ({ file, target: m[1] ?? '', typeOnly: false })),
  ];
}

const folderOf = (file: string) => relative(agent, file).split('/').slice(0, -1)[0];

const all = sources(agent).flatMap(importsOf);

describe('layout', () => {
  test('reads import lines', () => {
    expect(all.length).toBeGreaterThan(20);
  });

  for (const [folder, allowed] of Object.entries(MAY_IMPORT)) {
    test(`agent/${folder} imports only ${['itself', ...allowed].join(', ')}`, () => {
      const wrong = all
        .filter(({ file }) => folderOf(file) === folder)
        .filter(({ target }) => target.startsWith('.'))
        .filter(({ file, target, typeOnly }) => {
          const path = resolve(dirname(file), target);
          const other = folderOf(path);
          if (other === folder || (other !== undefined && allowed.includes(other))) return false;
          const mayUse = typeOnly ? MAY_USE_EVENT_TYPES : MAY_USE_EVENT_WORDS;
          return !(relative(agent, path) === 'events.ts' && mayUse.has(folder));
        })
        .map(({ file, target }) => `${relative(agent, file)} imports ${target}`);
      expect(wrong).toEqual([]);
    });
  }

  test('every folder of agent/ is in the table', () => {
    const folders = readdirSync(agent, { withFileTypes: true }).filter((e) => e.isDirectory());
    expect(folders.map((e) => e.name).sort()).toEqual(Object.keys(MAY_IMPORT).sort());
  });

  test('only these drivers touch the clock, timers and randomness', () => {
    const touching = sources(agent)
      .filter((file) => folderOf(file) !== undefined)
      .filter((file) =>
        /\b(setTimeout|setInterval|setImmediate|Date\.now|performance\.now|Math\.random|getRandomValues|randomBytes|randomUUID)\(/.test(
          readFileSync(file, 'utf8'),
        ),
      )
      .map((file) => relative(agent, file));
    expect(touching.sort()).toEqual([...DRIVERS].sort());
  });
});
