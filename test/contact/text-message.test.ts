import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import {
  decodeTextMessage,
  encodeTextMessage,
  type TextMessage,
} from '../../agent/contact/text-message.ts';

/** Written by jami-daemon 20230206, as jami.md 10.2 shows it. */
const FROM_JAMI =
  '86a26964cf000b70986ed24577a36d7367a7686920646f6f72a464617465ce6b0105cda673746174757300' +
  'a86461746174797065aa746578742f706c61696ea96d6574616461746173' +
  '80';

describe('a text on the DHT', () => {
  test('of a Jami device is read, and written again byte for byte', () => {
    const message = decodeTextMessage(fromHex(FROM_JAMI));
    expect(message).toEqual({
      kind: 'text',
      id: 0x000b70986ed24577n,
      text: 'hi door',
      dateUnixS: 0x6b0105cd,
    });
    expect(toHex(encodeTextMessage(message))).toBe(FROM_JAMI);
  });

  test('comes back as it was written', () => {
    const text = fc.record({
      kind: fc.constant('text' as const),
      id: fc.bigInt(1n, 1n << 53n),
      text: fc.string({ unit: 'grapheme' }),
      dateUnixS: fc.nat(),
    });
    const ack = fc.record({ kind: fc.constant('ack' as const), id: fc.bigInt(1n, 1n << 53n) });
    fc.assert(
      fc.property(fc.oneof(text, ack), (message: TextMessage) => {
        expect(decodeTextMessage(encodeTextMessage(message))).toEqual(message);
      }),
    );
  });

  test('of another kind, or without an id, is refused', () => {
    const other = FROM_JAMI.replace('aa746578742f706c61696e', 'aa746578742f68746d6c20');
    expect(() => decodeTextMessage(fromHex(other))).toThrow(DecodeError);
    expect(() => decodeTextMessage(fromHex('80'))).toThrow('without an id');
  });

  test('hostile bytes give nothing but DecodeError', () => {
    const mutated = fc.tuple(fc.nat(FROM_JAMI.length / 2 - 1), fc.nat(255)).map(([at, byte]) => {
      const bytes = fromHex(FROM_JAMI);
      bytes[at] = byte;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        try {
          decodeTextMessage(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
