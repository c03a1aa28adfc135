import { describe, expect, test, vi } from 'vitest';
import {
  notifyAddress,
  SystemdNotifier,
  systemdNotifier,
  watchdogMs,
} from '../../agent/systemd.ts';

function recorder(watchdog?: number) {
  const states: string[] = [];
  return { states, notifier: new SystemdNotifier((state) => states.push(state), watchdog) };
}

describe('SystemdNotifier', () => {
  test('says ready, status and stopping as sd_notify(3) spells them', () => {
    const { states, notifier } = recorder();
    notifier.ready('answering as 0123abcd');
    notifier.status('in a call');
    notifier.stopping();
    expect(states).toEqual([
      'READY=1\nSTATUS=answering as 0123abcd',
      'STATUS=in a call',
      'STOPPING=1',
    ]);
  });

  test('text cannot add an assignment of its own', () => {
    const { states, notifier } = recorder();
    notifier.status('call from eve\nMAINPID=1\r\u0000FDSTORE=1');
    notifier.ready('up\nWATCHDOG=trigger');
    expect(states).toEqual([
      'STATUS=call from eve MAINPID=1  FDSTORE=1',
      'READY=1\nSTATUS=up WATCHDOG=trigger',
    ]);
  });

  test('feeds the watchdog only while healthy', () => {
    const { states, notifier } = recorder(30_000);
    notifier.feed(false);
    expect(states).toEqual([]);
    notifier.feed(true);
    expect(states).toEqual(['WATCHDOG=1']);
    expect(notifier.feedEveryMs).toBe(15_000);
  });

  test('feeds nothing where there is no watchdog', () => {
    const { states, notifier } = recorder();
    notifier.feed(true);
    expect({ states, every: notifier.feedEveryMs }).toEqual({ states: [], every: undefined });
  });

  test('runs the watchdog at half its time, asking before each feed, until it is stopped', () => {
    vi.useFakeTimers();
    try {
      const { states, notifier } = recorder(30_000);
      const clock = { now: () => performance.now(), unixMs: () => 0 };
      let healthy = true;
      const stop = notifier.runWatchdog(clock, () => healthy);
      vi.advanceTimersByTime(14_999);
      expect(states).toHaveLength(0);
      vi.advanceTimersByTime(30_001);
      expect(states).toHaveLength(3);
      healthy = false;
      vi.advanceTimersByTime(60_000);
      expect(states).toHaveLength(3);
      healthy = true;
      vi.advanceTimersByTime(15_000);
      expect(states).toHaveLength(4);
      stop();
      vi.advanceTimersByTime(60_000);
      expect(states).toHaveLength(4);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  test('arms no timer where there is no watchdog', () => {
    vi.useFakeTimers();
    try {
      recorder().notifier.runWatchdog({ now: () => 0, unixMs: () => 0 }, () => true)();
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('the environment', () => {
  test.each([
    [{}, undefined],
    [{ WATCHDOG_USEC: '30000000' }, 30_000],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '77' }, 30_000],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '78' }, undefined],
    [{ WATCHDOG_USEC: '0' }, undefined],
    [{ WATCHDOG_USEC: '-5' }, undefined],
    [{ WATCHDOG_USEC: 'soon' }, undefined],
    [{ WATCHDOG_USEC: '9'.repeat(40) }, undefined],
  ])('%j gives pid 77 a watchdog of %s ms', (environment, expected) => {
    expect(watchdogMs(environment, 77)).toBe(expected);
  });

  test('outside systemd everything is silent', () => {
    const failures: string[] = [];
    const notifier = systemdNotifier({ WATCHDOG_USEC: '1000' }, 77, (text) => failures.push(text));
    notifier.ready('up');
    notifier.feed(true);
    notifier.stopping();
    expect({ failures, every: notifier.feedEveryMs }).toEqual({ failures: [], every: undefined });
  });

  test('a socket of an unknown kind is told once and fails nothing', () => {
    const failures: string[] = [];
    const notifier = systemdNotifier({ NOTIFY_SOCKET: 'vsock:2:1234' }, 77, (text) =>
      failures.push(text),
    );
    notifier.ready('up');
    notifier.stopping();
    expect(failures).toEqual([
      'systemd cannot be told how the station is: NOTIFY_SOCKET is neither a path nor an abstract name',
    ]);
  });
});

describe('notifyAddress', () => {
  test('a path ends with a zero byte', () => {
    expect([...(notifyAddress('/run/n') ?? [])]).toEqual([1, 0, 47, 114, 117, 110, 47, 110, 0]);
  });

  test('an abstract name begins with one and is as long as it is', () => {
    expect([...(notifyAddress('@ab') ?? [])]).toEqual([1, 0, 0, 97, 98]);
  });

  test('a name may fill sun_path and not more', () => {
    expect(notifyAddress(`/${'p'.repeat(106)}`)?.length).toBe(110);
    expect(notifyAddress(`/${'p'.repeat(107)}`)).toBeUndefined();
    expect(notifyAddress(`@${'p'.repeat(107)}`)?.length).toBe(110);
    expect(notifyAddress(`@${'p'.repeat(108)}`)).toBeUndefined();
  });
});
