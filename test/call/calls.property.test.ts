import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AgentError } from '../../agent/base/errors.ts';
import { Calls } from '../../agent/call/calls.ts';
import { MAX_CALLS, MAX_LIVE_CALLS } from '../../agent/call/limits.ts';
import type { MediaEvent } from '../../agent/call/media.ts';
import { encodeSignal } from '../../agent/call/signal.ts';
import type { CallEvent, CallPhase, SecurityEvent } from '../../agent/events.ts';
import { seededRandom } from '../sim/seeded.ts';
import * as arbitrary from './arbitraries.ts';
import { accountIdOf, type Station, World } from './world.ts';

/** What may follow a phase, as the outside sees it. */
const MAY_FOLLOW: Record<CallPhase, readonly CallPhase[]> = {
  dialing: ['ringing', 'active', 'idle'],
  ringing: ['active', 'idle'],
  incoming: ['active', 'idle'],
  active: ['ending', 'idle'],
  ending: ['idle'],
  idle: [],
};

/** The law of events: allowed phases, one end, nothing after it, and nothing left open. */
function checkEvents(events: readonly (CallEvent | SecurityEvent)[]): void {
  const phases = new Map<string, CallPhase>();
  const ended = new Set<string>();
  for (const event of events) {
    if (event.type === 'security') continue;
    const { callId } = event.call;
    expect(ended.has(callId)).toBe(false);
    const before = phases.get(callId);
    if (event.type === 'call.phase') {
      if (before === undefined) expect(['dialing', 'incoming']).toContain(event.call.phase);
      else expect(MAY_FOLLOW[before]).toContain(event.call.phase);
      phases.set(callId, event.call.phase);
    } else if ('reason' in event) {
      ended.add(callId);
      expect(before ?? 'idle').toBe('idle'); // a caller that heard busy had no phase
    } else {
      expect(event.call.phase).toBe(before);
    }
  }
  expect([...phases.keys()].filter((callId) => !ended.has(callId))).toEqual([]);
}

const DIAL = ['a', 'b', 'c'] as const;

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait'), ms: fc.nat({ max: 8_000 }) }) },
  fc.record({ do: fc.constant('dial'), who: fc.nat({ max: 3 }), to: fc.constantFrom(...DIAL) }),
  fc.record({ do: fc.constant('answer'), who: fc.nat({ max: 3 }) }),
  fc.record({ do: fc.constant('hangup'), who: fc.nat({ max: 3 }) }),
  fc.record({ do: fc.constant('cut'), who: fc.nat({ max: 3 }), cut: fc.boolean() }),
  fc.record({ do: fc.constant('race'), races: fc.nat({ max: 2 }) }),
);

async function act(
  world: World,
  stations: Station[],
  action: typeof step extends fc.Arbitrary<infer T> ? T : never,
) {
  const station = 'who' in action ? stations[action.who] : undefined;
  try {
    if ('ms' in action) world.run(action.ms);
    else if ('to' in action) await station?.dial(action.to);
    else if ('cut' in action && station !== undefined) station.transport.cut = action.cut;
    else if ('races' in action) world.media.races = action.races;
    else if (action.do === 'answer') station?.driver.answer();
    else station?.driver.hangup();
  } catch (error) {
    expect(error).toBeInstanceOf(AgentError);
  }
}

describe('whatever people and the network do', () => {
  test('each call ends exactly once, in allowed steps, and leaves nothing behind', async () => {
    const link = fc.record({
      delayMs: fc.nat({ max: 2_000 }),
      jitterMs: fc.nat({ max: 3_000 }),
      loss: fc.constantFrom(0, 0.1, 0.5),
      duplicate: fc.constantFrom(0, 0.5),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        link,
        fc.array(step, { maxLength: 25 }),
        async (seed, how, steps) => {
          const world = new World(seed, how);
          const stations = [
            world.add('a', { decide: () => 'answer' }),
            world.add('b', { lateCandidates: true }),
            world.add('c', { decide: (id) => (id === accountIdOf('a') ? 'refuse' : 'ring') }),
            world.add('d', { account: 'b' }),
          ];
          for (const action of steps) await act(world, stations, action);
          for (const station of stations) station.driver.hangup();
          world.run(120_000);
          for (const station of stations) {
            checkEvents(station.events);
            expect(station.calls.isIdle).toBe(true);
            expect(station.calls.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
            expect(station.voice.length % 2).toBe(0);
          }
          expect(world.media.size).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('without a hang-up, calls still end by themselves when the others are gone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat({ max: 40_000 }), async (seed, killAfterMs) => {
        const world = new World(seed, { delayMs: 300, jitterMs: 300, loss: 0.1, duplicate: 0.1 });
        const [a, b] = [world.add('a'), world.add('b')];
        const callId = await a.dial('b');
        world.run(2_000);
        if (b.phases(callId).length > 0) b.driver.answer();
        world.run(killAfterMs);
        b.kill();
        world.run(60_000);
        expect(a.end(callId)).toBeDefined();
        checkEvents(a.events);
      }),
      { numRuns: 100 },
    );
  });
});

describe('whatever comes in, in whatever order', () => {
  const [own, peer, stranger] = ['1', '2', '3'].map((digit) => ({
    accountId: digit.repeat(40),
    deviceId: digit.repeat(64),
  })) as [Device, Device, Device];
  type Device = { accountId: string; deviceId: string };

  const mediaEvent: fc.Arbitrary<MediaEvent> = fc.oneof(
    fc.record({ kind: fc.constant('described' as const), description: arbitrary.description }),
    fc.constantFrom<MediaEvent>(
      { kind: 'connected' },
      { kind: 'heard' },
      { kind: 'bye', reason: 'hangup' },
      { kind: 'bye-heard' },
      { kind: 'failed', message: '' },
      { kind: 'candidates', candidates: [] },
    ),
  );
  const input = fc.oneof(
    fc.record({
      signal: arbitrary.signal,
      from: fc.constantFrom(peer, peer, peer, stranger),
      call: fc.nat({ max: 4 }),
      sequence: fc.nat({ max: 40 }),
    }),
    fc.record({ media: mediaEvent, attempt: fc.integer({ min: 1, max: 2 }) }),
    fc.constantFrom('place', 'found', 'lookupDone', 'answer', 'hangup', 'shutdown'),
    fc.record({ ms: fc.nat({ max: 20_000 }) }),
  );

  test('the engine keeps the law, and its bounds', () => {
    fc.assert(
      fc.property(fc.nat(), fc.array(input, { maxLength: 60 }), (seed, inputs) => {
        const policy = {
          decide: (id: string) => (id === stranger.accountId ? 'refuse' : 'ring') as 'ring',
          nameOf: () => 'someone',
        };
        const calls = new Calls(own, policy, seededRandom(seed));
        const events: (CallEvent | SecurityEvent)[] = [];
        const ids: string[] = ['00000000000000000000000000'];
        let now = 0;
        const drain = () => {
          for (let next = calls.poll(); next !== undefined; next = calls.poll()) {
            if (next.type !== 'event') continue;
            events.push(next.event);
            if (next.event.type === 'call.phase') ids.unshift(next.event.call.callId);
          }
          const stats = calls.stats();
          expect(stats.live).toBeLessThanOrEqual(MAX_LIVE_CALLS);
          expect(stats.calls).toBeLessThanOrEqual(MAX_CALLS);
        };
        for (const what of inputs) {
          const at = { now, unixMs: 1_700_000_000_000 + now };
          const callId = ids[0] ?? '';
          try {
            if (typeof what === 'object' && 'ms' in what) {
              now = Math.max(now, Math.min(now + what.ms, calls.nextTimeout()));
              calls.timeout({ now, unixMs: 1_700_000_000_000 + now });
            } else if (typeof what === 'object' && 'media' in what) {
              calls.mediaEvent(callId, what.attempt, what.media, at);
            } else if (typeof what === 'object') {
              const { signal, from, call, sequence } = what;
              const header = {
                // Of a call that is there, of an older one, or a new one.
                callId: ids[call] ?? signal.callId,
                sequence,
                sentAtUnixMs: at.unixMs,
                from: from.deviceId,
                to: own.deviceId,
              };
              calls.receiveSignal(encodeSignal({ ...signal, ...header }), from, at);
            } else if (what === 'place') calls.place({ peer: 'p', accountId: peer.accountId }, at);
            else if (what === 'found') calls.deviceFound(callId, peer, at);
            else if (what === 'lookupDone') calls.lookupDone(callId, at);
            else if (what === 'answer') calls.answer(undefined, at);
            else if (what === 'hangup') calls.hangup(undefined, at);
            else calls.shutdown(at);
          } catch (error) {
            expect(error).toBeInstanceOf(AgentError);
          }
          drain();
        }
        // Left alone, everything runs out within two minutes.
        for (let i = 0; i < 200 && calls.nextTimeout() < Number.POSITIVE_INFINITY; i++) {
          now = Math.max(now, calls.nextTimeout());
          calls.timeout({ now, unixMs: 1_700_000_000_000 + now });
          drain();
        }
        expect(calls.isIdle).toBe(true);
        checkEvents(events);
      }),
      { numRuns: 400 },
    );
  });
});
