import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { JsonFile } from '../../agent/base/json-file.ts';
import { MESSAGE_LIMITS } from '../../agent/contact/message-limits.ts';
import type { MessageFile } from '../../agent/contact/message-store.ts';
import { Messages } from '../../agent/contact/messages.ts';
import type { TextMessage } from '../../agent/contact/text-message.ts';
import type { MessageEvent } from '../../agent/events.ts';
import { MessageDesk, type TextPost } from '../../agent/message-desk.ts';
import { seededRandom } from '../sim/seeded.ts';
import { keptLog } from './logs.ts';

const BOB = { peer: 'bob', accountId: 'b'.repeat(40) };
const author = { ...BOB, deviceId: 'd'.repeat(64) };
const hello: TextMessage = { kind: 'text', id: 7n, text: 'hello', dateUnixS: 1 };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A file on a slow card: a write ends when the test says so. */
class SlowFile {
  readonly written: string[][] = [];
  readonly #waiting: ((error?: Error) => void)[] = [];

  get underWay(): number {
    return this.#waiting.length;
  }

  save(file: MessageFile): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push((error) => {
        if (error !== undefined) return reject(error);
        this.written.push(file.messages.map(({ text }) => text));
        resolve();
      });
    });
  }

  async finish(error?: Error): Promise<void> {
    this.#waiting.shift()?.(error);
    await vi.advanceTimersByTimeAsync(0);
  }
}

class FakePost implements TextPost {
  readonly kept = new Map<bigint, { stored: () => void; failed: (reason: string) => void }>();
  readonly acknowledged: bigint[] = [];

  keep(
    _accountId: string,
    message: TextMessage,
    stored: () => void,
    failed: (reason: string) => void,
  ): void {
    this.kept.set(message.id, { stored, failed });
  }

  forget(id: bigint): void {
    this.kept.delete(id);
  }

  acknowledge(_deviceId: string, id: bigint): void {
    this.acknowledged.push(id);
  }
}

function setUp() {
  const { log, lines } = keptLog();
  const file = new SlowFile();
  const post = new FakePost();
  const events: MessageEvent[] = [];
  const desk = new MessageDesk({
    messages: new Messages({ random: seededRandom(1) }),
    store: file as unknown as JsonFile<MessageFile>,
    post,
    clock: { now: () => performance.now(), unixMs: () => Date.now() },
    log,
    onEvent: (event) => events.push(event),
  });
  const states = () => events.map(({ message }) => message.state);
  return { desk, file, post, events, states, lines };
}

describe('sending', () => {
  test('keeps the message with the post until it is confirmed, and tells each step', () => {
    const { desk, post, states } = setUp();
    const { messageId } = desk.send(BOB, 'hello');
    const id = BigInt(`0x${messageId}`);
    post.kept.get(id)?.stored();
    desk.receive(author, { kind: 'ack', id });
    expect(states()).toEqual(['queued', 'sent', 'delivered']);
    expect(post.kept.size).toBe(0);
  });

  test('gives up when the post can reach nobody', () => {
    const { desk, post, events } = setUp();
    desk.send(BOB, 'hello');
    for (const { failed } of post.kept.values()) failed('unreachable');
    expect(events.at(-1)?.message).toMatchObject({ state: 'failed', reason: 'unreachable' });
    expect(post.kept.size).toBe(0);
  });

  test('gives up by itself when nobody confirms within its lifetime', async () => {
    const { desk, post, events } = setUp();
    desk.send(BOB, 'hello');
    await vi.advanceTimersByTimeAsync(MESSAGE_LIMITS.lifetimeMs + 1);
    expect(events.at(-1)?.message).toMatchObject({ state: 'failed', reason: 'expired' });
    expect(post.kept.size).toBe(0);
  });
});

describe('the file', () => {
  test('is written once for changes that follow each other', async () => {
    const { desk, file } = setUp();
    desk.receive(author, hello);
    desk.receive(author, { ...hello, id: 8n, text: 'again' });
    expect(file.underWay).toBe(0);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(file.underWay).toBe(1);
    await file.finish();
    expect(file.written).toEqual([['hello', 'again']]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(file.underWay).toBe(0);
  });

  test('is complete when the station stops while it is being written', async () => {
    const { desk, file } = setUp();
    desk.receive(author, hello);
    await vi.advanceTimersByTimeAsync(2_000);
    let isStopped = false;
    const stopped = desk.stop().then(() => {
      isStopped = true;
    });
    await vi.advanceTimersByTimeAsync(0);
    expect(isStopped).toBe(false);
    await file.finish();
    await stopped;
    expect(file.written).toEqual([['hello']]);
  });

  test('gets what came while it was being written', async () => {
    const { desk, file } = setUp();
    desk.receive(author, hello);
    await vi.advanceTimersByTimeAsync(2_000);
    desk.receive(author, { ...hello, id: 8n, text: 'again' });
    const stopped = desk.stop();
    await file.finish();
    await file.finish();
    await stopped;
    expect(file.written).toEqual([['hello'], ['hello', 'again']]);
  });

  test('is tried again when it could not be written', async () => {
    const { desk, file, lines } = setUp();
    desk.receive(author, hello);
    await vi.advanceTimersByTimeAsync(2_000);
    await file.finish(new Error('disk full'));
    expect(lines).toEqual(['doorward: messages are not kept why="disk full"']);
    const stopped = desk.stop();
    await vi.advanceTimersByTimeAsync(0);
    await file.finish();
    await stopped;
    expect(file.written).toEqual([['hello']]);
  });
});

describe('after the stop', () => {
  test('nothing is confirmed that would not be kept', async () => {
    const { desk, post, events } = setUp();
    await desk.stop();
    desk.receive(author, hello);
    expect(post.acknowledged).toEqual([]);
    expect(events).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('what is under way does not fail because the DHT stops', async () => {
    const { desk, file, post, states } = setUp();
    desk.send(BOB, 'hello');
    const stopped = desk.stop();
    await vi.advanceTimersByTimeAsync(0);
    await file.finish();
    await stopped;
    for (const { failed } of post.kept.values()) failed('unreachable');
    expect(states()).toEqual(['queued']);
    expect(vi.getTimerCount()).toBe(0);
  });
});
