import { describe, expect, test } from 'vitest';
import { AgentError } from '../../agent/base/errors.ts';
import { encodeAudio } from '../../agent/control/audio.ts';
import { CONTROL_LIMITS } from '../../agent/control/limits.ts';
import { ControlSession, type SessionOutput } from '../../agent/control/session.ts';

function session() {
  const core = new ControlSession();
  const drain = () => {
    const outputs: unknown[] = [];
    for (let out = core.poll(); out !== undefined; out = core.poll()) outputs.push(readable(out));
    return outputs;
  };
  const receive = (...lines: (object | string)[]) => {
    const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)));
    core.receive(new TextEncoder().encode(`${text.join('\n')}\n`));
    return drain();
  };
  return { core, drain, receive };
}

function readable(out: SessionOutput): unknown {
  return out.type === 'send' ? JSON.parse(out.line) : out;
}

const DHT_KEY = 'ab'.repeat(20);

const request = (id: number, method: string, params: object = {}) => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
});

describe('a session on the control socket', () => {
  test('hands a request up with checked parameters and sends the answer', () => {
    const { core, drain, receive } = session();
    expect(receive(request(1, 'call', { to: 'alice' }))).toEqual([
      {
        type: 'call',
        id: 1,
        call: { method: 'call', params: { to: 'alice', audio: 'station' } },
      },
    ]);
    core.resolve(1, { code: 'accepted' });
    expect(drain()).toEqual([{ jsonrpc: '2.0', id: 1, result: { code: 'accepted' } }]);
    core.resolve(1, 'again');
    expect(drain()).toEqual([]);
  });

  test.each([
    ['telepathy', {}, -32601, 'there is no method "telepathy"'],
    ['toString', {}, -32601, 'there is no method "toString"'],
    ['call', {}, -32602, /^to: /],
    ['call', { to: 'alice', loud: true }, -32602, /^loud: /],
    ['call', { to: 'alice', for_ms: 1.5 }, -32602, /^for_ms: /],
    ['contact.add', { name: '', id: '0'.repeat(40) }, -32602, 'name: must not be empty'],
    ['call', { to: 'a'.repeat(65) }, -32602, 'to: has at most 64 characters'],
    ['contact.add', { name: 'bob', id: '0'.repeat(40), can: ['open'] }, -32602, /^can\.0: /],
    ['send', { to: 'bob', text: '' }, -32602, /^text: /],
    ['dht.get', { stream: 1, key: 'hello' }, -32602, 'key: must be 40 hex digits'],
    ['dht.get', { stream: 0, key: DHT_KEY }, -32602, /^stream: /],
    ['dht.get', { stream: 1, key: DHT_KEY, where: 'x'.repeat(1025) }, -32602, /^where: /],
    ['dht.put', { key: DHT_KEY, data: 'no base64' }, -32602, 'data: must be base64'],
    [
      'dht.put',
      { key: DHT_KEY, data: 'A'.repeat(87_388) },
      -32602,
      'data: is more than the 64 KiB that one value holds',
    ],
    ['dht.put', { key: DHT_KEY, data: '', id: '0' }, -32602, 'id: must be a decimal number from 1'],
    [
      'dht.put',
      { key: DHT_KEY, data: '', id: '18446744073709551616' },
      -32602,
      'id: must be below 2^64',
    ],
    ['dht.put', { key: DHT_KEY, data: '', type: 65_536 }, -32602, /^type: /],
    ['dht.put_encrypted', { key: DHT_KEY, data: '' }, -32602, /^to: /],
    ['dht.ping', { host: 'a', port: 0 }, -32602, /^port: /],
  ])('refuses %s %o', (method, params, code, message) => {
    expect(session().receive(request(1, method, params))).toEqual([
      {
        jsonrpc: '2.0',
        id: 1,
        error: {
          code,
          message: typeof message === 'string' ? message : expect.stringMatching(message),
        },
      },
    ]);
  });

  test('tells code and hint of an error for people, and nothing of one of our own', () => {
    const { core, drain, receive } = session();
    receive(request(1, 'id'), request(2, 'status'));
    core.reject(1, new AgentError('not_found', 'no such contact', 'see contact list'));
    core.reject(2, new TypeError('secret is undefined'));
    expect(drain()).toEqual([
      {
        jsonrpc: '2.0',
        id: 1,
        error: {
          code: -32000,
          message: 'no such contact',
          data: { code: 'not_found', hint: 'see contact list' },
        },
      },
      { jsonrpc: '2.0', id: 2, error: { code: -32603, message: 'an error in the station' } },
    ]);
  });

  test('bounds the requests under way, and takes more when some are answered', () => {
    const { core, drain, receive } = session();
    const limit = CONTROL_LIMITS.pendingRequests;
    const requests = Array.from({ length: limit + 1 }, (_, i) => request(i, 'id'));
    const outputs = receive(...requests);
    expect(outputs).toHaveLength(limit + 1);
    expect(outputs.at(-1)).toMatchObject({
      id: limit,
      error: { data: { code: 'too-many-requests' } },
    });
    core.resolve(0, {});
    drain();
    expect(receive(request(limit, 'id'))).toMatchObject([{ type: 'call', id: limit }]);
  });

  test('refuses a second request with the id of one under way', () => {
    const { receive } = session();
    receive(request(1, 'id'));
    expect(receive(request(1, 'status'))).toMatchObject([{ id: 1, error: { code: -32600 } }]);
  });

  test('answers garbage, and drops who sends nothing else', () => {
    const { receive } = session();
    const garbage = Array.from({ length: CONTROL_LIMITS.invalidLines + 5 }, () => 'GET / HTTP/1.1');
    const outputs = receive(...garbage);
    expect(outputs).toHaveLength(CONTROL_LIMITS.invalidLines + 1);
    expect(outputs[0]).toMatchObject({ id: null, error: { code: -32700 } });
    expect(outputs.at(-1)).toEqual({ type: 'drop', reason: 'invalid' });
    expect(receive(request(1, 'id'))).toEqual([]);
  });

  test('survives a line that is too long', () => {
    const { receive } = session();
    expect(receive('x'.repeat(CONTROL_LIMITS.inputLineBytes + 1), request(1, 'id'))).toMatchObject([
      { id: null, error: { code: -32600 } },
      { type: 'call', id: 1 },
    ]);
  });

  test('never answers a notification', () => {
    const { receive } = session();
    expect(receive({ jsonrpc: '2.0', method: 'telepathy' })).toEqual([]);
  });

  test('passes sound on in whole frames only', () => {
    const { receive } = session();
    const pcm = Int16Array.from({ length: 1920 }, (_, i) => i - 960);
    expect(receive(encodeAudio(pcm).trim())).toEqual([{ type: 'audio', pcm }]);
    const tooMany = new Int16Array(960 * (CONTROL_LIMITS.audioFrames + 1));
    for (const wrong of [pcm.subarray(1), new Int16Array(0), tooMany]) {
      expect(receive(encodeAudio(wrong).trim())).toMatchObject([{ error: { code: -32602 } }]);
    }
    expect(receive({ jsonrpc: '2.0', method: 'audio', params: { pcm: 7 } })).toMatchObject([
      { error: { code: -32602 } },
    ]);
  });

  test('wants the events it subscribed to', () => {
    const { core, receive } = session();
    expect(core.wantsEvent('call.phase')).toBe(false);
    expect(receive(request(1, 'events.subscribe', { types: ['call', 'message'] }))).toEqual([
      { jsonrpc: '2.0', id: 1, result: {} },
    ]);
    expect(core.wantsEvent('call.phase')).toBe(true);
    expect(core.wantsEvent('message')).toBe(true);
    expect(core.wantsEvent('callous')).toBe(false);
    receive(request(2, 'events.subscribe'));
    expect(core.wantsEvent('anything')).toBe(true);
  });
});
