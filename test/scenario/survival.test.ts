import { expect } from 'vitest';
import { story } from '../sim/seeds.ts';
import { survival } from './survival.ts';

// An hour in which as many nodes are replaced as there are. A whole day: `npm run sim -- survival`.
const begin = { nodes: 20, hours: 1, replacedPerHour: 1, values: 4 };

story('a permanent value outlives the nodes that hold it', [1], (seed) => {
  const [hour] = survival({ ...begin, seed, permanent: true });
  expect(hour?.found).toBe(1);
  expect(hour?.copies).toBeGreaterThan(6);
});

story(
  'among nodes that republish a value outlives its publisher and all that held it',
  [1],
  (seed) => {
    const [without] = survival({ ...begin, seed, permanent: false });
    const [republished] = survival({ ...begin, seed, permanent: false, node: { republish: true } });
    expect(republished?.found).toBe(1);
    expect(republished?.copies).toBeGreaterThan(6);
    expect(without?.copies).toBeLessThan(5);
  },
);
