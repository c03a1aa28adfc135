import { expect, test } from 'vitest';
import type { Address } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import { VirtualClock } from './clock.ts';
import { CALM, type NetworkOptions, SimNetwork } from './network.ts';
import { seededRandom } from './seeded.ts';

const at = (last: number): Address => ({ ip: Uint8Array.of(10, 0, 0, last), port: 4222 });

interface Arrival {
  readonly after: Millis;
  readonly from: Address;
  readonly number: number;
}

/** `count` datagrams from 1 to 2, one each `everyMs`. */
function flight(options: Partial<NetworkOptions>, count: number, everyMs = 1, bytes = 2) {
  const clock = new VirtualClock(0);
  const arrivals: Arrival[] = [];
  const sentAt: Millis[] = [];
  const network = new SimNetwork(
    { ...CALM, ...options },
    seededRandom(7),
    clock,
    (from, _, packet) => {
      const number = ((packet[0] ?? 0) << 8) | (packet[1] ?? 0);
      arrivals.push({ after: clock.now - (sentAt[number] ?? 0), from, number });
    },
  );
  for (let i = 0; i < count; i++) {
    clock.schedule(i * everyMs, () => {
      const packet = new Uint8Array(bytes);
      packet.set([i >> 8, i & 0xff]);
      sentAt[i] = clock.now;
      network.send(at(1), at(2), packet);
    });
  }
  while (clock.step(1_000_000));
  return { network, arrivals };
}

const isInOrder = (arrivals: readonly Arrival[]) =>
  arrivals.every(({ number }, i) => i === 0 || number >= (arrivals[i - 1]?.number ?? 0));

test('each datagram takes the latency and up to the jitter', () => {
  const { arrivals } = flight({ latencyMs: 40, jitterMs: 10 }, 2000);
  const times = arrivals.map(({ after }) => after);
  expect(arrivals.length).toBe(2000);
  expect(Math.min(...times)).toBeGreaterThanOrEqual(40);
  expect(Math.min(...times)).toBeLessThan(40.5);
  expect(Math.max(...times)).toBeLessThanOrEqual(50);
  expect(Math.max(...times)).toBeGreaterThan(49.5);
});

test('jitter above the gap between datagrams reorders them, below it does not', () => {
  expect(isInOrder(flight({ jitterMs: 50 }, 200, 5).arrivals)).toBe(false);
  expect(isInOrder(flight({ jitterMs: 4 }, 200, 5).arrivals)).toBe(true);
});

test('stragglers are overtaken by what was sent after them', () => {
  const { arrivals } = flight({ jitterMs: 0, stragglers: 0.1, stragglerMs: 100 }, 2000);
  const late = arrivals.filter(({ after }) => after > 100);
  expect(late.length).toBeGreaterThan(150);
  expect(late.length).toBeLessThan(250);
  expect(isInOrder(arrivals)).toBe(false);
});

test('the stated share is lost, and the stated share comes twice', () => {
  const { network, arrivals } = flight({ loss: 0.3 }, 5000);
  expect(arrivals.length).toBeGreaterThan(3350);
  expect(arrivals.length).toBeLessThan(3650);
  expect(network.sent).toBe(5000);
  expect(network.lost).toBe(5000 - arrivals.length);
  const twice = flight({ duplicates: 0.2 }, 5000).arrivals.length - 5000;
  expect(twice).toBeGreaterThan(850);
  expect(twice).toBeLessThan(1150);
});

test('two machines are always equally far apart, both ways, and others are not', () => {
  const clock = new VirtualClock(0);
  const times: Millis[] = [];
  const network = new SimNetwork(
    { ...CALM, spreadMs: 100, jitterMs: 0 },
    seededRandom(7),
    clock,
    () => times.push(clock.now),
  );
  const takes = (from: Address, to: Address): Millis => {
    const start = clock.now;
    network.send(from, to, Uint8Array.of(1));
    clock.step(start + 1000);
    return (times.at(-1) as Millis) - start;
  };
  const first = takes(at(1), at(2));
  expect(takes(at(1), at(2))).toBeCloseTo(first, 6);
  expect(takes(at(2), at(1))).toBeCloseTo(first, 6);
  const others = Array.from({ length: 100 }, (_, i) => takes(at(1), at(i + 3)));
  expect(Math.min(...others)).toBeLessThan(20);
  expect(Math.max(...others)).toBeGreaterThan(100);
  expect(Math.max(...others)).toBeLessThanOrEqual(110);
});

test('a thin line makes datagrams wait, and drops them when its queue is full', () => {
  // 1028 bytes at 10,280 a second: 100 ms each, sent every 10 ms.
  const thin = { jitterMs: 0, latencyMs: 10, uplinkBytesPerS: 10_280, queueMs: 500 };
  const { network, arrivals } = flight(thin, 100, 10, 1000);
  const [first] = arrivals;
  expect(first?.after).toBeCloseTo(110, 6);
  expect(Math.max(...arrivals.map(({ after }) => after))).toBeLessThanOrEqual(610.001);
  expect(arrivals.length).toBeGreaterThan(10);
  expect(arrivals.length).toBeLessThan(17);
  expect(network.lost).toBe(100 - arrivals.length);
});

test('a partition parts the two sides and no others, until it heals', () => {
  const clock = new VirtualClock(0);
  let arrived = 0;
  const network = new SimNetwork(CALM, seededRandom(7), clock, () => arrived++);
  const isReached = (from: Address, to: Address): boolean => {
    const before = arrived;
    network.send(from, to, Uint8Array.of(1));
    while (clock.step(clock.now + 100));
    return arrived > before;
  };
  network.moveToSide(at(1), 1);
  network.moveToSide(at(2), 1);
  expect(isReached(at(1), at(2))).toBe(true);
  expect(isReached(at(3), at(4))).toBe(true);
  expect(isReached(at(1), at(3))).toBe(false);
  expect(isReached(at(3), at(1))).toBe(false);
  network.moveToSide(at(1), 0);
  expect(isReached(at(1), at(3))).toBe(true);
  expect(isReached(at(1), at(2))).toBe(false);
});

test('what is sent is not changed by what its sender does with the bytes afterwards', () => {
  const clock = new VirtualClock(0);
  const got: number[] = [];
  const network = new SimNetwork(CALM, seededRandom(7), clock, (_from, _to, packet) =>
    got.push(packet[0] ?? 0),
  );
  const packet = Uint8Array.of(1);
  network.send(at(1), at(2), packet);
  packet[0] = 2;
  while (clock.step(1000));
  expect(got).toEqual([1]);
});
