import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { allKeys, formatPath, keyAt } from '../../agent/config/keys.ts';
import { complaints, loadGood } from './load.ts';
import { EXAMPLE_FILE, exampleYaml, JSON_SCHEMA_FILE, jsonSchema } from './published.ts';

const example = readFileSync(EXAMPLE_FILE, 'utf8');

describe('config/doorward.yaml', () => {
  test('is up to date', () => {
    expect(example).toBe(exampleYaml());
  });

  test('says what the defaults are', async () => {
    expect(await loadGood(example)).toEqual(await loadGood(undefined));
  });

  test('names and explains every key', () => {
    const words = example.replaceAll(/\s*\n\s*#?\s*/g, ' ');
    for (const path of allKeys()) {
      const key = keyAt(path);
      expect(example).toMatch(new RegExp(`^ *(# )?${path.at(-1)}:`, 'm'));
      expect(key?.description, formatPath(path)).not.toBe('');
      expect(words).toContain(key?.description);
      expect(key?.notes.expects, formatPath(path)).toBeTruthy();
    }
  });

  test('has examples that are right, all together', async () => {
    const tree: Record<string, Record<string, unknown>> = {};
    for (const path of allKeys()) {
      const [section = '', name] = path;
      const example = keyAt(path)?.notes.example;
      if (example === undefined) continue;
      if (name === undefined) Object.assign(tree, { [section]: example });
      else tree[section] = { ...tree[section], [name]: example };
    }
    expect(Object.keys(tree)).toContain('contacts');
    expect(await complaints(stringify(tree))).toEqual([]);
  });
});

describe('config/doorward.schema.json', () => {
  test('is up to date', () => {
    expect(JSON.parse(readFileSync(JSON_SCHEMA_FILE, 'utf8'))).toEqual(
      JSON.parse(JSON.stringify(jsonSchema())),
    );
  });

  test('explains keys and refuses unknown ones', () => {
    expect(jsonSchema()).toMatchObject({
      additionalProperties: false,
      properties: {
        dht: {
          additionalProperties: false,
          properties: { port: { type: 'integer', default: 4222, description: expect.any(String) } },
        },
      },
    });
  });
});
