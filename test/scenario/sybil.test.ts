import { expect } from 'vitest';
import { story } from '../sim/seeds.ts';
import { sybilAttack } from './sybil.ts';

// What is lost is measured: `npm run sim -- sybil`, docs/dht-in-a-bad-world.md. What holds is asserted here.

const begin = { honest: 40, comesLate: false };

story('eight nodes around a key take what is put there, and nothing else', [1], (seed) => {
  const damage = sybilAttack({ ...begin, seed, sybils: 8, attack: 'nothing' });
  expect(damage.found).toBeLessThan(0.5); // the attack is a real one
  expect(damage.othersFound).toBe(1);
});

story('forged versions of a signed value are never taken for it', [2], (seed) => {
  const damage = sybilAttack({ ...begin, seed, sybils: 5, attack: 'garbage' });
  expect(damage).toMatchObject({ forgeriesBelieved: 0, found: 1, othersFound: 1 });
});

story('attackers that give no token are passed by', [3], (seed) => {
  const damage = sybilAttack({ ...begin, seed, sybils: 16, attack: 'no token' });
  expect(damage).toMatchObject({ found: 1, othersFound: 1 });
  expect(damage.heard).toBeGreaterThan(0.9);
});
