import fc from 'fast-check';
import { expect, test } from 'vitest';
import { VirtualClock } from './clock.ts';
import { replayCommand, withSeed } from './seeds.ts';
import { Trace } from './trace.ts';
import { plainValue, World } from './world.ts';

test('the clock runs things in the order of their time, then of their scheduling', () => {
  const times = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 60 });
  fc.assert(
    fc.property(times, (moments) => {
      const clock = new VirtualClock(0);
      const ran: [number, number][] = [];
      moments.forEach((at, i) => {
        clock.schedule(at, () => {
          expect(clock.now).toBe(at);
          ran.push([at, i]);
        });
      });
      while (clock.step(100));
      const expected = moments.map((at, i): [number, number] => [at, i]);
      expect(ran).toEqual(expected.sort(([a, i], [b, j]) => a - b || i - j));
      expect(clock.now).toBe(100);
      expect(clock.size).toBe(0);
    }),
  );
});

/** A story with everything in it that is left to chance. */
function story(seed: number): { digest: string; datagrams: number } {
  const network = { spreadMs: 50, jitterMs: 30, loss: 0.1, duplicates: 0.1, stragglers: 0.1 };
  const world = new World({ seed, network: { ...network, uplinkBytesPerS: 50_000 } });
  const trace = new Trace();
  world.taps.add(trace);
  const nodes = world.addMany(8);
  const nat = world.addNat({ type: 'symmetric' });
  nodes.push(...world.addMany(2, { nat }));
  const key = world.randomHash();
  nodes[9]?.listen(key);
  nodes[2]?.put(key, plainValue(5n, new Uint8Array(1800)));
  world.run(5000);
  nodes[3]?.kill();
  world.run(60_000);
  return { digest: trace.digest(), datagrams: trace.datagrams };
}

test('the same seed gives the same trace, another seed another one', () => {
  const first = story(5);
  expect(first.datagrams).toBeGreaterThan(500);
  expect(story(5)).toEqual(first);
  expect(story(6).digest).not.toBe(first.digest);
});

test('a failing story says its seed and how to see it again', () => {
  const command = replayCommand(17, 'test/scenario/x.test.ts', 'it holds (mostly)');
  expect(command).toBe(
    'SIM_SEED=17 npx vitest run --project unit test/scenario/x.test.ts -t "it holds .mostly."',
  );
  const fails = () =>
    withSeed(17, command, () => {
      throw new Error('nothing was heard');
    });
  expect(fails).toThrow(`seed 17: nothing was heard\nagain: ${command}`);
  expect(withSeed(17, command, () => 4)).toBe(4);
});

test('a dead node neither gets nor sends anything', () => {
  const world = new World({ seed: 3 });
  const nodes = world.addMany(4);
  const [dead] = nodes;
  dead?.kill();
  let seen = 0;
  world.taps.add({
    sent: (from) => {
      if (from === dead) seen++;
    },
    arrived: (at) => {
      if (at === dead) seen++;
    },
  });
  world.run(600_000);
  expect(seen).toBe(0);
  expect(world.nodes.length).toBe(3);
});
