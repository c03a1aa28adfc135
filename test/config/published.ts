import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toJsonSchema } from '@valibot/to-json-schema';
import { stringify } from 'yaml';
import { allKeys, formatPath, keyAt } from '../../agent/config/keys.ts';
import { ConfigSchema } from '../../agent/config/schema.ts';

/**
 * The two files about the configuration that people and editors read, made from the schema:
 *
 *     node --import tsx test/config/published.ts && npx biome check --write config
 *
 * A test says when they are out of date.
 */

const folder = join(import.meta.dirname, '../../config');
export const EXAMPLE_FILE = join(folder, 'doorward.yaml');
export const JSON_SCHEMA_FILE = join(folder, 'doorward.schema.json');

export function jsonSchema(): unknown {
  return toJsonSchema(ConfigSchema, {
    typeMode: 'input',
    target: 'draft-2020-12',
    // Checks in code (the range of a port inside a text) have no word in JSON schema; the station makes them.
    ignoreActions: ['check', 'metadata'],
    overrideAction: ({ valibotAction, jsonSchema }) =>
      // JSON schema patterns are always Unicode, so the flag that to-json-schema cannot say is implied.
      valibotAction.type === 'regex'
        ? {
            ...jsonSchema,
            pattern: (valibotAction as unknown as { requirement: RegExp }).requirement.source,
          }
        : undefined,
  });
}

const WIDTH = 100;

function comment(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = `${indent}#`;
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = `${indent}#`;
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

/** Every key with its explanation: set to its default, or commented out with an example where there is none. */
export function exampleYaml(): string {
  const out = [
    '# yaml-language-server: $schema=./doorward.schema.json',
    '#',
    '# Configuration of Doorward. Every key is here and every one may be left out: what is set below is',
    '# the default, what is commented out is an example. `doorward check-config FILE` tells what is wrong',
    '# with a file before a station starts with it.',
    '#',
    '# A key can also be set by a variable (DOORWARD_DHT_PORT=4300) and on the command line',
    '# (doorward run --set dht.port=4300); the command line wins over variables, those over this file.',
    '# Relative paths count from the folder of this file.',
  ];
  let section: string | undefined;
  for (const path of allKeys()) {
    const key = keyAt(path);
    if (key === undefined) throw new Error(`no schema for ${formatPath(path)}`);
    const inSection = path.length > 1;
    if (!inSection || path[0] !== section) out.push('');
    if (inSection && path[0] !== section) {
      out.push(...comment(keyAt(path.slice(0, 1))?.description ?? '', ''), `${path[0]}:`);
    }
    section = path[0];
    const indent = inSection ? '  ' : '';
    out.push(...comment(key.description, indent));
    const { fallback } = key;
    const isEmpty = typeof fallback === 'object' && Object.keys(fallback ?? {}).length === 0;
    if (fallback !== undefined) out.push(...lines(path.at(-1) ?? '', fallback, indent));
    if (key.notes.example !== undefined && (fallback === undefined || isEmpty)) {
      const example = lines(path.at(-1) ?? '', key.notes.example, '');
      out.push(...example.map((line) => `${indent}# ${line}`));
    }
  }
  return `${out.join('\n')}\n`;
}

/** `name: value` in one line; a mapping has a line for each of its entries. */
function lines(name: string, value: unknown, indent: string): string[] {
  const flow = (item: unknown) =>
    stringify(item, { collectionStyle: 'flow', lineWidth: 0, flowCollectionPadding: false }).trim();
  const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isMapping || Object.keys(value).length === 0) return [`${indent}${name}: ${flow(value)}`];
  const entries = Object.entries(value).map(([key, item]) => `${indent}  ${key}: ${flow(item)}`);
  return [`${indent}${name}:`, ...entries];
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(EXAMPLE_FILE, exampleYaml());
  writeFileSync(JSON_SCHEMA_FILE, `${JSON.stringify(jsonSchema(), null, 2)}\n`);
}
