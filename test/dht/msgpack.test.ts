import { describe, expect, test } from 'vitest';
import { fromHex, toHex, utf8 } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { MsgpackReader, NO_CODE, textCode } from '../../agent/dht/msgpack-reader.ts';
import { MsgpackWriter } from '../../agent/dht/msgpack-writer.ts';

const written = (write: (out: MsgpackWriter) => unknown) => {
  const out = new MsgpackWriter(1);
  write(out);
  return toHex(out.finish());
};

test.each([
  [0, '00'],
  [127, '7f'],
  [128, 'cc80'],
  [255, 'ccff'],
  [256, 'cd0100'],
  [0xffff, 'cdffff'],
  [0x1_0000, 'ce00010000'],
  [0xffff_ffff, 'ceffffffff'],
  [2 ** 32, 'cf0000000100000000'],
  [2n ** 64n - 1n, 'cfffffffffffffffff'],
  [5n, '05'],
  [0xffff_ffffn, 'ceffffffff'],
  [-1, 'ff'],
  [-32, 'e0'],
  [-33, 'd0df'],
  [-129, 'd1ff7f'],
  [-32769, 'd2ffff7fff'],
  [-(2 ** 31) - 1, 'd3ffffffff7fffffff'],
])('the integer %s is written in its shortest form', (value, hex) => {
  expect(written((out) => out.int(value))).toBe(hex);
  const reader = new MsgpackReader(fromHex(hex));
  if (value >= 0) expect(reader.uint64()).toBe(BigInt(value));
  else expect(reader.int()).toBe(value);
});

test.each([
  [0, 'a0', 'c400'],
  [31, 'bf', 'c41f'],
  [32, 'd920', 'c420'],
  [255, 'd9ff', 'c4ff'],
  [256, 'da0100', 'c50100'],
  [65_536, 'db00010000', 'c600010000'],
])('%i bytes of str and bin have the shortest header', (length, str, bin) => {
  const text = 'x'.repeat(length);
  expect(written((out) => out.str(text)).slice(0, str.length)).toBe(str);
  expect(written((out) => out.bin(utf8(text))).slice(0, bin.length)).toBe(bin);
  const reader = new MsgpackReader(fromHex(written((out) => out.str(text).bin(utf8(text)))));
  expect(reader.str()).toBe(text);
  expect(reader.bin().length).toBe(length);
});

test.each([
  [15, '9f', '8f'],
  [16, 'dc0010', 'de0010'],
  [65_536, 'dd00010000', 'df00010000'],
])('a list of %i and a map of as many have the shortest header', (count, array, map) => {
  expect(written((out) => out.array(count))).toBe(array);
  expect(written((out) => out.map(count))).toBe(map);
});

describe('a reader', () => {
  test('gives keys as codes, and none for what is no short ASCII str', () => {
    const hex = written((out) =>
      out.str('refresh').str('ping').str('muchlonger').bin(utf8('ping')).int(7).str('é').str(''),
    );
    const reader = new MsgpackReader(fromHex(hex));
    expect(reader.textCode()).toBe(textCode('refresh'));
    expect(reader.textCode()).toBe(textCode('ping'));
    for (let i = 0; i < 4; i++) expect(reader.textCode()).toBe(NO_CODE);
    expect(reader.textCode()).toBe(textCode(''));
  });

  test('steps over every type, nested as deep as a datagram is long', () => {
    const objects = [
      'c0',
      'c2',
      'ca00000000',
      'cb0000000000000000',
      'd401ff',
      `d8${'00'.repeat(17)}`,
      'c70305aabbcc',
      'c8000105aa',
      'c90000000105aa',
    ];
    for (const hex of [...objects, `${'91'.repeat(60_000)}c0`, `${'81a161'.repeat(20_000)}c0`]) {
      const reader = new MsgpackReader(fromHex(`${hex}2a`));
      reader.skip();
      expect(reader.uint(100)).toBe(42);
    }
  });

  test('refuses announced lengths that the bytes cannot hold, without allocating them', () => {
    for (const hex of [
      'ddffffffff',
      'dfffffffffa161',
      'dbffffffff616263',
      'c6ffffffff',
      'c9ffffffff01',
      '91',
      'c1',
      '',
    ]) {
      const reader = () => new MsgpackReader(fromHex(hex));
      expect(() => reader().skip()).toThrow(DecodeError);
      expect(() => reader().arrayHeader()).toThrow(DecodeError);
      expect(() => reader().mapHeader()).toThrow(DecodeError);
      expect(() => reader().blob()).toThrow(DecodeError);
      expect(() => reader().str()).toThrow(DecodeError);
    }
  });

  test('keeps str and bin apart, reads blobs from both and from lists of bytes', () => {
    const hex = written((out) => out.str('ab').bin(utf8('ab')).array(2).int(97).int(98));
    const reader = new MsgpackReader(fromHex(hex));
    for (let i = 0; i < 3; i++) expect(toHex(reader.blob())).toBe('6162');
    expect(() => new MsgpackReader(fromHex('a26162')).bin()).toThrow(DecodeError);
    expect(() => new MsgpackReader(fromHex('c4026162')).str()).toThrow(DecodeError);
    expect(() => new MsgpackReader(fromHex('92cd010001')).blob()).toThrow(DecodeError);
  });

  test('gives copies: the packet may be used again', () => {
    const packet = Buffer.from('c403010203', 'hex');
    const bytes = new MsgpackReader(packet).bin();
    packet.fill(0);
    expect(toHex(bytes)).toBe('010203');
  });

  test('text that is not UTF-8 is no str', () => {
    expect(() => new MsgpackReader(fromHex('a2c328')).str()).toThrow(DecodeError);
  });
});
