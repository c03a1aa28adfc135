import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { messageStart } from '../../agent/identity/pkcs1.ts';

/** A well-formed block of `k` bytes. */
const goodBlock = fc
  .record({
    message: fc.uint8Array({ maxLength: 245 }),
    padding: fc.array(fc.integer({ min: 1, max: 255 }), { minLength: 256, maxLength: 256 }),
  })
  .map(({ message, padding }) => {
    const filler = padding.slice(0, 256 - 3 - message.length);
    return { message, block: Uint8Array.of(0, 2, ...filler, 0, ...message) };
  });

describe('messageStart', () => {
  test('finds any message, also an empty one', () => {
    fc.assert(
      fc.property(goodBlock, ({ message, block }) => {
        expect(block.slice(messageStart(block))).toEqual(message);
      }),
    );
    expect(messageStart(Uint8Array.of(0, 2, ...Array(253).fill(1), 0))).toBe(256);
  });

  test('refuses each way of being malformed', () => {
    const good = [0, 2, ...Array(8).fill(1), 0, 7, 7];
    expect(messageStart(good)).toBe(11);
    expect(messageStart([1, ...good.slice(1)])).toBe(0);
    expect(messageStart([0, 1, ...good.slice(2)])).toBe(0);
    expect(messageStart([0, 2, ...Array(7).fill(1), 0, 7, 7, 7])).toBe(0);
    expect(messageStart([0, 2, 0, ...Array(10).fill(1)])).toBe(0);
    expect(messageStart([0, 2, ...Array(11).fill(1)])).toBe(0);
    expect(messageStart([])).toBe(0);
    expect(messageStart([0, 2])).toBe(0);
  });

  test('any change of the head is refused', () => {
    fc.assert(
      fc.property(
        goodBlock,
        fc.integer({ min: 0, max: 1 }),
        fc.integer({ min: 1, max: 255 }),
        ({ block }, at, flip) => {
          block[at] = (block[at] ?? 0) ^ flip;
          expect(messageStart(block)).toBe(0);
        },
      ),
    );
  });

  test('reads the same bytes in the same order whatever they are', () => {
    const readsOf = (block: Uint8Array) => {
      const reads: string[] = [];
      messageStart(
        new Proxy(block, {
          get: (target, property) => {
            reads.push(String(property));
            return Reflect.get(target, property, target);
          },
        }),
      );
      return reads.join(' ');
    };
    const usual = readsOf(new Uint8Array(256));
    fc.assert(
      fc.property(
        fc.oneof(
          goodBlock.map(({ block }) => block),
          fc.uint8Array({ minLength: 256, maxLength: 256 }),
        ),
        (block) => {
          expect(readsOf(block)).toBe(usual);
        },
      ),
      { numRuns: 30 },
    );
  });
});
