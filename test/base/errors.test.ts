import { expect, test } from 'vitest';
import { AgentError, DecodeError, errorCode, errorText } from '../../agent/base/errors.ts';

test('an AgentError says what, why, and what to do', () => {
  const cause = new Error('EADDRINUSE');
  const error = new AgentError('port-in-use', 'UDP 4222 is in use', 'choose another', { cause });
  expect(error).toMatchObject({
    name: 'AgentError',
    code: 'port-in-use',
    message: 'UDP 4222 is in use',
    hint: 'choose another',
    cause,
  });
  expect(new DecodeError('truncated').name).toBe('DecodeError');
});

test.each([
  [new Error('broken'), 'broken', undefined],
  [Object.assign(new Error('no file'), { code: 'ENOENT' }), 'no file', 'ENOENT'],
  [new AgentError('busy', 'the card is busy'), 'the card is busy', 'busy'],
  ['thrown text', 'thrown text', undefined],
  [null, 'null', undefined],
  [{ code: 5 }, '[object Object]', undefined],
])('%s has a text and perhaps a code', (thrown, text, code) => {
  expect([errorText(thrown), errorCode(thrown)]).toEqual([text, code]);
});
