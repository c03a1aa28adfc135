import { describe, expect, test } from 'vitest';
import { commandIndex } from '../../agent/cli/command-index.ts';
import { formatSeconds, printable, table } from '../../agent/cli/output.ts';
import { PlayAhead } from '../../agent/cli/play-ahead.ts';
import { readyText } from '../../agent/ready-text.ts';
import { parseRunArguments } from '../../agent/run.ts';
import { loadGood } from '../config/load.ts';

describe('run', () => {
  test('takes its few options', () => {
    expect(parseRunArguments(['-c', 'a.yaml', '--set', 'a=1', '--set=b=2', '-q'])).toEqual({
      config: 'a.yaml',
      settings: ['a=1', 'b=2'],
      json: false,
      quiet: true,
      dhtOnly: false,
      tied: false,
    });
  });

  test.each([['--loud'], ['now'], ['-c'], ['--json=yes']])('refuses %s', (arg) => {
    expect(() => parseRunArguments([arg])).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  test.each([
    [['run', '-c', 'a.yaml'], 'run'],
    [['-c', 'a.yaml', 'run', '--quiet'], 'run'],
    [['--config=run', '--json', 'status'], 'status'],
    [['--set', 'a=1', '-q', 'run'], 'run'],
    [['-c', 'run'], undefined],
    [['-c'], undefined],
    [[], undefined],
  ])('is told from other commands in %o', (argv, command) => {
    expect(argv[commandIndex(argv)]).toBe(command);
  });

  test('says how to call it, as it was started itself', async () => {
    const config = await loadGood(undefined);
    const ready = {
      mode: 'station',
      id: 'a1'.repeat(20),
      dht: '127.0.0.1:4222',
      mqtt: 'off',
      sound: 'silence',
    } as const;
    const environment = { npm_execpath: '/usr/bin/npm' };
    expect(readyText(ready, { environment, config, file: undefined })).toContain(
      `  npx doorward contact add caller $(npx doorward id --state ./caller) --can ring,auto_answer\n` +
        `  npx doorward call ${ready.id} --state ./caller --record heard.wav --for 10s\n`,
    );
    expect(readyText(ready, { environment: {}, config, file: "it's.yaml" })).toContain(
      `  doorward -c 'it'\\''s.yaml' contact add caller`,
    );
  });
});

describe('PlayAhead', () => {
  test('keeps half a second ahead, catches up after a stall, and stops at the end', () => {
    const ahead = new PlayAhead(100, 1000);
    expect(ahead.take(1000)).toBe(25);
    expect(ahead.take(1000)).toBe(0);
    expect(ahead.take(1100)).toBe(5);
    expect(ahead.take(1900)).toBe(40);
    expect(ahead.nextTimeout(1900)).toBe(2000);
    expect(ahead.take(9999)).toBe(30);
    expect(ahead.nextTimeout(9999)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('output', () => {
  test.each([
    [0, '0 s'],
    [59.9, '59 s'],
    [60, '1 min'],
    [3723, '1 h 2 min'],
    [200_000, '2 d 7 h'],
  ])('%d s is %s', (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text);
  });

  test('lines columns up and leaves no blanks at the end', () => {
    expect(
      table([
        ['a', 'b', ''],
        ['long', 'c', 'd'],
      ]),
    ).toBe('a     b\nlong  c  d');
  });

  test('takes control characters out', () => {
    expect(printable('a\u0007b\u2028c\r\n\u200b')).toBe('a b c   ');
  });
});
