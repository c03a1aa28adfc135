import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../agent/base/bytes.ts';
import type { CommandResult } from '../../agent/events.ts';
import { decodeCommand } from '../../agent/mqtt/command.ts';
import { CommandGate } from '../../agent/mqtt/command-gate.ts';
import {
  COMMAND_BURST,
  COMMAND_ID_MS,
  COMMAND_TIMEOUT_MS,
  COMMANDS_RUNNING,
} from '../../agent/mqtt/limits.ts';
import { topics, UNIX_MS } from './samples.ts';

const accepted: CommandResult = { code: 'accepted', message: 'calling' };

function decoded(verb: string, payload: string) {
  const delivery = { topic: `doorward/front/cmd/${verb}`, payload: utf8(payload), retain: false };
  const command = decodeCommand(topics, delivery, UNIX_MS, 'set');
  if (command === undefined) throw new Error('no command');
  return command;
}

const callAlice = (id: string) => decoded('call', `{"to":"alice","id":"${id}"}`);

function run(gate: CommandGate, id: string, now: number): number {
  const verdict = gate.admit(callAlice(id), now);
  if (verdict.kind !== 'run') throw new Error(verdict.code);
  return verdict.ticket;
}

describe('an id', () => {
  test('acts once; a repeat gets the same result again', () => {
    const gate = new CommandGate();
    const first = gate.complete(run(gate, 'b1f2', 100), accepted, 103);
    expect(first?.topic).toBe('doorward/front/result/call');
    expect(JSON.parse(first?.payload ?? '')).toMatchObject({
      id: 'b1f2',
      code: 'accepted',
      took_ms: 3,
    });
    const again = gate.admit(callAlice('b1f2'), 5_000);
    expect(again).toEqual({ kind: 'refuse', code: 'replayed', answer: first });
    expect(gate.stats()).toMatchObject({ repeated: 1, idsTaken: 1 });
  });

  test('repeated while its command is in progress waits for the one result', () => {
    const gate = new CommandGate();
    const ticket = run(gate, 'b1f2', 0);
    expect(gate.admit(callAlice('b1f2'), 1)).toMatchObject({ kind: 'refuse', answer: undefined });
    expect(gate.complete(ticket, accepted, 2)).toBeDefined();
  });

  test('does not serve another command', () => {
    const gate = new CommandGate();
    gate.complete(run(gate, 'b1f2', 0), accepted, 1);
    const other = gate.admit(decoded('call', '{"to":"bob","id":"b1f2"}'), 2);
    expect(other).toMatchObject({ kind: 'refuse', code: 'replayed' });
    expect(other).toHaveProperty('answer.topic', 'doorward/front/result/call');
  });

  test('is free again after ten minutes, not before', () => {
    const gate = new CommandGate();
    gate.complete(run(gate, 'b1f2', 0), accepted, 1);
    expect(gate.admit(callAlice('b1f2'), COMMAND_ID_MS - 1).kind).toBe('refuse');
    expect(gate.admit(callAlice('b1f2'), COMMAND_ID_MS).kind).toBe('run');
  });

  test('of a refused command is not used up', () => {
    const gate = new CommandGate();
    const bad = gate.admit(decoded('call', '{"id":"1"}'), 0);
    expect(bad).toMatchObject({ kind: 'refuse', code: 'bad_request' });
    expect(gate.admit(callAlice('1'), 1).kind).toBe('run');
  });

  test('is never forgotten early, whatever a flood does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 900 }), (gaps) => {
        const gate = new CommandGate();
        gate.complete(run(gate, 'precious', 0), accepted, 0);
        let now = 0;
        gaps.forEach((gap, i) => {
          now += gap;
          if (now >= COMMAND_ID_MS) return;
          const verdict = gate.admit(callAlice(`flood ${i}`), now);
          if (verdict.kind === 'run') gate.complete(verdict.ticket, accepted, now);
        });
        expect(gate.stats()['idsForgotten']).toBe(0);
        expect(gate.admit(callAlice('precious'), COMMAND_ID_MS - 1).kind).toBe('refuse');
      }),
      { numRuns: 30 },
    );
  });
});

describe('bounds', () => {
  test('a burst is let in, then one a second', () => {
    const gate = new CommandGate();
    const codes = (count: number, now: number) =>
      Array.from({ length: count }, (_, i) => {
        const verdict = gate.admit(callAlice(`${now} ${i}`), now);
        if (verdict.kind === 'run') gate.complete(verdict.ticket, accepted, now);
        return verdict.kind === 'run' ? 'run' : verdict.code;
      });
    expect(codes(COMMAND_BURST + 2, 0)).toEqual([
      ...Array.from({ length: COMMAND_BURST }, () => 'run'),
      'rate_limited',
      'rate_limited',
    ]);
    expect(codes(2, 1_000)).toEqual(['run', 'rate_limited']);
  });

  test('a station that is stuck says busy', () => {
    const gate = new CommandGate();
    for (let i = 0; i < COMMANDS_RUNNING; i++) run(gate, `${i}`, 0);
    expect(gate.admit(callAlice('one more'), 1)).toMatchObject({ kind: 'refuse', code: 'busy' });
    expect(gate.stats()['running']).toBe(COMMANDS_RUNNING);
  });

  test('a command that nobody finishes is answered once, with internal', () => {
    const gate = new CommandGate();
    const ticket = run(gate, 'b1f2', 50);
    expect(gate.nextTimeout()).toBe(50 + COMMAND_TIMEOUT_MS);
    expect(gate.timeout(gate.nextTimeout() - 1)).toEqual([]);
    const answers = gate.timeout(gate.nextTimeout());
    expect(answers.map(({ payload }) => JSON.parse(payload).code)).toEqual(['internal']);
    expect(gate.complete(ticket, accepted, 20_000)).toBeUndefined();
    expect(gate.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });
});

test('whatever is asked, each command with an id that acts has exactly one result', () => {
  const step = fc.record({
    id: fc.constantFrom('a', 'b', 'c'),
    to: fc.constantFrom('alice', 'bob'),
    gap: fc.integer({ min: 0, max: 400_000 }),
    finish: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const gate = new CommandGate();
      let now = 0;
      let ran = 0;
      let results = 0;
      for (const { id, to, gap, finish } of steps) {
        now += gap;
        results += gate.timeout(now).length;
        const verdict = gate.admit(decoded('call', JSON.stringify({ id, to })), now);
        if (verdict.kind !== 'run') continue;
        ran++;
        if (finish && gate.complete(verdict.ticket, accepted, now) !== undefined) results++;
      }
      results += gate.timeout(now + COMMAND_TIMEOUT_MS).length;
      expect(results).toBe(ran);
    }),
  );
});
