import { expect, test } from 'vitest';
import { PROTOCOL } from '../../agent/dht/limits.ts';
import { Lab } from './lab.ts';
import { converse, KEY, peer } from './peers.ts';

/** Names of nodes to enter through: they take time, and the line may not be there yet. */

const one = peer(1);
const isDone = (lab: Lab) => lab.events.some(({ type }) => type === 'get.done');
const rounds = (lab: Lab) => lab.events.filter(({ type }) => type === 'bootstrap').length;

test('what is asked for while names are looked up waits for them', () => {
  const lab = new Lab();
  lab.turn((dht, now) => dht.expectBootstrap(now));
  expect(lab.dht.state(lab.now).state).toBe('connecting');
  lab.turn((dht, now) => dht.get(KEY, undefined, now));
  lab.run(3000);
  expect(isDone(lab)).toBe(false);
  lab.turn((dht, now) => dht.bootstrap([one.address], now));
  const sent = converse(lab, [one], 3000);
  expect(sent.some(({ message }) => message.type === 'get')).toBe(true);
  expect(isDone(lab)).toBe(true);
});

test('names that nobody knows end the waiting, and are looked up again with growing pauses', () => {
  const lab = new Lab();
  lab.turn((dht, now) => dht.expectBootstrap(now));
  lab.turn((dht, now) => dht.get(KEY, undefined, now));
  lab.turn((dht, now) => dht.bootstrap([], now));
  expect(isDone(lab)).toBe(true);
  expect(lab.dht.state(lab.now).state).toBe('disconnected');
  lab.run(PROTOCOL.bootstrapFirstMs);
  expect(rounds(lab)).toBe(1);
  lab.run(2 * PROTOCOL.bootstrapFirstMs);
  expect(rounds(lab)).toBe(2);
  lab.run(2 * PROTOCOL.bootstrapFirstMs);
  expect(rounds(lab)).toBe(2);
});

test('without any address or name nothing is looked up', () => {
  const lab = new Lab();
  lab.turn((dht, now) => dht.bootstrap([], now));
  lab.run(3_600_000);
  expect(rounds(lab)).toBe(0);
});
