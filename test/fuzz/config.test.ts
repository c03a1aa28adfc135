import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readConfigText } from '../../agent/config/file.ts';
import { complaints } from '../config/load.ts';
import { EXAMPLE_FILE } from '../config/published.ts';

const example = readFileSync(EXAMPLE_FILE, 'utf8').replaceAll(/^ *#.*\n/gm, '');

describe('reading a configuration file', () => {
  test('turns any text into values or problems with a place, and never throws', () => {
    const yamlish = fc.string({
      unit: fc.constantFrom(...'ab:-?[]{},#&*!|>\'"%@`~0.\n\t \\\r\u2028\ufeff', 'dht:', '\n  '),
      maxLength: 200,
    });
    fc.assert(
      fc.property(fc.oneof(yamlish, fc.string({ maxLength: 200 })), (text) => {
        const { problems } = readConfigText(text);
        for (const { place } of problems) {
          expect(place.line).toBeGreaterThan(0);
          expect(place.column).toBeGreaterThan(0);
          expect(place.line).toBeLessThanOrEqual(text.split('\n').length + 1);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('survives what nests as deep as the limits allow', () => {
    let stairs = '';
    for (let i = 0; stairs.length + i < (1 << 18) - 8; i++) stairs += `${' '.repeat(i)}a:\n`;
    let dashes = '';
    for (let i = 0; dashes.length + 33 * i + 64 < 1 << 18; i++) {
      dashes += `${' '.repeat(32 * i)}${'- '.repeat(16)}\n`;
    }
    expect(readConfigText(stairs).problems.length).toBeLessThan(10);
    expect(readConfigText(dashes).problems.length).toBeLessThan(10);
  });

  test('gives a place to every complaint about a damaged file', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(example.length - 1),
        fc.constantFrom('x', ':', '[', '"', '\n', '&', '\t', ' '),
        async (at, by) => {
          const damaged = example.slice(0, at) + by + example.slice(at + 1);
          for (const line of (await complaints(damaged)).slice(0, -1)) {
            expect(line).toMatch(/^doorward\.yaml:\d+:\d+ {2}\S/);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
