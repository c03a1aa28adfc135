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

test('a writer keeps every byte across the growth of its buffer, whatever write makes it grow', () => {
  const writers: ((writer: Writer) => Writer)[] = [
    (writer) => writer.uint8(0xa1),
    (writer) => writer.uint16(0xa1a2),
    (writer) => writer.uint32(0xa1a2a3a4),
    (writer) => writer.uint64(0xa1a2a3a4a5a6a7a8n),
    (writer) => writer.bytes(Uint8Array.of(0xa1, 0xa2, 0xa3)),
  ];
  for (const write of writers) {
    const size = write(new Writer()).length;
    for (let before = 100; before < 300; before++) {
      const writer = new Writer().bytes(new Uint8Array(before).fill(7));
      const bytes = write(writer).finish();
      expect(bytes.length).toBe(before + size);
      expect(bytes[before - 1]).toBe(7);
      expect(new Reader(bytes.subarray(before)).uint8()).toBe(0xa1);
    }
  }
});

test('bytes read out of a Buffer are a copy', () => {
  const packet = Buffer.from('0102030405', 'hex');
  const read = new Reader(packet).bytes(5);
  packet.fill(0);
  expect(read).toEqual(Uint8Array.of(1, 2, 3, 4, 5));
});
