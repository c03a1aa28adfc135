import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Address } from '../../agent/base/address.ts';
import { iovecLayout, mmsghdrLayout, type PointerBytes } from '../../agent/base/socket-abi.ts';
import { MessageVector } from '../../agent/dht/message-vector.ts';
import {
  ADDRESS_CACHE_SIZE,
  AddressCache,
  readSockaddrPort,
  sockaddrBytes,
  writeSockaddr,
} from '../../agent/dht/sockaddr.ts';

const address: fc.Arbitrary<Address> = fc.record({
  ip: fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  ),
  port: fc.nat(65_535),
});

describe('MessageVector', () => {
  test.each([4, 8] as const)('a C program with %i-byte pointers finds its way', (pointerBytes) => {
    const base = 0x1000_0000n;
    const options = { slots: 5, packetBytes: 100, nameBytes: 28, pointerBytes };
    const vector = new MessageVector({ ...options, addressOf: () => base });
    const view = new DataView(vector.memory);
    const header = mmsghdrLayout(pointerBytes);
    const iovec = iovecLayout(pointerBytes);
    const word = (at: number) =>
      pointerBytes === 8 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
    const offset = (at: number) => Number(word(at) - base);
    const regions: [number, number][] = [[0, 5 * header.size]];
    for (let i = 0; i < 5; i++) {
      const at = Number(vector.headerAddress(i) - base);
      expect(at).toBe(i * header.size);
      expect(offset(at + header.msg_name)).toBe(vector.nameAt(i));
      expect(view.getUint32(at + header.msg_namelen, true)).toBe(28);
      expect(word(at + header.msg_iovlen)).toBe(1n);
      expect(word(at + header.msg_control)).toBe(0n);
      expect(word(at + header.msg_controllen)).toBe(0n);
      const iov = offset(at + header.msg_iov);
      expect(offset(iov + iovec.iov_base)).toBe(vector.packetAt(i));
      expect(word(iov + iovec.iov_len)).toBe(100n);
      vector.setPacket(i, Uint8Array.of(1, 2, 3));
      expect(word(iov + iovec.iov_len)).toBe(3n);
      regions.push([iov, iovec.size], [vector.nameAt(i), 28], [vector.packetAt(i), 100]);
    }
    expectDisjoint(regions, vector.memory.byteLength);
  });

  test('keeps words where C wants them aligned, whatever the sizes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 70 }),
        fc.integer({ min: 1, max: 3000 }),
        fc.constantFrom<PointerBytes>(4, 8),
        (slots, packetBytes, pointerBytes) => {
          const options = { slots, packetBytes, nameBytes: 16, pointerBytes };
          const vector = new MessageVector({ ...options, addressOf: () => 0n });
          const last = slots - 1;
          expect(vector.nameAt(last) % 8).toBe(0);
          expect(vector.packetAt(last) + packetBytes).toBeLessThanOrEqual(vector.bytes.length);
          vector.setPacket(last, new Uint8Array(packetBytes).fill(7));
          expect(vector.bytes[vector.packetAt(last) + packetBytes - 1]).toBe(7);
        },
      ),
    );
  });
});

function expectDisjoint(regions: [number, number][], total: number): void {
  const sorted = [...regions].sort((a, b) => a[0] - b[0]);
  let end = 0;
  for (const [at, size] of sorted) {
    expect(at).toBeGreaterThanOrEqual(end);
    end = at + size;
  }
  expect(end).toBeLessThanOrEqual(total);
}

describe('sockaddr', () => {
  // Bytes as the headers <netinet/in.h> and the kernel have them on a little-endian machine.
  test.each<[string, Address, number[]]>([
    [
      'IPv4',
      { ip: Uint8Array.of(192, 0, 2, 7), port: 4222 },
      [2, 0, 0x10, 0x7e, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    [
      'IPv6',
      { ip: Uint8Array.from({ length: 16 }, (_, i) => i + 1), port: 0x1234 },
      [10, 0, 0x12, 0x34, 0, 0, 0, 0, ...Array.from({ length: 16 }, (_, i) => i + 1), 0, 0, 0, 0],
    ],
  ])('%s has the bytes of the headers', (_family, value, expected) => {
    const bytes = new Uint8Array(sockaddrBytes(value.ip.length));
    writeSockaddr(bytes, 0, value);
    expect([...bytes]).toEqual(expected);
  });

  test('reads what was written', () => {
    fc.assert(
      fc.property(address, fc.nat(40), (value, at) => {
        const bytes = new Uint8Array(80);
        writeSockaddr(bytes, at, value);
        expect(readSockaddrPort(bytes, at)).toBe(value.port);
        expect(new AddressCache(value.ip.length).read(bytes, at)).toEqual(value);
      }),
    );
  });
});

describe('AddressCache', () => {
  const bytesOf = (value: Address) => {
    const bytes = new Uint8Array(28);
    writeSockaddr(bytes, 0, value);
    return bytes;
  };

  test('gives a known source the same object, and it does not share the packet memory', () => {
    const cache = new AddressCache(4);
    const value = { ip: Uint8Array.of(10, 0, 0, 1), port: 5000 };
    const bytes = bytesOf(value);
    const first = cache.read(bytes, 0);
    expect(cache.read(bytesOf(value), 0)).toBe(first);
    bytes.fill(0);
    expect(first).toEqual(value);
  });

  test('is right about every source when far more come than it remembers', () => {
    const cache = new AddressCache(4);
    for (let i = 0; i < 3 * ADDRESS_CACHE_SIZE; i++) {
      const value = { ip: Uint8Array.of(10, i >> 16, i >> 8, i), port: 1 + (i % 60_000) };
      expect(cache.read(bytesOf(value), 0)).toEqual(value);
    }
  });

  test('mostly knows the neighbours of a node again', () => {
    const cache = new AddressCache(16);
    const values = Array.from({ length: 200 }, (_, i) => ({
      ip: Uint8Array.from({ length: 16 }, (_, k) => (k * 17 + i * (k + 3)) & 255),
      port: 4222 + i,
    }));
    const first = values.map((value) => cache.read(bytesOf(value), 0));
    const again = values.filter((value, i) => cache.read(bytesOf(value), 0) === first[i]);
    expect(again.length).toBeGreaterThan(120);
  });
});
