import { describe, expect, test } from 'vitest';
import { Calls, type DropReason } from '../../agent/call/calls.ts';
import {
  CONNECT_MS,
  HOLD_MS,
  MAX_DEVICES,
  MAX_ENDED_CALLS,
  MAX_WATCHED_PEERS,
  OFFER_BURST,
  REACTION_MS,
  REFUSAL_BURST,
  RESEND_MS,
  RING_MS,
  SECURITY_EVENT_INTERVAL_MS,
} from '../../agent/call/limits.ts';
import type { MediaCommand } from '../../agent/call/media.ts';
import { decodeSignal, encodeSignal, type Signal } from '../../agent/call/signal.ts';
import { agentErrorOf } from '../agent-error.ts';
import { GOOD_LINK, type Station, World } from './world.ts';

const refuse = () => 'refuse' as const;
const answer = () => 'answer' as const;

function dropped(station: Station, reason: DropReason): number {
  return station.calls.stats().dropped[reason];
}

/** Signals of `station`, decoded. */
const sent = (station: Station) => station.sent.map(({ bytes }) => decodeSignal(bytes));
const kinds = (station: Station) => sent(station).map(({ kind }) => kind);

describe('a call', () => {
  test('rings, is answered, and ends on both sides when the caller hangs up', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    const id = await a.dial('b');
    world.run(1_000);
    expect(a.phases(id)).toEqual(['dialing', 'ringing']);
    expect(b.phases(id)).toEqual(['incoming']);
    b.driver.answer();
    world.run(10_000);
    expect(a.voice).toEqual(['start host']);
    a.driver.hangup();
    world.run(1_000);

    expect(a.phases(id)).toEqual(['dialing', 'ringing', 'active', 'ending', 'idle']);
    expect(b.phases(id)).toEqual(['incoming', 'active', 'idle']);
    expect(a.end(id)).toEqual(['call.ended', 'hangup']);
    expect(b.end(id)).toEqual(['call.ended', 'remote_hangup']);
    expect(a.events.at(-1)).toMatchObject({ durationS: 10, quality: { jitterMs: 1 } });
    expect([a.voice, b.voice]).toEqual([
      ['start host', 'stop'],
      ['start host', 'stop'],
    ]);
    expect(world.media.size).toBe(0);
  });

  test('says what it does in order', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    await a.dial('b');
    world.run(1_000);
    b.driver.hangup();
    world.run(1_000);
    const types = (station: Station) => station.events.map(({ type }) => type);
    expect(types(a)).toEqual([
      'call.phase',
      'call.phase',
      'call.answered',
      'call.phase',
      'call.ended',
    ]);
    expect(types(b)).toEqual([
      'call.phase',
      'call.incoming',
      'call.phase',
      'call.answered',
      'call.phase',
      'call.phase',
      'call.ended',
    ]);
  });

  test('a good-bye through the control channel needs no signal', async () => {
    const world = new World();
    const [a] = [world.add('a'), world.add('b', { decide: answer })];
    await a.dial('b');
    world.run(1_000);
    a.driver.hangup();
    world.run(2_000);
    expect(kinds(a)).toEqual(['offer']);
  });

  test('a good-bye that nobody confirms goes out as a signal', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    const id = await a.dial('b');
    world.run(1_000);
    a.transport.cut = true;
    a.driver.hangup();
    world.run(2_000);
    expect(kinds(a)).toEqual(['offer', 'hangup']);
    expect(a.end(id)).toEqual(['call.ended', 'hangup']);
    expect(b.end(id)).toEqual(['call.ended', 'remote_hangup']);
  });

  test('the microphone is off the moment someone hangs up', async () => {
    const world = new World();
    const [a] = [world.add('a'), world.add('b', { decide: answer })];
    await a.dial('b');
    world.run(1_000);
    a.driver.hangup();
    expect(a.voice).toEqual(['start host', 'stop']);
  });

  test('both hang up at once: each ended it', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    const id = await a.dial('b');
    world.run(1_000);
    a.driver.hangup();
    b.driver.hangup();
    world.run(3_000);
    expect([a.end(id), b.end(id)]).toEqual([
      ['call.ended', 'hangup'],
      ['call.ended', 'hangup'],
    ]);
  });

  test('late candidates follow the offer and the answer, and connect', async () => {
    const world = new World();
    const [a, b] = [
      world.add('a', { lateCandidates: true }),
      world.add('b', { decide: answer, lateCandidates: true }),
    ];
    const id = await a.dial('b');
    world.run(3_000);
    expect(a.phases(id)).toEqual(['dialing', 'active']);
    expect([kinds(a), kinds(b)]).toEqual([
      ['offer', 'candidates'],
      ['answer', 'candidates'],
    ]);
  });

  test('candidates that come while it rings are there when it is answered', async () => {
    const world = new World();
    const [a, b] = [world.add('a', { lateCandidates: true }), world.add('b')];
    const id = await a.dial('b');
    world.run(5_000);
    b.driver.answer(id);
    world.run(1_000);
    expect(b.phases(id)).toEqual(['incoming', 'active']);
  });

  test('the race of the first connection costs one more offer, not the call', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    world.media.races = 1;
    const id = await a.dial('b');
    world.run(2_000);
    expect(a.phases(id)).toEqual(['dialing', 'active']);
    expect(b.phases(id)).toEqual(['incoming', 'active']);
    expect([kinds(a), kinds(b)]).toEqual([
      ['offer', 'offer'],
      ['answer', 'answer'],
    ]);
    expect(world.media.size).toBe(2);
  });

  test('the second answer keeps the candidates of the caller back for a moment', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    world.media.races = 1;
    await a.dial('b');
    world.run(1_000);
    const [first] = sent(a);
    const calls = new Calls(b.ref, { decide: () => 'answer', nameOf: () => 'a' }, world.random);
    const media: MediaCommand[] = [];
    const drain = () => {
      for (let next = calls.poll(); next !== undefined; next = calls.poll())
        if (next.type === 'media') media.push(next.command);
    };
    if (first?.kind !== 'offer') throw new Error('no offer');
    const at = (now: number) => ({ now, unixMs: first.sentAtUnixMs + now });
    const { description } = first;
    calls.receiveSignal(encodeSignal(first), a.ref, at(0));
    calls.receiveSignal(encodeSignal({ ...first, attempt: 2, sequence: 2 }), a.ref, at(10));
    drain();
    expect(media).toEqual([
      { kind: 'answer', attempt: 1, offer: description },
      { kind: 'answer', attempt: 2, offer: { ...description, candidates: [] } },
    ]);
    calls.timeout(at(10 + HOLD_MS));
    drain();
    const { candidates } = description;
    expect(media.slice(2)).toEqual([{ kind: 'candidates', attempt: 2, candidates }]);
  });

  test('two connections that fail are no path, on both sides', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    world.media.races = 2;
    const id = await a.dial('b');
    world.run(2_000);
    expect(a.end(id)).toEqual(['call.failed', 'no_path']);
    expect(b.end(id)).toEqual(['call.failed', 'no_path']);
  });

  test('a path that never opens is tried twice, then given up', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    a.transport.cut = true;
    const id = await a.dial('b');
    world.run(CONNECT_MS);
    expect(a.end(id)).toBeUndefined();
    world.run(2_000);
    expect(a.end(id)).toEqual(['call.failed', 'no_path']);
    expect(b.end(id)).toEqual(['call.failed', 'no_path']);
    expect(kinds(a)).toEqual(['offer', 'offer', 'hangup']);
  });

  test('a far side that is killed is lost within 10 s', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    const id = await a.dial('b');
    world.run(5_000);
    b.kill();
    world.run(10_000);
    expect(a.end(id)).toEqual(['call.ended', 'lost']);
    expect(a.voice.at(-1)).toBe('stop');
  });

  test('media that breaks ends it as lost on both sides', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    const id = await a.dial('b');
    world.run(5_000);
    a.transport.cut = true;
    world.run(8_000);
    expect(a.end(id)).toEqual(['call.ended', 'lost']);
    expect(b.end(id)).toEqual(['call.ended', 'lost']);
  });

  test('a clock that is set while people talk does not cut them off', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    const id = await a.dial('b');
    world.run(1_000);
    const far = sent(a)[0] as Signal;
    b.receive(
      encodeSignal({
        ...far,
        kind: 'hangup',
        reason: 'cancelled',
        sequence: 9,
        sentAtUnixMs: 1,
      }),
      a.ref,
    );
    expect(b.end(id)).toEqual(['call.missed', 'cancelled']);
  });
});

describe('a call that is not answered', () => {
  test('rings out: missed there, no answer here', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    const id = await a.dial('b');
    world.run(RING_MS + 1_000);
    expect(a.end(id)).toEqual(['call.failed', 'no_answer']);
    expect(b.end(id)).toEqual(['call.missed', 'no_answer']);
  });

  test('is cancelled by the caller: missed there', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    const id = await a.dial('b');
    world.run(1_000);
    a.driver.hangup(id);
    world.run(1_000);
    expect(a.end(id)).toEqual(['call.ended', 'cancelled']);
    expect(b.end(id)).toEqual(['call.missed', 'cancelled']);
  });

  test('is rejected', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    const id = await a.dial('b');
    world.run(1_000);
    b.driver.hangup(id);
    world.run(1_000);
    expect(a.end(id)).toEqual(['call.rejected', 'rejected']);
    expect(b.end(id)).toEqual(['call.rejected', 'rejected']);
  });

  test('has nobody to ring: unreachable as soon as the lookup is over', async () => {
    const world = new World();
    const a = world.add('a');
    const id = await a.dial('b');
    world.run(200);
    expect(a.end(id)).toEqual(['call.failed', 'unreachable']);
    expect(world.media.size).toBe(0);
  });

  test('rings a device that never reacts: the offer is repeated, then unreachable', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    b.kill();
    const id = await a.dial('b');
    world.run(REACTION_MS + 1_000);
    expect(a.end(id)).toEqual(['call.failed', 'unreachable']);
    expect(kinds(a)).toEqual(Array(1 + Math.floor(REACTION_MS / RESEND_MS)).fill('offer'));
  });

  test('is not ended by a lost offer, because it is repeated', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    world.link = { ...GOOD_LINK, loss: 1 };
    const id = await a.dial('b');
    world.run(3_000);
    world.link = GOOD_LINK;
    world.run(3_000);
    expect(a.phases(id)).toEqual(['dialing', 'active']);
    expect(b.phases(id)).toEqual(['incoming', 'active']);
  });

  test('is not ended by a lost answer, because it is repeated', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    const id = await a.dial('b');
    world.run(60);
    world.link = { ...GOOD_LINK, loss: 1 };
    world.run(1_000);
    world.link = GOOD_LINK;
    world.run(5_000);
    expect(kinds(b)).toEqual(['answer', 'answer']);
    expect(a.phases(id)).toEqual(['dialing', 'active']);
  });

  test('ends with the station that stops: told to the other side', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    const id = await a.dial('b');
    world.run(1_000);
    const done = b.driver.shutdown();
    world.run(1_000);
    await done;
    expect(b.end(id)).toEqual(['call.missed', 'shutdown']);
    expect(a.end(id)).toEqual(['call.failed', 'no_answer']);
  });
});

describe('shutdown', () => {
  test('in a call: the other side is told, media is given back', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    const id = await a.dial('b');
    world.run(1_000);
    const done = a.driver.shutdown();
    world.run(1_100);
    await done;
    expect(a.end(id)).toEqual(['call.ended', 'shutdown']);
    expect(b.end(id)).toEqual(['call.ended', 'remote_hangup']);
    expect(a.calls.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  test('in a call: an offer that comes during the good-bye begins no other', async () => {
    const world = new World();
    const [a, b, c] = [world.add('a'), world.add('b', { decide: answer }), world.add('c')];
    await a.dial('b');
    world.run(1_000);
    world.link = { ...GOOD_LINK, loss: 1 };
    await c.dial('b');
    world.run(1_000);
    const [offer] = c.sent;
    expect(offer).toBeDefined();
    const done = b.driver.shutdown();
    expect(b.calls.isIdle).toBe(false);
    const before = b.events.length;
    b.driver.receiveSignal(offer?.bytes ?? new Uint8Array(), c.ref);
    world.run(1_100);
    await done;
    expect(b.events.slice(before).map(({ type }) => type)).toEqual(['call.phase', 'call.ended']);
    expect(dropped(b, 'unknownCall')).toBe(1);
  });

  test('without a call: at once; and then nobody is here any more', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    await b.driver.shutdown();
    await expect(b.dial('a')).rejects.toMatchObject({ code: 'stopping' });
    await a.dial('b');
    world.run(1_000);
    expect(b.events).toEqual([]);
  });
});

describe('a restart', () => {
  test('does not take up calls from before it, but whoever still calls', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    world.link = { ...GOOD_LINK, loss: 1 };
    await a.dial('b');
    world.run(RESEND_MS + 500);
    const [first, second] = sent(a);
    if (first?.kind !== 'offer' || second?.kind !== 'offer') throw new Error('no two offers');
    const since = { now: 1_000, unixMs: second.sentAtUnixMs + 1_500 };
    const policy = { decide: answer, nameOf: () => 'a' };
    const restarted = new Calls(b.ref, policy, world.random, since);
    restarted.receiveSignal(encodeSignal(first), a.ref, since);
    expect(restarted.stats().dropped.stale).toBe(1);
    expect(restarted.isIdle).toBe(true);
    restarted.receiveSignal(encodeSignal(second), a.ref, since);
    expect(restarted.snapshots()).toMatchObject([{ callId: first.callId }]);
  });

  test('keeps nobody out for long whose clock is behind, or when ours is set back', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    world.link = { ...GOOD_LINK, loss: 1 };
    await a.dial('b');
    world.run(1_000);
    const [offer] = sent(a);
    if (offer?.kind !== 'offer') throw new Error('no offer');
    const since = { now: 0, unixMs: offer.sentAtUnixMs + 3_600_000 };
    const policy = { decide: answer, nameOf: () => 'a' };
    const restarted = new Calls(b.ref, policy, world.random, since);
    const at = (now: number) => ({ now, unixMs: offer.sentAtUnixMs });
    restarted.receiveSignal(encodeSignal(offer), a.ref, at(1_000));
    expect(restarted.isIdle).toBe(true);
    restarted.receiveSignal(encodeSignal(offer), a.ref, at(100_000));
    expect(restarted.isIdle).toBe(false);
  });

  test('of a callee that takes an old offer for new: it is told at once that the call is over', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    await a.dial('b');
    world.run(1_000);
    const [offer] = a.sent;
    a.driver.hangup();
    world.run(1_000);
    // The same device again, with nothing that it knew.
    const calls = new Calls(b.ref, { decide: answer, nameOf: () => 'a' }, world.random);
    const at = { now: world.now, unixMs: world.epochUnixMs + world.now };
    calls.receiveSignal(offer?.bytes ?? new Uint8Array(), a.ref, at);
    const { callId } = sent(a)[0] as Signal;
    const description = (sent(a)[0] as Extract<Signal, { kind: 'offer' }>).description;
    calls.mediaEvent(callId, 1, { kind: 'described', description }, at);
    const before = a.sent.length;
    for (let next = calls.poll(); next !== undefined; next = calls.poll()) {
      if (next.type === 'signal') a.driver.receiveSignal(next.bytes, b.ref);
    }
    const [told] = a.sent.slice(before);
    expect(kinds(a).slice(before)).toEqual(['hangup']);
    calls.receiveSignal(told?.bytes ?? new Uint8Array(), a.ref, at);
    expect(calls.isIdle).toBe(true);
  });
});

describe('several devices of one contact', () => {
  test('ring in parallel; the first answer wins and the others are told', async () => {
    const world = new World();
    const a = world.add('a');
    const [p, q] = [world.add('p', { account: 'b' }), world.add('q', { account: 'b' })];
    const id = await a.dial('b');
    world.run(1_000);
    expect([p.phases(id), q.phases(id)]).toEqual([['incoming'], ['incoming']]);
    q.driver.answer();
    world.run(1_000);
    expect(a.phases(id)).toEqual(['dialing', 'ringing', 'active']);
    expect(q.phases(id)).toEqual(['incoming', 'active']);
    expect(p.end(id)).toEqual(['call.ended', 'cancelled']);
  });

  test('two answers at once: one talks, the other hears that it is taken', async () => {
    const world = new World();
    const a = world.add('a');
    const [p, q] = [world.add('p', { account: 'b' }), world.add('q', { account: 'b' })];
    const id = await a.dial('b');
    world.run(1_000);
    p.driver.answer();
    q.driver.answer();
    world.run(2_000);
    const active = [p, q].filter((device) => device.phases(id).includes('active'));
    expect(active).toHaveLength(1);
    const other = active[0] === p ? q : p;
    expect(other.end(id)?.[1]).toBe('cancelled');
    expect(world.media.size).toBe(2);
  });

  test('one says no: all stop. One is busy: the others go on', async () => {
    const world = new World();
    const a = world.add('a');
    const [p, q] = [world.add('p', { account: 'b' }), world.add('q', { account: 'b' })];
    const c = world.add('c');
    await c.dial('b'); // both ring, one of them for c after p answers
    world.run(1_000);
    p.driver.answer();
    world.run(1_000);
    const id = await a.dial('b');
    world.run(1_000);
    expect(p.end(id)).toEqual(['call.missed', 'busy']);
    expect(a.phases(id)).toEqual(['dialing', 'ringing']);
    q.driver.hangup();
    world.run(1_000);
    expect(a.end(id)).toEqual(['call.rejected', 'rejected']);
  });

  test('no more than the limit are rung', async () => {
    const world = new World();
    const a = world.add('a');
    for (let i = 0; i < MAX_DEVICES + 3; i++)
      world.add(String.fromCharCode(0x41 + i), { account: 'b' });
    await a.dial('b');
    world.run(500);
    expect(kinds(a)).toHaveLength(MAX_DEVICES);
  });

  test('an answer counts only from a device that was called', async () => {
    const world = new World();
    const [a, b, x] = [world.add('a'), world.add('b'), world.add('x')];
    const id = await a.dial('b');
    world.run(1_000);
    b.driver.answer();
    world.run(2); // made, not yet delivered
    const genuine = sent(b).at(-1) as Signal;
    expect(genuine.kind).toBe('answer');
    a.receive(encodeSignal({ ...genuine, from: x.ref.deviceId }), x.ref);
    a.receive(encodeSignal(genuine), { ...b.ref, accountId: x.ref.accountId });
    expect(dropped(a, 'wrongDevice')).toBe(2);
    a.receive(encodeSignal(genuine), x.ref);
    expect(dropped(a, 'misaddressed')).toBe(1);
    expect(a.phases(id)).toEqual(['dialing', 'ringing']);
  });
});

describe('two who call each other at once', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('get one call (seed %i)', async (seed) => {
    const world = new World(seed);
    const [a, b] = [world.add('a'), world.add('b')];
    const ids = [await a.dial('b'), await b.dial('a')].sort();
    world.run(3_000);
    const [winner = '', loser = ''] = ids;
    expect(a.phases(winner).at(-1)).toBe('active');
    expect(b.phases(winner).at(-1)).toBe('active');
    const gaveUp = a.incoming().includes(winner) ? a : b;
    expect(gaveUp.end(loser)).toEqual(['call.ended', 'cancelled']);
    expect([...a.incoming(), ...b.incoming()]).toEqual([winner]);
    expect(world.media.size).toBe(2);
  });

  test('where one may not ring the other, the call that is allowed goes through', async () => {
    const world = new World();
    const [a, b] = [world.add('a', { decide: refuse }), world.add('b')];
    const [fromA] = [await a.dial('b'), await b.dial('a')];
    world.run(6_000);
    expect(b.incoming()).toEqual([fromA]);
    expect(a.incoming()).toEqual([]);
  });
});

describe('who is busy', () => {
  test('refuses a second caller, and knows that he called', async () => {
    const world = new World();
    const [a, b, c] = [world.add('a'), world.add('b', { decide: answer }), world.add('c')];
    await a.dial('b');
    world.run(1_000);
    const id = await c.dial('b');
    world.run(1_000);
    expect(c.end(id)).toEqual(['call.rejected', 'busy']);
    expect(b.end(id)).toEqual(['call.missed', 'busy']);
    expect(b.calls.stats()).toMatchObject({ live: 1, busy: 1 });
  });

  test('cannot place another call, and is told why', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    await a.dial('b');
    await expect(a.dial('c')).rejects.toMatchObject({ code: 'busy', hint: 'hang up first' });
    world.run(1_000);
    await expect(b.dial('a')).rejects.toMatchObject({ code: 'busy', hint: 'answer it' });
    await expect(b.dial('b')).rejects.toMatchObject({ code: 'own-id' });
  });

  test('can be called again at once after hanging up', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    await a.dial('b');
    world.run(1_000);
    a.driver.hangup();
    const again = await a.dial('b');
    world.run(1_000);
    expect(b.phases(again)).toEqual(['incoming', 'active']);
  });

  test('a caller that was restarted replaces its own dead call', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: answer })];
    const before = await a.dial('b');
    world.run(1_000);
    a.kill();
    const restarted = world.add('a');
    const after = await restarted.dial('b');
    world.run(1_000);
    expect(b.end(before)).toEqual(['call.ended', 'lost']);
    expect(b.phases(after)).toEqual(['incoming', 'active']);
  });
});

describe('commands', () => {
  test('name what is not there', async () => {
    const world = new World();
    const a = world.add('a');
    expect(agentErrorOf(() => a.driver.answer()).code).toBe('not-found');
    expect(agentErrorOf(() => a.driver.answer('x')).code).toBe('not-found');
    expect(agentErrorOf(() => a.driver.hangup('x')).code).toBe('not-found');
    expect(a.driver.hangup()).toBe(0);
  });

  test('cannot answer what we dial ourselves', async () => {
    const world = new World();
    const a = world.add('a');
    world.add('b');
    const id = await a.dial('b');
    expect(agentErrorOf(() => a.driver.answer(id)).code).toBe('not-found');
  });
});

describe('strangers', () => {
  test('are refused without a ring or a trace of state', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: refuse })];
    const before = b.calls.stats();
    const id = await a.dial('b');
    world.run(1_000);
    expect(a.end(id)).toEqual(['call.rejected', 'denied']);
    expect(b.events).toEqual([{ type: 'security', kind: 'unknown_caller', count: 1 }]);
    expect(b.calls.stats()).toEqual({ ...before, refused: 1 });
    expect(b.driver.snapshots()).toEqual([]);
  });

  test('who flood are counted; a few are answered, and events are rare', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: refuse })];
    await a.dial('b');
    world.run(1_000);
    const offer = sent(a)[0] as Signal;
    for (let i = 0; i < 50; i++) {
      const callId = `0${i.toString().padStart(25, '0')}`;
      b.receive(encodeSignal({ ...offer, callId }), a.ref);
    }
    expect(b.sent).toHaveLength(REFUSAL_BURST);
    expect(b.events).toHaveLength(1);
    world.run(SECURITY_EVENT_INTERVAL_MS);
    expect(b.events.slice(1)).toEqual([{ type: 'security', kind: 'unknown_caller', count: 50 }]);
    expect(b.calls.stats()).toMatchObject({ refused: 51, calls: 0, ended: 0, watchedPeers: 0 });
    expect(b.calls.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  test('get no place in the table of ended calls with a hang-up', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b', { decide: refuse })];
    await a.dial('b');
    world.run(100);
    const offer = sent(a)[0] as Signal;
    b.receive(encodeSignal({ ...offer, kind: 'hangup', reason: 'cancelled' }), a.ref);
    expect(b.calls.stats()).toMatchObject({ ended: 0 });
  });
});

describe('signals that are dropped', () => {
  async function offered() {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    world.link = { ...GOOD_LINK, loss: 1 };
    await a.dial('b');
    world.run(50);
    return { world, a, b, offer: sent(a)[0] as Signal };
  }

  test('bytes that are no signal', async () => {
    const { a, b } = await offered();
    b.receive(new Uint8Array(), a.ref);
    b.receive(new Uint8Array(300).fill(7), a.ref);
    expect(dropped(b, 'malformed')).toBe(2);
  });

  test('for another device, or signed by another than it says', async () => {
    const { world, a, b, offer } = await offered();
    const c = world.add('c');
    c.receive(encodeSignal(offer), a.ref);
    b.receive(encodeSignal(offer), c.ref);
    expect([dropped(c, 'misaddressed'), dropped(b, 'misaddressed')]).toEqual([1, 1]);
    expect([...b.events, ...c.events]).toEqual([]);
  });

  test('an offer that is too old, or from the future', async () => {
    const { a, b, offer } = await offered();
    for (const ms of [-91_000, 31_000]) {
      b.receive(encodeSignal({ ...offer, sentAtUnixMs: offer.sentAtUnixMs + ms }), a.ref);
    }
    expect(dropped(b, 'stale')).toBe(2);
    expect(b.events).toEqual([]);
  });

  test('clocks that differ a little do no harm', async () => {
    for (const clockErrorMs of [-60_000, 25_000]) {
      const world = new World();
      const [a, b] = [world.add('a', { clockErrorMs }), world.add('b')];
      const id = await a.dial('b');
      world.run(1_000);
      expect(b.phases(id)).toEqual(['incoming']);
    }
  });

  test('the same offer again: while it rings, and after it is over', async () => {
    const { a, b, offer } = await offered();
    b.receive(encodeSignal(offer), a.ref);
    b.receive(encodeSignal(offer), a.ref);
    expect(dropped(b, 'repeated')).toBe(1);
    b.driver.hangup();
    b.receive(encodeSignal(offer), a.ref);
    expect(dropped(b, 'repeated')).toBe(2);
    expect(b.incoming()).toHaveLength(1);
  });

  test('an offer whose hang-up came first', async () => {
    const { a, b, offer } = await offered();
    const hangup = { ...offer, kind: 'hangup', reason: 'cancelled', sequence: 2 } as const;
    b.receive(encodeSignal(hangup), a.ref);
    b.receive(encodeSignal(offer), a.ref);
    expect(b.events).toEqual([]);
    expect(b.calls.stats()).toMatchObject({ calls: 0, ended: 1 });
  });

  test('an answer to a call that is over: told so once', async () => {
    const world = new World();
    const [a, b] = [world.add('a'), world.add('b')];
    const id = await a.dial('b');
    world.run(1_000);
    world.link = { ...GOOD_LINK, loss: 1 };
    a.driver.hangup();
    world.link = GOOD_LINK;
    b.driver.answer(id);
    world.run(1_000);
    expect(dropped(a, 'repeated')).toBe(1);
    expect(b.end(id)).toEqual(['call.missed', 'cancelled']);
  });

  test('a contact that dials like a machine', async () => {
    const { world, a, b, offer } = await offered();
    for (let i = 0; i < OFFER_BURST + 5; i++) {
      const callId = `0${i.toString().padStart(25, '0')}`;
      const sentAtUnixMs = offer.sentAtUnixMs + i;
      b.receive(encodeSignal({ ...offer, callId, sentAtUnixMs }), a.ref);
    }
    expect(b.incoming()).toHaveLength(OFFER_BURST);
    expect(dropped(b, 'tooMany')).toBe(5);
    world.run(60_000);
    expect(b.driver.snapshots()).toEqual([]);
  });

  test('signals of no call, and out of turn', async () => {
    const { a, b, offer } = await offered();
    b.receive(encodeSignal({ ...offer, kind: 'ringing' }), a.ref);
    expect(dropped(b, 'unknownCall')).toBe(1);
    b.receive(encodeSignal(offer), a.ref);
    for (const [sequence, body] of [
      [2, { kind: 'ringing' }],
      [3, { kind: 'refuse', reason: 'busy' }],
    ] as const)
      b.receive(encodeSignal({ ...offer, ...body, sequence }), a.ref);
    expect(dropped(b, 'unexpected')).toBe(2);
    expect(b.driver.snapshots()).toHaveLength(1);
  });
});

describe('tables', () => {
  test('of ended calls and watched peers keep their limits', () => {
    const world = new World();
    const b = world.add('b', { decide: answer });
    const a = world.add('a');
    const callId = (i: number) => `0${i.toString().padStart(25, '0')}`;
    for (let i = 0; i < MAX_ENDED_CALLS + 20; i++) {
      const signal: Signal = {
        kind: 'hangup',
        reason: 'cancelled',
        callId: callId(i),
        sequence: 1,
        sentAtUnixMs: world.epochUnixMs + world.now,
        from: a.ref.deviceId,
        to: b.ref.deviceId,
      };
      b.receive(encodeSignal(signal), a.ref);
    }
    expect(b.calls.stats().ended).toBe(MAX_ENDED_CALLS);

    for (let i = 0; i < MAX_WATCHED_PEERS + 20; i++) {
      const deviceId = i.toString(16).padStart(64, '0');
      const signal: Signal = {
        kind: 'offer',
        attempt: 1,
        media: 3,
        resume: false,
        description: {
          setup: 'active',
          ufrag: 'abcd',
          password: 'a'.repeat(22),
          fingerprint: new Uint8Array(32),
          ssrc: 1,
          candidates: [],
        },
        callId: callId(1_000 + i),
        sequence: 1,
        sentAtUnixMs: world.epochUnixMs + world.now,
        from: deviceId,
        to: b.ref.deviceId,
      };
      b.receive(encodeSignal(signal), { deviceId, accountId: i.toString(16).padStart(40, '0') });
    }
    expect(b.calls.stats()).toMatchObject({ watchedPeers: MAX_WATCHED_PEERS, live: 1 });
  });
});
