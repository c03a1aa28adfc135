import { describe, expect, test } from 'vitest';
import { MAX_CATCH_UP_FRAMES } from '../../agent/audio/limits.ts';
import { Pacer } from '../../agent/audio/pace.ts';
import { VirtualTiming } from './virtual-timing.ts';

describe('pacer', () => {
  test('ticks at start + n intervals, however late its timer is', () => {
    const timing = new VirtualTiming();
    const dues: number[] = [];
    const pacer = new Pacer(timing, 20, (due) => dues.push(due));
    pacer.start();
    for (let i = 0; i < 5; i++) timing.stall(23);
    expect(dues).toEqual([1020, 1040, 1060, 1080, 1100]);
  });

  test('makes up for a short stall and leaves out the rest of a long one', () => {
    const timing = new VirtualTiming();
    const ticks: [number, number][] = [];
    const pacer = new Pacer(timing, 20, (due, missed) => ticks.push([due, missed]));
    pacer.start();
    timing.stall(1000);
    expect(ticks).toEqual([
      [1920, 45],
      [1940, 0],
      [1960, 0],
      [1980, 0],
      [2000, 0],
    ]);
    expect(ticks.length).toBe(MAX_CATCH_UP_FRAMES);
    timing.advance(20);
    expect(ticks.at(-1)).toEqual([2020, 0]);
  });

  test('a tick may stop it', () => {
    const timing = new VirtualTiming();
    let ticks = 0;
    const pacer: Pacer = new Pacer(timing, 20, () => {
      ticks++;
      pacer.stop();
    });
    pacer.start();
    timing.stall(200);
    timing.advance(200);
    expect(ticks).toBe(1);
  });
});
