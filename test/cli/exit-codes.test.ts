import { describe, expect, test } from 'vitest';
import { AgentError } from '../../agent/base/errors.ts';
import { EXIT, exitOfCall, exitOfError, exitOfResult } from '../../agent/cli/exit-codes.ts';
import type { EndReason, ResultCode } from '../../agent/events.ts';

describe('exit codes', () => {
  test('are what scripts rely on', () => {
    expect(EXIT).toEqual({
      done: 0,
      failed: 1,
      usage: 2,
      refused: 3,
      noAnswer: 4,
      timedOut: 5,
      notFound: 6,
      notRunning: 69,
      cannotWrite: 73,
      tryLater: 75,
      noPermission: 77,
      config: 78,
      interrupted: 130,
    });
  });

  test.each<[string, number]>([
    ['usage', 2],
    ['bad-address', 2],
    ['timeout', 5],
    ['not-found', 6],
    ['no-such-contact', 6],
    ['own-id', 2],
    ['contact-in-config', 3],
    ['starting', 75],
    ['not-running', 69],
    ['station-lost', 69],
    ['store-unusable', 73],
    ['store-write', 73],
    ['control-unusable', 73],
    ['cannot-write', 73],
    ['port-in-use', 75],
    ['bind-failed', 75],
    ['bind-denied', 77],
    ['already-running', 75],
    ['control-denied', 77],
    ['config-invalid', 78],
    ['audio-unusable', 78],
    ['mqtt-url', 78],
    ['mqtt-file', 78],
    ['named-file', 78],
    ['identity-damaged', 78],
    ['exit-75', 75],
    ['exit-0', 1],
    ['exit-139', 1],
    ['anything-else', 1],
    ['toString', 1],
  ])('of error %s: %d', (code, exit) => {
    expect(exitOfError(new AgentError(code, 'x'))).toBe(exit);
  });

  test('a file system that says no is "no permission", whatever was tried', () => {
    const cause = Object.assign(new Error('EACCES'), { code: 'EACCES' });
    expect(exitOfError(new AgentError('store-unusable', 'x', undefined, { cause }))).toBe(77);
  });

  test.each<[ResultCode, number]>([
    ['ok', 0],
    ['accepted', 0],
    ['bad_request', 2],
    ['denied', 3],
    ['unreachable', 4],
    ['no_answer', 4],
    ['not_found', 6],
    ['busy', 75],
    ['rate_limited', 75],
    ['internal', 1],
  ])('of result %s: %d', (code, exit) => {
    expect(exitOfResult(code)).toBe(exit);
  });

  test.each<[EndReason, number, number]>([
    ['hangup', 0, 1],
    ['remote_hangup', 0, 1],
    ['rejected', 3, 3],
    ['denied', 3, 3],
    ['busy', 4, 4],
    ['no_answer', 4, 4],
    ['unreachable', 4, 4],
    ['no_path', 4, 4],
    ['cancelled', 1, 1],
    ['lost', 1, 1],
    ['shutdown', 1, 1],
    ['error', 1, 1],
  ])('of a call that ended with %s: %d if they talked, else %d', (reason, talked, silent) => {
    expect(exitOfCall(reason, true)).toBe(talked);
    expect(exitOfCall(reason, false)).toBe(silent);
  });
});
