import { expect } from 'vitest';
import { story } from '../sim/seeds.ts';
import { BAD } from './grown.ts';
import { listening } from './listen.ts';

story(
  'a fifth is lost, half of the nodes change in ten minutes, and listeners hear each value once',
  [1, 2, 3],
  (seed) => {
    const network = { ...BAD, loss: 0.2 };
    const report = listening({ seed, nodes: 30, puts: 12, network, replacedPerHour: 3 });
    expect(report).toEqual({ promised: 36, missed: 0, toldTwice: 0, expiredWrongly: 0 });
  },
);

story('everything comes twice and in no order, and is told once', [4], (seed) => {
  const network = { ...BAD, duplicates: 1, stragglers: 0.3, stragglerMs: 3000 };
  const report = listening({ seed, nodes: 30, puts: 12, network, replacedPerHour: 0 });
  expect(report).toEqual({ promised: 36, missed: 0, toldTwice: 0, expiredWrongly: 0 });
});
