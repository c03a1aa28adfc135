import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRpc } from '../../agent/control/json-rpc.ts';
import { CONTROL_PARAMS } from '../../agent/control/protocol.ts';
import { ControlSession } from '../../agent/control/session.ts';

const methods = fc.constantFrom(
  ...Object.keys(CONTROL_PARAMS),
  'audio',
  '__proto__',
  'constructor',
);
const rpcish = fc
  .record(
    {
      jsonrpc: fc.constantFrom('2.0', '1.0', 2),
      id: fc.oneof(fc.integer(), fc.string(), fc.constantFrom(null, {}, [])),
      method: fc.oneof(methods, fc.jsonValue()),
      params: fc.oneof(
        fc.dictionary(
          fc.constantFrom('to', 'text', 'id', 'name', 'can', 'pcm', 'types'),
          fc.jsonValue(),
        ),
        fc.jsonValue(),
      ),
      result: fc.jsonValue(),
      error: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  .map((value) => JSON.stringify(value));
const line = fc.oneof(rpcish, fc.string(), fc.json());

describe('hostile lines', () => {
  test('are read as one of five kinds, never thrown', () => {
    fc.assert(
      fc.property(line, (text) => {
        expect(['request', 'notification', 'result', 'error', 'invalid']).toContain(
          parseRpc(text).kind,
        );
      }),
      { numRuns: 1000 },
    );
  });

  test('cause at most one output each, cut anywhere, with damaged bytes among them', () => {
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 12 }),
        fc.uint8Array({ maxLength: 30 }),
        fc.nat(200),
        (lines, noise, cut) => {
          const session = new ControlSession();
          const bytes = Buffer.concat([Buffer.from(`${lines.join('\n')}\n`), noise]);
          session.receive(bytes.subarray(0, cut));
          session.receive(bytes.subarray(cut));
          let outputs = 0;
          while (session.poll() !== undefined) outputs++;
          const fed = bytes.toString('latin1').split('\n').length;
          expect(outputs).toBeLessThanOrEqual(fed + 1);
        },
      ),
      { numRuns: 500 },
    );
  });
});
