import { describe, expect, test } from 'vitest';
import { createTopics, isResponseTopic, verbOf } from '../../agent/mqtt/topics.ts';
import { topics } from './samples.ts';

describe('topics', () => {
  test('are spelled as the contract says', () => {
    expect(topics).toEqual({
      availability: 'doorward/front/availability',
      info: 'doorward/front/info',
      callState: 'doorward/front/call/state',
      netState: 'doorward/front/net/state',
      audioState: 'doorward/front/audio/state',
      callEvent: 'doorward/front/event/call',
      messageEvent: 'doorward/front/event/message',
      securityEvent: 'doorward/front/event/security',
      systemEvent: 'doorward/front/event/system',
      commands: 'doorward/front/cmd/#',
      commandPrefix: 'doorward/front/cmd/',
      resultPrefix: 'doorward/front/result/',
      basePrefix: 'doorward/',
    });
  });

  test('take a base of several levels', () => {
    expect(createTopics('home/doors', 'a').info).toBe('home/doors/a/info');
  });

  test.each(['', 'Front', 'front door', 'front/1', 'a+b', '#', 'ä', 'x'.repeat(33)])(
    'refuse the node name %j',
    (node) => {
      expect(() => createTopics('doorward', node)).toThrow(
        expect.objectContaining({ code: 'mqtt-node' }),
      );
    },
  );

  test.each(['', '/doorward', 'doorward/', 'a//b', '$SYS', 'a/#', '+', 'a b', 'a/b/c/d/e'])(
    'refuse the base %j',
    (base) => {
      expect(() => createTopics(base, 'front')).toThrow(
        expect.objectContaining({ code: 'mqtt-base' }),
      );
    },
  );
});

describe('verbOf', () => {
  test.each([
    ['doorward/front/cmd/call', 'call'],
    ['doorward/front/cmd/door/main', 'door/main'],
    ['doorward/front/cmd/', undefined],
    ['doorward/front/cmd', undefined],
    ['doorward/back/cmd/call', undefined],
    ['x/doorward/front/cmd/call', undefined],
  ])('%s → %s', (topic, verb) => {
    expect(verbOf(topics, topic)).toBe(verb);
  });
});

describe('a Response Topic', () => {
  test.each([
    ['client/42/reply', true],
    ['doorward/front/result/call', true],
    ['doorward/front/cmd/call', false],
    ['doorward/back/cmd/hangup', false],
    ['doorward/front/availability', false],
    ['doorward/front/event/bell', false],
    ['$SYS/x', false],
    ['a/+/b', false],
    ['#', false],
    ['', false],
    ['a\u0000b', false],
    ['x'.repeat(257), false],
  ])('%j may be used: %s', (topic, allowed) => {
    expect(isResponseTopic(topics, topic)).toBe(allowed);
  });
});
