import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concatBytes, Reader, Writer } from '../../agent/base/bytes.ts';

test('a writer that grows keeps every byte, whatever write made it grow', () => {
  fc.assert(
    fc.property(fc.nat({ max: 140 }), fc.uint8Array({ maxLength: 400 }), (lead, tail) => {
      const head = new Uint8Array(lead).fill(7);
      const written = new Writer()
        .bytes(head)
        .uint8(1)
        .uint16(2)
        .uint32(3)
        .uint64(4n)
        .bytes(tail)
        .finish();
      const reader = new Reader(written);
      expect(reader.bytes(lead)).toEqual(head);
      const numbers = [reader.uint8(), reader.uint16(), reader.uint32(), reader.uint64()];
      expect(numbers).toEqual([1, 2, 3, 4n]);
      expect(concatBytes(reader.bytes(tail.length))).toEqual(tail);
      expect(reader.remaining).toBe(0);
    }),
  );
});
