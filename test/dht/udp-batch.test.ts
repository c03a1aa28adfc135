import { describe, expect, test } from 'vitest';
import type { Address } from '../../agent/base/address.ts';
import type { DatagramSocketOptions } from '../../agent/dht/datagram-socket.ts';
import { SEND_BATCH, SEND_SLOT_BYTES, SEND_SLOTS } from '../../agent/dht/send-queue.ts';
import { BATCHES_PER_TURN, openBatchSocket, RECEIVE_BATCH } from '../../agent/dht/udp-batch.ts';
import { FakeKernel } from './fake-kernel.ts';

const HERE: Address = { ip: Uint8Array.of(127, 0, 0, 1), port: 4222 };
const PEER: Address = { ip: Uint8Array.of(192, 0, 2, 7), port: 60_001 };
const peer = (i: number): Address => ({ ...PEER, port: PEER.port + i });
const EAGAIN = -11;
const EINTR = -4;
const EIO = -5;
const ENOBUFS = -105;
const ENETUNREACH = -101;

/** A socket on a fake kernel; `turn` lets the event loop come round once. */
function setUp(callbacks: Partial<Pick<DatagramSocketOptions, 'onDatagram' | 'onBatchEnd'>> = {}) {
  let kernel = new FakeKernel(HERE, () => {});
  const deferred: (() => void)[] = [];
  const heard: { packet: Uint8Array; from: Address }[] = [];
  const ends: number[] = [];
  const socket = openBatchSocket(
    {
      ...HERE,
      onDatagram:
        callbacks.onDatagram ??
        ((packet, from) => {
          heard.push({ packet: packet.slice(), from });
        }),
      onBatchEnd: callbacks.onBatchEnd ?? (() => ends.push(heard.length)),
    },
    {
      openKernel: (address, onReady) => {
        kernel = new FakeKernel(address, onReady);
        return kernel;
      },
      defer: (callback) => deferred.push(callback),
    },
  );
  const turn = () => {
    for (const callback of deferred.splice(0)) callback();
  };
  return { socket, kernel, heard, ends, deferred, turn };
}

const packets = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    packet: Uint8Array.of(i >> 8, i & 255, 9),
    address: PEER,
  }));
const numbers = (list: readonly { packet: Uint8Array }[]) =>
  list.map(({ packet }) => ((packet[0] ?? 0) << 8) | (packet[1] ?? 0));
const upTo = (count: number) => [...Array(count).keys()];

describe('receiving', () => {
  test('reads nothing inside the readiness callback, only in the turn after it', () => {
    const { kernel, heard, turn } = setUp();
    kernel.incoming.push(...packets(2));
    kernel.ready();
    kernel.ready();
    expect(kernel.receiveCalls).toBe(0);
    turn();
    expect(numbers(heard)).toEqual([0, 1]);
    expect(heard[0]?.from).toEqual(PEER);
    expect(kernel.receiveCalls).toBe(1);
  });

  test('ends each batch once, after its last datagram', () => {
    const { kernel, heard, ends, turn } = setUp();
    kernel.incoming.push(...packets(RECEIVE_BATCH + 5));
    kernel.ready();
    turn();
    expect(heard).toHaveLength(RECEIVE_BATCH + 5);
    expect(ends).toEqual([RECEIVE_BATCH, RECEIVE_BATCH + 5]);
  });

  test('leaves the rest of a flood for the next turn', () => {
    const { kernel, heard, turn } = setUp();
    const perTurn = BATCHES_PER_TURN * RECEIVE_BATCH;
    kernel.incoming.push(...packets(perTurn + 10));
    kernel.ready();
    turn();
    expect(heard).toHaveLength(perTurn);
    kernel.ready();
    turn();
    expect(numbers(heard)).toEqual(upTo(perTurn + 10));
  });

  test('drops and counts a datagram that the kernel had to cut', () => {
    const { kernel, heard, socket, turn } = setUp();
    const [first, second, third] = packets(3);
    kernel.incoming.push(
      ...[first, second, third].flatMap((d, i) => (d ? [{ ...d, truncated: i === 1 }] : [])),
    );
    kernel.ready();
    turn();
    expect(numbers(heard)).toEqual([0, 2]);
    expect(socket.stats()).toMatchObject({ received: 2, truncated: 1 });
  });

  test('a readiness without datagrams is no batch', () => {
    const { kernel, ends, turn } = setUp();
    kernel.ready();
    turn();
    expect(ends).toEqual([]);
  });

  test('stops at once when closed from inside the callback', () => {
    let heard = 0;
    let ends = 0;
    const { kernel, socket, turn } = setUp({
      onDatagram: () => {
        heard++;
        if (heard === 3) void socket.close();
      },
      onBatchEnd: () => ends++,
    });
    kernel.incoming.push(...packets(10));
    kernel.ready();
    turn();
    kernel.ready();
    turn();
    expect({ heard, ends, closed: kernel.isClosed }).toEqual({ heard: 3, ends: 0, closed: true });
  });
});

describe('sending', () => {
  test('queues until flush and then sends in one call, in order', () => {
    const { kernel, socket } = setUp();
    for (const { packet } of packets(10)) socket.send(packet, PEER);
    expect(kernel.sendCalls).toBe(0);
    socket.flush();
    expect(kernel.sendCalls).toBe(1);
    expect(numbers(kernel.outgoing)).toEqual(upTo(10));
    expect(kernel.outgoing[0]?.address).toEqual(PEER);
    expect(socket.stats()).toMatchObject({ sent: 10 });
  });

  test('copies the packet: the caller may use its buffer again', () => {
    const { kernel, socket } = setUp();
    const packet = Uint8Array.of(0, 5);
    socket.send(packet, PEER);
    packet.fill(255);
    socket.flush();
    expect(numbers(kernel.outgoing)).toEqual([5]);
  });

  test('sends a full batch without being told', () => {
    const { kernel, socket } = setUp();
    for (const { packet } of packets(SEND_BATCH)) socket.send(packet, PEER);
    expect(kernel.outgoing).toHaveLength(SEND_BATCH);
  });

  test('sends what nobody flushed when the event loop comes round', () => {
    const { kernel, socket, turn } = setUp();
    socket.send(Uint8Array.of(0, 1), PEER);
    turn();
    expect(kernel.outgoing).toHaveLength(1);
  });

  test('sends the answers of a batch after it', () => {
    const { kernel, socket, turn } = setUp({
      onDatagram: (packet, from) => socket.send(packet, from),
    });
    kernel.incoming.push(...packets(20));
    kernel.ready();
    turn();
    expect(numbers(kernel.outgoing)).toEqual(upTo(20));
    expect(kernel.sendCalls).toBe(1);
  });

  test('goes on after the kernel took a part', () => {
    const { kernel, socket } = setUp();
    kernel.refuse.push(4, 1);
    for (const [i, { packet }] of packets(10).entries()) socket.send(packet, peer(i));
    socket.flush();
    expect(numbers(kernel.outgoing)).toEqual(upTo(10));
    expect(kernel.sendCalls).toBe(3);
  });

  test('keeps what the kernel has no room for, waits for room and sends it in order', () => {
    const { kernel, socket, turn } = setUp();
    for (const [i, { packet }] of packets(10).entries()) socket.send(packet, peer(i));
    kernel.refuse.push(3, EAGAIN);
    socket.flush();
    expect(numbers(kernel.outgoing)).toEqual([0, 1, 2]);
    expect(kernel.watchesForRoom).toBe(true);
    kernel.refuse.push(EAGAIN);
    socket.flush();
    expect(kernel.watchCalls).toBe(1);
    kernel.ready();
    turn();
    expect(numbers(kernel.outgoing)).toEqual(upTo(10));
    expect({ room: kernel.watchesForRoom, calls: kernel.watchCalls }).toEqual({
      room: false,
      calls: 2,
    });
    expect(socket.stats()).toMatchObject({ sent: 10, sendErrors: 0, dropped: 0 });
  });

  test('refuses and counts datagrams beyond its limit, and recovers', () => {
    const { kernel, socket, turn } = setUp();
    kernel.refuse.push(EAGAIN);
    for (const { packet } of packets(SEND_SLOTS + 7)) socket.send(packet, PEER);
    expect(kernel.outgoing).toEqual([]);
    expect(socket.stats().dropped).toBe(7);
    turn();
    expect(numbers(kernel.outgoing)).toEqual(upTo(SEND_SLOTS));
    socket.send(Uint8Array.of(0, 42), PEER);
    socket.flush();
    expect(numbers(kernel.outgoing).at(-1)).toBe(42);
    expect(socket.stats()).toMatchObject({ sent: SEND_SLOTS + 1, dropped: 7 });
  });

  test('does not ask a kernel without room again for every datagram', () => {
    const { kernel, socket } = setUp();
    kernel.refuse.push(EAGAIN);
    for (const { packet } of packets(SEND_SLOTS)) socket.send(packet, PEER);
    expect(kernel.sendCalls).toBe(1);
  });

  test.each([
    ['ENETUNREACH', ENETUNREACH],
    ['ENOBUFS', ENOBUFS],
  ])('skips and counts the one datagram that %s is about', (_name, errno) => {
    const { kernel, socket } = setUp();
    kernel.refuse.push(2, errno);
    for (const [i, { packet }] of packets(5).entries()) socket.send(packet, peer(i));
    socket.flush();
    expect(numbers(kernel.outgoing)).toEqual([0, 1, 3, 4]);
    expect(socket.stats()).toMatchObject({ sent: 4, sendErrors: 1 });
  });

  describe('datagrams of one length to one address', () => {
    const part = (i: number, length = 300) => new Uint8Array(length).fill(i);

    test('are one run for the kernel, up to a shorter one', () => {
      const { kernel, socket } = setUp();
      const lengths = [300, 300, 300, 200, 300, 300, 400, 400];
      for (const [i, length] of lengths.entries()) socket.send(part(i, length), PEER);
      socket.flush();
      expect(kernel.outgoing.map(({ packet }) => packet)).toEqual(
        lengths.map((length, i) => part(i, length)),
      );
      expect(kernel.sendCalls).toBe(3);
      expect(socket.stats().sent).toBe(8);
    });

    test('stay in order with those to others', () => {
      const { kernel, socket } = setUp();
      const targets = [1, 1, 2, 2, 2, 1, 3, 1, 1].map(peer);
      for (const [i, to] of targets.entries()) socket.send(part(i), to);
      socket.flush();
      expect(kernel.outgoing).toEqual(targets.map((address, i) => ({ address, packet: part(i) })));
    });

    test('are at most as many as the kernel cuts apart, and as an IP packet holds', () => {
      const { kernel, socket } = setUp();
      for (let i = 0; i < 3 * SEND_BATCH; i++) socket.send(part(i, 1300), PEER);
      socket.flush();
      expect(kernel.outgoing.map(({ packet }) => packet[0])).toEqual(upTo(3 * SEND_BATCH));
      expect(kernel.sendCalls).toBeGreaterThan(3);
    });

    test('keep an empty one apart', () => {
      const { kernel, socket } = setUp();
      for (const length of [2, 2, 0, 0, 2]) socket.send(part(1, length), PEER);
      socket.flush();
      expect(kernel.outgoing.map(({ packet }) => packet.length)).toEqual([2, 2, 0, 0, 2]);
    });

    test.each([
      ['EIO, and no more runs after it', EIO, false],
      ['ENETUNREACH', ENETUNREACH, true],
    ])('go one by one after %s', (_name, errno, again) => {
      const { kernel, socket } = setUp();
      kernel.refuse.push(errno);
      for (let i = 0; i < 5; i++) socket.send(part(i), PEER);
      socket.flush();
      const sent = () => kernel.outgoing.map(({ packet, address }) => [packet[0], address.port]);
      expect(sent()).toEqual(upTo(5).map((i) => [i, PEER.port]));
      expect(socket.stats()).toMatchObject({ sent: 5, sendErrors: 0 });
      for (let i = 5; i < 8; i++) socket.send(part(i), PEER);
      kernel.refuse.push(1);
      socket.flush();
      // Of a run, one header is all; by themselves, two more follow it.
      expect(kernel.sendCalls).toBe(again ? 3 : 4);
      expect(sent()).toEqual(upTo(8).map((i) => [i, PEER.port]));
    });
  });

  test('asks again after a signal', () => {
    const { kernel, socket } = setUp();
    kernel.refuse.push(EINTR);
    socket.send(Uint8Array.of(0, 1), PEER);
    socket.flush();
    expect(socket.stats()).toMatchObject({ sent: 1, sendErrors: 0 });
  });

  test('sends a datagram that no slot holds by itself, behind what was queued', () => {
    const { kernel, socket } = setUp();
    socket.send(Uint8Array.of(0, 1), PEER);
    socket.send(new Uint8Array(SEND_SLOT_BYTES), PEER);
    socket.send(new Uint8Array(SEND_SLOT_BYTES + 1), PEER);
    socket.send(Uint8Array.of(0, 2), PEER);
    socket.flush();
    expect(kernel.outgoing.map(({ packet }) => packet.length)).toEqual([
      2,
      SEND_SLOT_BYTES,
      SEND_SLOT_BYTES + 1,
      2,
    ]);
    expect(socket.stats().sent).toBe(4);
  });

  test('drops a long datagram that cannot leave now, and counts one that never can', () => {
    const { kernel, socket } = setUp();
    const long = new Uint8Array(60_000);
    kernel.refuse.push(EAGAIN, ENETUNREACH);
    socket.send(long, PEER);
    socket.send(long, PEER);
    expect(socket.stats()).toMatchObject({ sent: 0, dropped: 1, sendErrors: 1 });
  });

  test('counts an address of the other family', () => {
    const { kernel, socket } = setUp();
    socket.send(Uint8Array.of(1), { ip: new Uint8Array(16), port: 4222 });
    socket.flush();
    expect(kernel.outgoing).toEqual([]);
    expect(socket.stats().sendErrors).toBe(1);
  });
});

describe('closing', () => {
  test('sends what is queued, closes once, and is silent afterwards', async () => {
    const { kernel, socket, deferred, turn } = setUp();
    socket.send(Uint8Array.of(0, 1), PEER);
    await socket.close();
    await socket.close();
    expect(numbers(kernel.outgoing)).toEqual([1]);
    socket.send(Uint8Array.of(0, 2), PEER);
    socket.flush();
    turn();
    kernel.ready();
    expect(deferred).toEqual([]);
    expect(kernel.outgoing).toHaveLength(1);
    expect(kernel.receiveCalls).toBe(0);
    expect(socket.stats().dropped).toBe(1);
  });
});
