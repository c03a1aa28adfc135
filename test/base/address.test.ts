import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatAddress,
  formatIp,
  isIpv4Address,
  parseHostPort,
  parseIp,
  sameAddress,
  sameIp,
} from '../../agent/base/address.ts';
import { toHex } from '../../agent/base/bytes.ts';
import { AgentError } from '../../agent/base/errors.ts';

const ip = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);

describe('parseIp', () => {
  test.each([
    ['0.0.0.0', '00000000'],
    ['192.0.2.255', 'c00002ff'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['1::', '00010000000000000000000000000000'],
    ['2001:db8::8:800:200c:417a', '20010db80000000000080800200c417a'],
    ['2001:DB8:0:0:8:800:200C:417A', '20010db80000000000080800200c417a'],
    ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201'],
    ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221'],
    ['1:2:3:4:5:6:7::', '00010002000300040005000600070000'],
    ['::2:3:4:5:6:7:8', '00000002000300040005000600070008'],
  ])('%s is %s', (text, hex) => {
    expect(toHex(parseIp(text) ?? new Uint8Array())).toBe(hex);
  });

  test.each([
    '',
    'door',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    ':::',
    '1::2::3',
    'fe80::1%eth0',
    '12345::',
  ])('%j is no address', (text) => {
    expect(parseIp(text)).toBeUndefined();
  });

  test('reads what formatIp writes, and that is an address to others too', () => {
    fc.assert(
      fc.property(ip, (value) => {
        const text = formatIp(value);
        expect(isIP(text)).toBe(value.length === 4 ? 4 : 6);
        expect(parseIp(text)).toEqual(value);
      }),
    );
  });

  test('reads compressed addresses as the URL standard writes them', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const value = parseIp(text) ?? new Uint8Array();
        expect(new URL(`http://[${formatIp(value)}]`).host).toBe(new URL(`http://[${text}]`).host);
      }),
    );
  });
});

describe('addresses', () => {
  test('are equal by content', () => {
    fc.assert(
      fc.property(ip, ip, fc.nat(65_535), fc.nat(65_535), (a, b, p, q) => {
        expect(sameIp(a, a.slice())).toBe(true);
        expect(sameIp(a, b)).toBe(toHex(a) === toHex(b));
        expect(sameAddress({ ip: a, port: p }, { ip: a.slice(), port: q })).toBe(p === q);
      }),
    );
  });

  test('are written with their port, IPv6 in brackets', () => {
    expect(formatAddress({ ip: Uint8Array.of(192, 0, 2, 1), port: 4222 })).toBe('192.0.2.1:4222');
    const v6 = { ip: parseIp('2001:db8::1') ?? new Uint8Array(), port: 4222 };
    expect(formatAddress(v6)).toBe('[2001:db8:0:0:0:0:0:1]:4222');
    expect(isIpv4Address(v6)).toBe(false);
  });
});

describe('parseHostPort', () => {
  test.each([
    ['bootstrap.example:4223', 'bootstrap.example', 4223],
    ['bootstrap.example', 'bootstrap.example', 4222],
    ['192.0.2.1:1', '192.0.2.1', 1],
    ['[2001:db8::1]:65535', '2001:db8::1', 65_535],
    ['[::1]', '::1', 4222],
  ])('%s', (text, host, port) => {
    expect(parseHostPort(text, 4222)).toEqual({ host, port });
  });

  test.each([
    '',
    ':4222',
    'door:',
    'door:0',
    'door:65536',
    'door:99999',
    '::1',
    '[::1',
    'a:b',
    'a:1:2',
  ])('%j is refused with a hint', (text) => {
    try {
      parseHostPort(text, 4222);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(AgentError);
      expect(error).toMatchObject({ code: 'bad-address', hint: 'write it as 192.0.2.1:4222' });
    }
  });
});
