import { describe, expect, test } from 'vitest';
import { utf8 } from '../../agent/base/bytes.ts';
import type { AgentEvent } from '../../agent/events.ts';
import { type BridgeOptions, type BridgeOutput, MqttBridge } from '../../agent/mqtt/bridge.ts';
import {
  COMMAND_BURST,
  COMMAND_TIMEOUT_MS,
  INFLIGHT_PUBLISHES,
  LATE_AFTER_MS,
  QUEUED_EVENTS,
  QUEUED_RESULTS,
  READ_BACK_MS,
  STOP_TIMEOUT_MS,
  TRACKED_CALLS,
} from '../../agent/mqtt/limits.ts';
import { seededRandom } from '../sim/seeded.ts';
import { call, everyEvent, incoming, info, topics, UNIX_MS } from './samples.ts';

const at = (now: number) => ({ now, unixMs: UNIX_MS + now });

const open: Omit<BridgeOptions, 'random'> = {
  topics,
  info,
  privacy: { publishMessageText: false },
};

type Publish = Extract<BridgeOutput, { type: 'publish' }>;

/** A bridge and the hand that drives it. */
class Driven {
  readonly bridge: MqttBridge;
  outputs: BridgeOutput[] = [];

  constructor(options: Partial<BridgeOptions> = {}, start = at(0)) {
    this.bridge = new MqttBridge({ ...open, random: seededRandom(1), ...options }, start);
  }

  /** What came out since the last call. */
  take(): BridgeOutput[] {
    const outputs: BridgeOutput[] = [];
    for (let out = this.bridge.poll(); out !== undefined; out = this.bridge.poll())
      outputs.push(out);
    return outputs;
  }

  publishes(): Publish[] {
    return this.take().filter((out) => out.type === 'publish');
  }

  /** Connect, and let the broker acknowledge and give back everything until nothing more comes. */
  online(now: number): Publish[] {
    this.bridge.connected(undefined, at(now));
    return this.settleAll(now);
  }

  settleAll(now: number): Publish[] {
    const all: Publish[] = [];
    for (let outputs = this.take(); outputs.length > 0; outputs = this.take()) {
      for (const out of outputs) {
        if (out.type === 'publish') {
          all.push(out);
          this.bridge.settled(out.token, true, at(now));
        } else if (out.type === 'subscribe' && out.filter === topics.info) {
          const payload = utf8('{}');
          this.bridge.received({ topic: topics.info, payload, retain: true }, at(now));
        }
      }
    }
    return all;
  }

  command(verb: string, payload: string, now: number, retain = false): void {
    const topic = `doorward/front/cmd/${verb}`;
    this.bridge.received({ topic, payload: utf8(payload), retain }, at(now));
  }
}

const topicsOf = (publishes: Publish[]) => publishes.map(({ message }) => message.topic);
const bodies = (publishes: Publish[], topic: string) =>
  publishes
    .filter(({ message }) => message.topic === topic)
    .map(({ message }) => JSON.parse(message.payload));

describe('after CONNACK', () => {
  test('comes subscribe, every retained state, online, then what waited', () => {
    const driven = new Driven();
    driven.bridge.publish({ type: 'audio.state', state: 'ok' }, at(1));
    driven.bridge.publish(incoming, at(2));
    driven.bridge.connected(undefined, at(3));
    const [first, ...rest] = driven.take();
    expect(first).toEqual({ type: 'subscribe', filter: topics.commands, storedToo: false });
    expect(rest.map((out) => (out.type === 'publish' ? out.message.topic : out.type))).toEqual([
      topics.info,
      topics.callState,
      topics.netState,
      topics.audioState,
      topics.availability,
      topics.callEvent,
    ]);
  });

  test('retained topics are retained, events are not', () => {
    const driven = new Driven();
    for (const event of everyEvent) driven.bridge.publish(event, at(1));
    for (const { message } of driven.online(2)) {
      expect(message.retain).toBe(!message.topic.includes('/event/'));
    }
  });

  test('a call state from before the start of the station is overwritten with idle', () => {
    const published = new Driven().online(5);
    expect(bodies(published, topics.callState)).toEqual([
      { v: 1, state: 'idle', since: '2026-09-01T10:15:02.113Z' },
    ]);
  });

  test('the same comes again on each connection', () => {
    const driven = new Driven();
    driven.online(1);
    driven.bridge.disconnected(at(2));
    expect(driven.take()).toEqual([]);
    expect(topicsOf(driven.online(3))).toEqual([
      topics.info,
      topics.callState,
      topics.netState,
      topics.availability,
    ]);
  });

  test('no more is in flight than the broker takes', () => {
    const driven = new Driven();
    for (let i = 0; i < 40; i++) driven.bridge.publish(incoming, at(i));
    driven.bridge.connected(3, at(50));
    expect(driven.publishes()).toHaveLength(3);
    driven.bridge.disconnected(at(51));
    driven.bridge.connected(65_535, at(52));
    const full = driven.publishes();
    expect(full).toHaveLength(INFLIGHT_PUBLISHES);
    for (const { token } of full) driven.bridge.settled(token, true, at(53));
    driven.settleAll(53);
    expect(driven.bridge.stats()).toMatchObject({ inflight: 0, eventsQueued: 0 });
  });
});

describe('a broker that lost its store', () => {
  const readBack = (driven: Driven, now: number) => {
    driven.bridge.connected(undefined, at(now));
    for (const out of driven.take()) {
      if (out.type === 'publish') driven.bridge.settled(out.token, true, at(now));
    }
    return driven.take();
  };

  test('is asked for info once online is acknowledged', () => {
    const driven = new Driven();
    expect(readBack(driven, 1)).toEqual([
      { type: 'subscribe', filter: topics.info, storedToo: true },
    ]);
    driven.bridge.received({ topic: topics.info, payload: utf8('{}'), retain: true }, at(2));
    expect(driven.take()).toEqual([{ type: 'unsubscribe', filter: topics.info }]);
    expect(driven.bridge.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  test('gets everything again when info does not come back within 2 s, once', () => {
    const driven = new Driven();
    readBack(driven, 1);
    // Our own publish, passing by live, proves nothing.
    driven.bridge.received({ topic: topics.info, payload: utf8('{}'), retain: false }, at(2));
    const deadline = 1 + READ_BACK_MS;
    expect(driven.bridge.nextTimeout()).toBe(deadline);
    driven.bridge.timeout(at(deadline));
    const outputs = driven.take();
    expect(outputs.slice(0, 2)).toEqual([
      { type: 'unsubscribe', filter: topics.info },
      { type: 'store_lost' },
    ]);
    const again = outputs.filter((out) => out.type === 'publish');
    expect(topicsOf(again)).toEqual([
      topics.info,
      topics.callState,
      topics.netState,
      topics.availability,
    ]);
    for (const { token } of again) driven.bridge.settled(token, true, at(deadline));
    expect(driven.take()).toEqual([]);
    expect(driven.bridge.stats()).toMatchObject({ storesLost: 1 });
  });
});

describe('while offline', () => {
  test('only the newest value of a state is kept', () => {
    const driven = new Driven();
    for (let peers4 = 0; peers4 < 500; peers4++) {
      driven.bridge.publish({ type: 'dht.state', state: 'connected', peers4, peers6: 0 }, at(1));
    }
    const published = driven.online(2);
    expect(bodies(published, topics.netState)).toEqual([
      { dht: 'connected', peers4: 499, peers6: 0 },
    ]);
  });

  test('fifty events are kept, the oldest go, and seq shows the gap', () => {
    const driven = new Driven();
    for (let i = 0; i < QUEUED_EVENTS + 7; i++) driven.bridge.publish(incoming, at(i));
    expect(driven.bridge.stats()).toMatchObject({ eventsQueued: QUEUED_EVENTS, eventsDropped: 7 });
    const events = bodies(driven.online(100), topics.callEvent);
    expect(events.map(({ seq }) => seq)).toEqual(
      Array.from({ length: QUEUED_EVENTS }, (_, i) => i + 8),
    );
  });

  test('an event older than ten seconds says so, a younger one does not', () => {
    const driven = new Driven();
    driven.bridge.publish(incoming, at(0));
    driven.bridge.publish(incoming, at(1));
    const events = bodies(driven.online(LATE_AFTER_MS + 1), topics.callEvent);
    expect(events.map(({ late }) => late)).toEqual([true, undefined]);
    expect(events[0].ts).toBe('2026-09-01T10:15:02.113Z');
    expect(driven.bridge.stats()).toMatchObject({ eventsLate: 1 });
  });

  test('an event in flight when the connection broke is sent again with the same id', () => {
    const driven = new Driven();
    driven.online(0);
    driven.bridge.publish(incoming, at(1));
    const cut = bodies(driven.publishes(), topics.callEvent);
    driven.bridge.disconnected(at(2));
    const again = bodies(driven.online(3), topics.callEvent);
    expect(again).toEqual(cut);
  });

  test('an acknowledged event is not sent again', () => {
    const driven = new Driven();
    driven.online(0);
    driven.bridge.publish(incoming, at(1));
    driven.settleAll(1);
    driven.bridge.disconnected(at(2));
    expect(bodies(driven.online(3), topics.callEvent)).toEqual([]);
  });

  test('an event the broker refuses is given up, and counted', () => {
    const driven = new Driven();
    driven.online(0);
    driven.bridge.publish(incoming, at(1));
    for (const { token } of driven.publishes()) driven.bridge.settled(token, false, at(2));
    expect(driven.bridge.stats()).toMatchObject({ publishesRefused: 1, eventsQueued: 0 });
  });
});

describe('states', () => {
  test('are published when they change, and not when they do not', () => {
    const driven = new Driven();
    driven.online(0);
    const ok: AgentEvent = { type: 'audio.state', state: 'ok' };
    driven.bridge.publish(ok, at(1));
    driven.bridge.publish(ok, at(2));
    expect(topicsOf(driven.settleAll(3))).toEqual([topics.audioState]);
    driven.bridge.publish({ type: 'audio.state', state: 'no_playback' }, at(4));
    expect(topicsOf(driven.settleAll(5))).toEqual([topics.audioState]);
    expect(driven.bridge.stats()).toMatchObject({ statesUnchanged: 1 });
  });

  test('call/state shows the call that is left, and idle when none is', () => {
    const driven = new Driven();
    driven.online(0);
    const phase = (callId: string, word: 'active' | 'incoming' | 'idle') =>
      driven.bridge.publish(
        { type: 'call.phase', call: call({ callId, phase: word, peer: callId }) },
        at(1),
      );
    phase('alice', 'active');
    phase('bob', 'incoming');
    phase('bob', 'idle');
    phase('alice', 'idle');
    const states = bodies(driven.settleAll(2), topics.callState);
    expect(states.map(({ state, peer }) => [state, peer])).toEqual([
      ['active', 'alice'],
      ['incoming', 'bob'],
      ['active', 'alice'],
      ['idle', undefined],
    ]);
  });

  test('the last event of a call ends its state, with or without a phase of its own', () => {
    const driven = new Driven();
    driven.online(0);
    driven.bridge.publish({ type: 'call.phase', call: call({ phase: 'incoming' }) }, at(1));
    const missed = {
      type: 'call.missed',
      call: call(),
      reason: 'no_answer',
      durationS: 0,
    } as const;
    driven.bridge.publish(missed, at(2));
    driven.bridge.publish({ type: 'call.phase', call: call({ phase: 'idle' }) }, at(3));
    const states = bodies(driven.settleAll(4), topics.callState);
    expect(states.map(({ state }) => state)).toEqual(['incoming', 'idle']);
  });

  test('remember so many calls and no more', () => {
    const driven = new Driven();
    for (let i = 0; i < TRACKED_CALLS + 3; i++) {
      driven.bridge.publish({ type: 'call.phase', call: call({ callId: `${i}` }) }, at(1));
    }
    expect(driven.bridge.stats()).toMatchObject({
      callsTracked: TRACKED_CALLS,
      callsForgotten: 3,
    });
  });

  test('info follows the clock from unset to set', () => {
    const driven = new Driven({}, { now: 0, unixMs: 60_000 });
    driven.bridge.connected(undefined, { now: 0, unixMs: 60_000 });
    expect(bodies(driven.settleAll(0), topics.info)).toMatchObject([{ clock: 'unset' }]);
    driven.bridge.publish(incoming, at(100));
    expect(bodies(driven.settleAll(100), topics.info)).toMatchObject([{ clock: 'set' }]);
  });

  test('a clock known to be synchronised is called so, an impossible one is not', () => {
    const clockState = () => 'synced' as const;
    expect(bodies(new Driven({ clockState }).online(0), topics.info)[0].clock).toBe('synced');
    const early = new Driven({ clockState }, { now: 0, unixMs: 0 });
    early.bridge.connected(undefined, { now: 0, unixMs: 0 });
    expect(bodies(early.settleAll(0), topics.info)[0].clock).toBe('unset');
  });
});

describe('commands', () => {
  const accepted = { code: 'accepted', message: 'calling', data: { call_id: 'x' } } as const;

  test('are run, and answered when they are done', () => {
    const driven = new Driven();
    driven.online(0);
    driven.command('call', '{"id":"b1f2","to":"alice"}', 10);
    expect(driven.take()).toEqual([
      { type: 'run', ticket: 1, command: { type: 'call', to: 'alice' } },
    ]);
    driven.bridge.completed(1, accepted, at(13));
    expect(bodies(driven.publishes(), 'doorward/front/result/call')).toEqual([
      {
        v: 1,
        id: 'b1f2',
        ok: true,
        code: 'accepted',
        message: 'calling',
        took_ms: 3,
        data: { call_id: 'x' },
      },
    ]);
  });

  test('without an id are run and not answered', () => {
    const driven = new Driven();
    driven.online(0);
    driven.command('hangup', '', 10);
    expect(driven.take()).toMatchObject([{ type: 'run' }]);
    driven.bridge.completed(1, { code: 'ok', message: '' }, at(11));
    expect(driven.take()).toEqual([]);
  });

  test('delivered retained are refused, counted and answered', () => {
    const driven = new Driven();
    driven.online(0);
    driven.command('hangup', '{"id":"1"}', 10, true);
    const outputs = driven.take();
    expect(outputs.some((out) => out.type === 'run')).toBe(false);
    expect(outputs).toContainEqual({
      type: 'refused',
      topic: 'doorward/front/cmd/hangup',
      code: 'retained',
    });
    expect(outputs.filter((out) => out.type === 'publish')).toHaveLength(1);
    expect(driven.bridge.stats()).toMatchObject({ refused_retained: 1, commands: 0 });
  });

  test('that finish after the connection broke are not answered to the next one', () => {
    const driven = new Driven();
    driven.online(0);
    driven.command('call', '{"id":"1","to":"alice"}', 10);
    driven.bridge.disconnected(at(11));
    driven.bridge.completed(1, accepted, at(12));
    expect(topicsOf(driven.online(13))).not.toContain('doorward/front/result/call');
  });

  test('repeated over a new connection are answered and not run again', () => {
    const driven = new Driven();
    driven.online(0);
    driven.command('call', '{"id":"1","to":"alice"}', 10);
    driven.bridge.disconnected(at(11));
    driven.bridge.completed(1, accepted, at(12));
    driven.online(13);
    driven.command('call', '{"id":"1","to":"alice"}', 14);
    const outputs = driven.take();
    expect(outputs.some((out) => out.type === 'run')).toBe(false);
    expect(outputs.filter((out) => out.type === 'publish')).toHaveLength(1);
  });

  test('that nobody finishes are answered after a while', () => {
    const driven = new Driven();
    driven.online(0);
    driven.command('call', '{"id":"1","to":"alice"}', 10);
    driven.take();
    expect(driven.bridge.nextTimeout()).toBe(10 + COMMAND_TIMEOUT_MS);
    driven.bridge.timeout(at(10 + COMMAND_TIMEOUT_MS));
    const [result] = bodies(driven.publishes(), 'doorward/front/result/call');
    expect(result).toMatchObject({ id: '1', code: 'internal', ok: false });
  });

  test('in a flood leave results behind, counted, and nothing grows', () => {
    const driven = new Driven();
    driven.online(0);
    for (let i = 0; i < 500; i++) driven.command('call', `{"id":"${i}","to":"alice"}`, 10);
    const stats = driven.bridge.stats();
    expect(stats).toMatchObject({
      running: 16,
      refused_busy: COMMAND_BURST - 16,
      refused_rate_limited: 500 - COMMAND_BURST,
      resultsQueued: QUEUED_RESULTS,
      inflight: INFLIGHT_PUBLISHES,
    });
    expect(stats['resultsDropped']).toBe(500 - 16 - QUEUED_RESULTS - INFLIGHT_PUBLISHES);
  });

  test('on a topic under cmd/ that is endless are counted and dropped', () => {
    const driven = new Driven();
    driven.online(0);
    driven.command('x'.repeat(100), '', 1);
    expect(driven.bridge.stats()).toMatchObject({ refused_unknown_verb: 1 });
  });
});

describe('stop', () => {
  test('says offline behind everything else and waits for its acknowledgement', () => {
    const driven = new Driven();
    driven.online(0);
    driven.bridge.publish(incoming, at(1));
    driven.bridge.publish({ type: 'system', kind: 'stopping' }, at(1));
    driven.bridge.stop(at(1));
    const published = driven.publishes();
    expect(published.at(-1)?.message).toEqual({
      topic: topics.availability,
      payload: 'offline',
      retain: true,
    });
    expect(topicsOf(published)).toEqual([
      topics.callEvent,
      topics.systemEvent,
      topics.availability,
    ]);
    for (const { token } of published.slice(0, -1)) driven.bridge.settled(token, true, at(2));
    expect(driven.take()).toEqual([]);
    driven.bridge.settled(published.at(-1)?.token ?? 0, true, at(3));
    expect(driven.take()).toEqual([{ type: 'stopped', clean: true }]);
    expect(driven.bridge.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  test('lets go of what waits behind a full window too', () => {
    const driven = new Driven();
    driven.online(0);
    for (let i = 0; i < 40; i++) driven.bridge.publish(incoming, at(1));
    driven.bridge.stop(at(2));
    expect(driven.publishes()).toHaveLength(41);
  });

  test('does not wait for ever', () => {
    const driven = new Driven();
    driven.online(0);
    driven.bridge.stop(at(1));
    driven.take();
    expect(driven.bridge.nextTimeout()).toBe(1 + STOP_TIMEOUT_MS);
    driven.bridge.timeout(at(1 + STOP_TIMEOUT_MS));
    expect(driven.take()).toEqual([{ type: 'stopped', clean: false }]);
  });

  test('without a connection is done at once', () => {
    const driven = new Driven();
    driven.bridge.stop(at(1));
    expect(driven.take()).toEqual([{ type: 'stopped', clean: false }]);
  });

  test('is done when the connection goes meanwhile, and only once', () => {
    const driven = new Driven();
    driven.online(0);
    driven.bridge.stop(at(1));
    driven.bridge.disconnected(at(2));
    driven.bridge.timeout(at(5_000));
    driven.bridge.stop(at(6_000));
    expect(driven.take().filter((out) => out.type === 'stopped')).toHaveLength(1);
  });

  test('does not wait for a command in progress', () => {
    const driven = new Driven();
    driven.online(0);
    driven.command('call', '{"id":"1","to":"alice"}', 1);
    driven.bridge.stop(at(2));
    driven.bridge.timeout(at(2 + STOP_TIMEOUT_MS));
    expect(driven.bridge.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  test('ends publishing', () => {
    const driven = new Driven();
    driven.online(0);
    driven.bridge.stop(at(1));
    driven.take();
    driven.bridge.publish(incoming, at(2));
    driven.command('hangup', '', 3);
    expect(driven.take()).toEqual([]);
  });
});
