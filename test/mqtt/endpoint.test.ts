import { describe, expect, test } from 'vitest';
import { isLoopback, parseEndpoint } from '../../agent/mqtt/endpoint.ts';

describe('the url of the broker', () => {
  test.each([
    ['mqtt://127.0.0.1:1884', { host: '127.0.0.1', port: 1884, tls: false }],
    ['mqtt://localhost', { host: 'localhost', port: 1883, tls: false }],
    ['mqtt://LOCALHOST/', { host: 'localhost', port: 1883, tls: false }],
    ['mqtt://[::1]', { host: '::1', port: 1883, tls: false }],
    ['mqtts://broker.example', { host: 'broker.example', port: 8883, tls: true }],
    ['mqtts://[2001:db8::1]:8884', { host: '2001:db8::1', port: 8884, tls: true }],
  ])('%s', (url, endpoint) => {
    expect(parseEndpoint(url, false)).toEqual(endpoint);
  });

  test.each([
    '',
    'broker',
    'http://127.0.0.1',
    'ws://127.0.0.1',
    'mqtt://',
    'mqtt://127.0.0.1:0',
    'mqtt://127.0.0.1:70000',
    'mqtt://127.0.0.1/topic',
    'mqtt://127.0.0.1?x=1',
    'mqtt:127.0.0.1',
  ])('%j is none', (url) => {
    expect(() => parseEndpoint(url, true)).toThrow(expect.objectContaining({ code: 'mqtt-url' }));
  });

  test.each(['mqtt://me:hunter2@127.0.0.1', 'mqtt://hunter2@127.0.0.1', 'me:hunter2@127.0.0.1'])(
    'holds no secret, and its complaint does not either: %s',
    (url) => {
      expect.assertions(2);
      try {
        parseEndpoint(url, true);
      } catch (error) {
        expect(error).toMatchObject({ code: 'mqtt-url' });
        expect(String(error)).not.toContain('hunter2');
      }
    },
  );
});

describe('plain TCP', () => {
  test.each(['mqtt://192.0.2.7', 'mqtt://broker.example', 'mqtt://127.0.0.1.example.org'])(
    'does not leave this machine unless told: %s',
    (url) => {
      expect(() => parseEndpoint(url, false)).toThrow(
        expect.objectContaining({ code: 'mqtt-plaintext' }),
      );
      expect(parseEndpoint(url, true).tls).toBe(false);
    },
  );

  test.each([
    ['127.0.0.1', true],
    ['127.255.0.9', true],
    ['::1', true],
    ['localhost', true],
    ['128.0.0.1', false],
    ['0.0.0.0', false],
    ['::', false],
  ])('%s is loopback: %s', (host, expected) => {
    expect(isLoopback(host)).toBe(expected);
  });
});
