import { expect, expectTypeOf, test } from 'vitest';
import type { WireEvent } from '../../agent/control/protocol.ts';
import { toWire } from '../../agent/control/wire-case.ts';

test('keys become snake_case at every depth, values stay', () => {
  expect(
    toWire({
      type: 'call.phase',
      callId: 'camelCase',
      quality: { lossPct: 1.5 },
      list: [{ aB: null }],
      peers4: 3,
    }),
  ).toEqual({
    type: 'call.phase',
    call_id: 'camelCase',
    quality: { loss_pct: 1.5 },
    list: [{ a_b: null }],
    peers4: 3,
  });
});

test('the types follow', () => {
  type Answered = Extract<WireEvent, { type: 'call.answered' }>;
  expectTypeOf<Answered['call']['account_id']>().toEqualTypeOf<string>();
  type Message = Extract<WireEvent, { type: 'message' }>;
  expectTypeOf<Message['message']['unix_ms']>().toEqualTypeOf<number>();
});
