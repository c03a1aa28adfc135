import { describe, expect, test } from 'vitest';
import { FillControl } from '../../agent/audio/fill-control.ts';

/** A card that plays at `factor` of the speed at which frames are written, for `seconds`. */
function play(factor: number, seconds: number, startMs: number) {
  const control = new FillControl(15, 45);
  let queued = startMs;
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  let corrections = 0;
  for (let i = 0; i < seconds * 50; i++) {
    const change = control.observe(queued);
    corrections += Math.abs(change);
    queued += 20 * (1 - change);
    if (i > 100) {
      least = Math.min(least, queued - 20);
      most = Math.max(most, queued);
    }
    queued -= 20 * factor;
  }
  return { least, most, corrections };
}

describe('fill control', () => {
  test('leaves an even flow alone', () => {
    expect(play(1, 3600, 30).corrections).toBe(0);
  });

  test.each([0.9998, 1.0002])(
    'bounds the delay of a card that runs at %f for an hour',
    (factor) => {
      const { least, most, corrections } = play(factor, 3600, 30);
      expect(least).toBeGreaterThan(10);
      expect(most).toBeLessThan(75);
      // 200 ppm are one frame in 100 s.
      expect(corrections).toBeGreaterThan(33);
      expect(corrections).toBeLessThan(39);
    },
  );

  test('takes out what a stall left within two seconds', () => {
    expect(play(1, 10, 200).most).toBeLessThan(70);
  });
});
