import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LOG_AGAIN_MS, RECONNECT_MAX_MS } from '../../agent/mqtt/limits.ts';
import { Link, type LinkOutput } from '../../agent/mqtt/link.ts';
import { seededRandom } from '../sim/seeded.ts';

const refused = { code: 'ECONNREFUSED' };

function drain(link: Link): LinkOutput[] {
  const outputs: LinkOutput[] = [];
  for (let out = link.poll(); out !== undefined; out = link.poll()) outputs.push(out);
  return outputs;
}

const attempts = (outputs: LinkOutput[]) =>
  outputs.flatMap((out) => (out.type === 'connect' ? [out.protocolVersion] : []));
const logs = (outputs: LinkOutput[]) =>
  outputs.flatMap((out) => (out.type === 'log' ? [out.message] : []));

describe('Link', () => {
  test('tries MQTT 5 first and is connected when CONNACK says so', () => {
    const link = new Link(seededRandom(1));
    expect(link.state()).toBe('offline');
    link.start();
    expect(link.state()).toBe('connecting');
    expect(attempts(drain(link))).toEqual([5]);
    link.opened(10);
    expect(link.state()).toBe('connected');
  });

  test('never gives up: 1 s, doubling to a minute, jittered', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 60 }), (seed, failures) => {
        const link = new Link(seededRandom(seed));
        link.start();
        let now = 0;
        for (let i = 0; i < failures; i++) {
          link.closed(refused, now);
          expect(link.state()).toBe('offline');
          const delay = link.nextTimeout() - now;
          const ceiling = Math.min(1_000 * 2 ** i, RECONNECT_MAX_MS);
          expect(delay).toBeGreaterThanOrEqual(ceiling / 2);
          expect(delay).toBeLessThanOrEqual(ceiling);
          drain(link);
          now = link.nextTimeout();
          link.timeout(now - 1);
          expect(attempts(drain(link))).toEqual([]);
          link.timeout(now);
          expect(attempts(drain(link))).toEqual([5]);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('a broker that takes us and throws us out at once is not hammered', () => {
    const link = new Link(seededRandom(1));
    link.start();
    let now = 0;
    for (let i = 0; i < 8; i++) {
      link.opened(now);
      link.closed({ code: 'closed' }, now + 100);
      now = link.nextTimeout();
      link.timeout(now);
    }
    expect(now).toBeGreaterThan(60_000);
  });

  test('after a connection that held, the first retry is quick again', () => {
    const link = new Link(seededRandom(1));
    link.start();
    for (let i = 0, now = 0; i < 8; i++) {
      link.closed(refused, now);
      now = link.nextTimeout();
      link.timeout(now);
    }
    const now = 1_000_000;
    link.opened(now);
    link.closed({ code: 'closed' }, now + 60_000);
    expect(link.nextTimeout() - now - 60_000).toBeLessThanOrEqual(1_000);
  });

  test('stopped, it tries no more', () => {
    const link = new Link(seededRandom(1));
    link.start();
    link.stop();
    link.closed(refused, 5);
    expect(link.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
    expect(link.state()).toBe('offline');
  });
});

describe('protocol version', () => {
  test('falls back to 3.1.1 at once where 5 is refused, and stays there', () => {
    const link = new Link(seededRandom(1));
    link.start();
    link.closed({ code: 'protocol_version', versionRefused: 'refused' }, 0);
    link.opened(1);
    const outputs = drain(link);
    expect(attempts(outputs)).toEqual([5, 4]);
    expect(logs(outputs)).toEqual(['connected to the broker']);
    link.closed({ code: 'closed' }, 100_000);
    link.timeout(link.nextTimeout());
    expect(attempts(drain(link))).toEqual([4]);
  });

  test('tries 3.1.1 once when it is hung up on, then 5 again after a pause', () => {
    const link = new Link(seededRandom(1));
    link.start();
    link.closed({ code: 'closed', versionRefused: 'maybe' }, 0);
    expect(attempts(drain(link))).toEqual([5, 4]);
    link.closed({ code: 'closed', versionRefused: 'maybe' }, 0);
    expect(attempts(drain(link))).toEqual([]);
    link.timeout(link.nextTimeout());
    expect(attempts(drain(link))).toEqual([5]);
  });

  test('begins with 5 again after a 3.1.1 connection that was only a guess', () => {
    const link = new Link(seededRandom(1));
    link.start();
    link.closed({ code: 'closed', versionRefused: 'maybe' }, 0);
    link.opened(1);
    link.closed({ code: 'closed' }, 90_000);
    drain(link);
    link.timeout(link.nextTimeout());
    expect(attempts(drain(link))).toEqual([5]);
  });
});

describe('the log', () => {
  test('has one line for a broker that is away for an hour, and a few more with what was left out', () => {
    const link = new Link(seededRandom(1));
    link.start();
    let now = 0;
    let lines = 0;
    let suppressed = 0;
    while (now < 60 * 60_000) {
      link.closed(refused, now);
      now = link.nextTimeout();
      link.timeout(now);
      for (const out of drain(link)) {
        if (out.type !== 'log') continue;
        lines++;
        suppressed += Number(out.fields['suppressed'] ?? 0);
      }
    }
    expect(lines).toBe(Math.ceil((60 * 60_000) / LOG_AGAIN_MS));
    expect(suppressed).toBeGreaterThan(40);
  });

  test('says when the connection is back, and for how long it was away', () => {
    const link = new Link(seededRandom(1));
    link.start();
    link.opened(0);
    link.closed({ code: 'closed' }, 100_000);
    link.timeout(link.nextTimeout());
    drain(link);
    link.opened(130_000);
    expect(drain(link)).toMatchObject([{ level: 'notice', fields: { away_s: 30 } }]);
  });

  test('does not announce a return nobody was told to wait for', () => {
    const link = new Link(seededRandom(1));
    link.start();
    for (let now = 0; now < 5_000; now += 1_000) {
      link.opened(now);
      link.closed({ code: 'closed' }, now + 1);
      link.timeout(link.nextTimeout());
    }
    expect(logs(drain(link))).toEqual([
      'connected to the broker',
      'no connection to the broker, trying on',
      'connected to the broker',
    ]);
  });
});
