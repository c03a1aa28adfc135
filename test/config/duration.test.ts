import { expect, test } from 'vitest';
import { parseDuration } from '../../agent/base/duration.ts';

test.each([
  ['10s', 10_000],
  ['500ms', 500],
  ['1.5m', 90_000],
  ['2h', 7_200_000],
  ['0s', 0],
])('%s is %d ms', (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each(['10', '', 's', '-1s', '1 s', '1d', '1e3s', '1.s', '10S', `${'9'.repeat(20)}s`])(
  '"%s" is no duration',
  (text) => {
    expect(parseDuration(text)).toBeUndefined();
  },
);
