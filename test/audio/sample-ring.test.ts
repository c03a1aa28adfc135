import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SampleRing } from '../../agent/audio/sample-ring.ts';

describe('sample ring', () => {
  test('behaves like a list that loses its oldest over the limit', () => {
    const step = fc.oneof(
      fc.record({ push: fc.nat(14) }),
      fc.record({ shift: fc.integer({ min: 1, max: 6 }) }),
    );
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const ring = new SampleRing(10);
        let model: number[] = [];
        let next = 1;
        for (const what of steps) {
          if ('push' in what) {
            const pcm = Int16Array.from({ length: what.push }, () => next++);
            const before = model.length + pcm.length;
            model = [...model, ...pcm].slice(-10);
            expect(ring.push(pcm)).toBe(before - model.length);
          } else {
            const out = new Int16Array(what.shift);
            const isEnough = model.length >= what.shift;
            expect(ring.shift(out)).toBe(isEnough);
            if (isEnough) expect([...out]).toEqual(model.splice(0, what.shift));
          }
          expect(ring.size).toBe(model.length);
        }
      }),
    );
  });
});
