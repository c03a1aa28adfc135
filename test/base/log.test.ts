import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createLogger, LOG_LEVELS, maskIp, shortId, silentLogger } from '../../agent/base/log.ts';

function recorder(options: { journal?: boolean; level?: (typeof LOG_LEVELS)[number] } = {}) {
  const lines: string[] = [];
  const log = createLogger({
    level: options.level ?? 'debug',
    journal: options.journal ?? true,
    write: (line) => lines.push(line),
    unixMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  });
  return { lines, log };
}

describe('records', () => {
  test('carry the journal priority of their level', () => {
    const { lines, log } = recorder();
    for (const level of LOG_LEVELS) log[level]('x');
    expect(lines).toEqual([3, 4, 5, 6, 7].map((priority) => `<${priority}>doorward: x\n`));
  });

  test('carry time and level outside the journal', () => {
    const { lines, log } = recorder({ journal: false });
    log.child('dht').info('ready', { nodes: 3, first: true });
    expect(lines).toEqual(['03:04:05.006 info   dht: ready nodes=3 first=true\n']);
  });

  test('below the level are not written', () => {
    const { lines, log } = recorder({ level: 'notice' });
    for (const level of LOG_LEVELS) log[level](level);
    expect(lines).toEqual(['<3>doorward: error\n', '<4>doorward: warn\n', '<5>doorward: notice\n']);
  });

  test('leave out what is undefined and quote what would not read back', () => {
    const { lines, log } = recorder();
    log.info('sent', { a: undefined, b: 'two words', c: 'x=1', d: 'say "hi"', e: '' });
    expect(lines).toEqual(['<6>doorward: sent b="two words" c="x=1" d="say \\"hi\\"" e=""\n']);
  });

  test('the silent logger says nothing', () => {
    expect(() => silentLogger.child('x').error('y')).not.toThrow();
  });
});

describe('text from the network', () => {
  const forged = 'hi\n<2>doorward: door opened by=alice';

  test('cannot forge a record of its own', () => {
    const { lines, log } = recorder();
    log.warn(forged, { text: forged });
    expect(lines.join('').match(/\n/g)).toHaveLength(1);
    expect(lines[0]?.startsWith('<4>doorward: hi <2>')).toBe(true);
  });

  test('cannot forge a field', () => {
    const { lines, log } = recorder();
    log.info('message', { name: 'eve verdict=allowed' });
    expect(lines[0]).toBe('<6>doorward: message name="eve verdict=allowed"\n');
  });

  test('stays on one line and moves no cursor, whatever it is', () => {
    const nasty = fc.string({
      unit: fc.constantFrom(
        '\n',
        '\r',
        '\u001b[31m',
        '\u009b',
        '\u0085',
        '\u2028',
        '\u2029',
        '\0',
        'a',
        '"',
      ),
    });
    fc.assert(
      fc.property(nasty, nasty, (message, value) => {
        const { lines, log } = recorder();
        log.error(message, { value });
        const [line = ''] = lines;
        expect(line.endsWith('\n')).toBe(true);
        expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
      }),
    );
  });
});

describe('redaction', () => {
  test('an id is cut to what tells peers apart', () => {
    expect(shortId('0123456789abcdef0123456789abcdef01234567')).toBe('01234567');
  });

  test.each([
    ['192.0.2.77', '192.0.2.x'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1::'],
    ['2001:db8::1', '2001:db8:0::'],
    ['::1', '0:0:0::'],
    ['fe80::1234%eth0', 'fe80:0:0::'],
    ['::ffff:192.0.2.77', '0:0:0::'],
    ['alices-laptop.local', '?'],
    ['192.0.2.77:4222', '?'],
  ])('%s is logged as %s', (ip, masked) => {
    expect(maskIp(ip)).toBe(masked);
  });
});
