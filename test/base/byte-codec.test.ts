import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  concatBytes,
  equalBytes,
  fromHex,
  fromUtf8,
  Reader,
  toHex,
  utf8,
  Writer,
} from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';

const bytes = fc.uint8Array({ maxLength: 300 });

describe('hex', () => {
  test('reads what it wrote, in both cases', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        expect(fromHex(toHex(value))).toEqual(value);
        expect(fromHex(toHex(value).toUpperCase())).toEqual(value);
      }),
    );
    expect(toHex(Uint8Array.of(0, 1, 0xab, 0xff))).toBe('0001abff');
  });

  test.each(['0', 'abc', '0g', ' 00', '0x', '00\n'])('refuses %j', (text) => {
    expect(() => fromHex(text)).toThrow(DecodeError);
  });
});

describe('UTF-8', () => {
  test('reads what it wrote, a byte order mark included', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(fromUtf8(utf8(text))).toBe(text);
      }),
    );
    expect(fromUtf8(utf8('\uFEFFhello'))).toBe('\uFEFFhello');
  });

  test.each([
    ['a lone continuation byte', [0x80]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['half a character', [0xe2, 0x82]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a number beyond Unicode', [0xf5, 0x80, 0x80, 0x80]],
  ])('refuses %s', (_what, malformed) => {
    expect(() => fromUtf8(Uint8Array.from(malformed))).toThrow(DecodeError);
  });
});

test('equalBytes is equality of content', () => {
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      expect(equalBytes(a, a.slice())).toBe(true);
      expect(equalBytes(a, b)).toBe(toHex(a) === toHex(b));
    }),
  );
});

test('concatBytes keeps every part in order', () => {
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 5 }), (parts) => {
      expect(toHex(concatBytes(...parts))).toBe(parts.map(toHex).join(''));
    }),
  );
});

/** One value of each field kind, and how it is written and read. */
const field = fc.oneof(
  fc.record({ kind: fc.constant('uint8' as const), value: fc.nat(0xff) }),
  fc.record({ kind: fc.constant('uint16' as const), value: fc.nat(0xffff) }),
  fc.record({ kind: fc.constant('uint32' as const), value: fc.nat(0xffffffff) }),
  fc.record({ kind: fc.constant('uint64' as const), value: fc.bigInt(0n, 2n ** 64n - 1n) }),
  fc.record({ kind: fc.constant('bytes' as const), value: bytes }),
);
type Field = typeof field extends fc.Arbitrary<infer T> ? T : never;

function write(writer: Writer, { kind, value }: Field): void {
  if (kind === 'bytes') writer.bytes(value);
  else if (kind === 'uint64') writer.uint64(value);
  else writer[kind](value);
}

describe('Reader and Writer', () => {
  test('read back every sequence of fields, however it grew', () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 60 }), (fields) => {
        const writer = new Writer();
        for (const each of fields) write(writer, each);
        const written = writer.finish();
        expect(written.length).toBe(writer.length);
        const reader = new Reader(written);
        for (const { kind, value } of fields) {
          expect(kind === 'bytes' ? reader.bytes(value.length) : reader[kind]()).toEqual(value);
        }
        expect(reader.remaining).toBe(0);
      }),
    );
  });

  test('are big endian', () => {
    const written = new Writer().uint16(0x0102).uint32(0x03040506).uint64(0x0708090a0b0c0d0en);
    expect(toHex(written.finish())).toBe('0102030405060708090a0b0c0d0e');
  });

  test('a reader never goes past its end and stays where it was', () => {
    const read = [
      (reader: Reader) => reader.uint8(),
      (reader: Reader) => reader.uint16(),
      (reader: Reader) => reader.uint32(),
      (reader: Reader) => reader.uint64(),
      (reader: Reader) => reader.bytes(9),
      (reader: Reader) => reader.bytes(-1),
    ];
    const whole = new Uint8Array(40).fill(1);
    for (const [i, take] of read.entries()) {
      const short = [0, 1, 3, 7, 8, 8][i] ?? 0;
      const reader = new Reader(whole.subarray(10, 10 + short));
      expect(() => take(reader)).toThrow(DecodeError);
      expect(reader.remaining).toBe(short);
    }
  });

  test('what a reader gives survives the packet that it came in', () => {
    const packet = Uint8Array.of(1, 2, 3);
    const copy = new Reader(packet).bytes(3);
    packet.fill(0);
    expect([...copy]).toEqual([1, 2, 3]);
  });

  test('a finished writer may go on without changing what it gave', () => {
    const writer = new Writer().uint8(1);
    const first = writer.finish();
    writer.uint8(2);
    expect([[...first], [...writer.finish()]]).toEqual([[1], [1, 2]]);
  });
});
