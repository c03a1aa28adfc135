import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  encodeError,
  encodeNotification,
  encodeRequest,
  encodeResult,
  LineSplitter,
  parseRpc,
} from '../../agent/control/json-rpc.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);

describe('parseRpc', () => {
  // Examples of https://www.jsonrpc.org/specification section 7, those without batches and positional parameters.
  test.each([
    [
      '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 3}',
      { kind: 'request', id: 3, method: 'subtract', params: { minuend: 42, subtrahend: 23 } },
    ],
    [
      '{"jsonrpc": "2.0", "method": "foobar"}',
      { kind: 'notification', method: 'foobar', params: {} },
    ],
    ['{"jsonrpc": "2.0", "result": 19, "id": 3}', { kind: 'result', id: 3, result: 19 }],
    [
      '{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"}',
      { kind: 'error', id: '1', error: { code: -32601, message: 'Method not found' } },
    ],
    [
      '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}',
      { kind: 'error', id: null, error: { code: -32700, message: 'Parse error' } },
    ],
  ])('reads %s', (line, message) => {
    expect(parseRpc(line)).toEqual(message);
  });

  test.each([
    ['{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', null, -32700],
    ['', null, -32700],
    ['{"jsonrpc": "2.0", "method": 1, "params": "bar"}', null, -32600],
    ['[]', null, -32600],
    ['[{"jsonrpc": "2.0", "method": "id", "id": 1}]', null, -32600],
    ['1', null, -32600],
    ['null', null, -32600],
    ['{}', null, -32600],
    ['{"jsonrpc": "1.0", "method": "id", "id": 7}', 7, -32600],
    ['{"jsonrpc": "2.0", "method": "id", "id": {}}', null, -32600],
    ['{"jsonrpc": "2.0", "method": "id", "id": null}', null, -32600],
    ['{"jsonrpc": "2.0", "id": 7}', 7, -32600],
    ['{"jsonrpc": "2.0", "result": 1}', null, -32600],
    ['{"jsonrpc": "2.0", "error": "no", "id": 7}', 7, -32600],
    ['{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}', 1, -32602],
    ['{"jsonrpc": "2.0", "method": "id", "params": null, "id": 1}', 1, -32602],
    [`{"jsonrpc": "2.0", "method": "${'x'.repeat(65)}", "id": 1}`, 1, -32600],
  ])('refuses %s', (line, id, code) => {
    expect(parseRpc(line)).toMatchObject({ kind: 'invalid', id, error: { code } });
  });

  test('reads back what the encoders write, whatever is in it', () => {
    const id = fc.oneof(fc.integer(), fc.string({ maxLength: 20 }));
    const params = fc.dictionary(fc.string(), fc.jsonValue());
    const plain = (value: unknown) => JSON.parse(JSON.stringify(value));
    fc.assert(
      fc.property(id, fc.string({ maxLength: 20 }), params, (id, method, params) => {
        for (const [line, message] of [
          [encodeRequest(id, method, params), { kind: 'request', id, method, params }],
          [encodeNotification(method, params), { kind: 'notification', method, params }],
          [encodeResult(id, params), { kind: 'result', id, result: params }],
          [
            encodeError(id, { code: -32000, message: method }),
            { kind: 'error', id, error: { code: -32000, message: method } },
          ],
        ] as const) {
          expect(line.indexOf('\n')).toBe(line.length - 1);
          expect(plain(parseRpc(line))).toEqual(plain(message));
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe('LineSplitter', () => {
  const split = (maxBytes: number, ...chunks: string[]) => {
    const splitter = new LineSplitter(maxBytes);
    return chunks.flatMap((chunk) => [...splitter.push(utf8(chunk))]);
  };

  test('cuts at line feeds and skips blank lines', () => {
    expect(split(100, 'a\n\n  \nb\r\nc')).toEqual(['a', 'b\r']);
  });

  test('reports a long line once, skips it whole, and reads the next', () => {
    expect(split(4, '12345', '67890', '1\n1234\n', '12345\nab\n')).toEqual([
      undefined,
      '1234',
      undefined,
      'ab',
    ]);
  });

  test('gives the same lines however the bytes are cut, inside a character too', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'é', '😀', '\n'), maxLength: 60 });
    fc.assert(
      fc.property(text, fc.array(fc.nat(20)), (text, cuts) => {
        const bytes = utf8(`${text}\n`);
        const splitter = new LineSplitter(1000);
        const lines: (string | undefined)[] = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          // One buffer used again for every chunk, as a socket may do.
          const chunk = Uint8Array.from(bytes.subarray(at, at + cut));
          lines.push(...splitter.push(chunk));
          chunk.fill(0x21);
          at += cut;
        }
        expect(lines).toEqual(text.split('\n').filter((line) => line.trim() !== ''));
      }),
    );
  });
});
