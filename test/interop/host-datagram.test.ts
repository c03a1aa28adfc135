import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { type Address, parseIp } from '../../agent/base/address.ts';
import {
  type DatagramSocket,
  type DatagramSocketOptions,
  openDatagramSocket,
} from '../../agent/dht/datagram-socket.ts';
import { openBatchSocket } from '../../agent/dht/udp-batch.ts';
import { openDgramSocket } from '../../agent/dht/udp-dgram.ts';

/** The contract of DatagramSocket, against both of its drivers, on loopback. */

const IPV4 = parseIp('127.0.0.1') as Uint8Array;
const IPV6 = parseIp('::1') as Uint8Array;
const PORT = 46_600;

type Open = (options: DatagramSocketOptions) => DatagramSocket | Promise<DatagramSocket>;
const DRIVERS: readonly (readonly [string, Open])[] = [
  ['batch', openBatchSocket],
  ['dgram', openDgramSocket],
];

const ignore = { onDatagram: () => {}, onBatchEnd: () => {} };
const open: DatagramSocket[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((socket) => socket.close()));
});

interface Heard {
  readonly packet: Uint8Array;
  readonly from: Address;
}

/** A socket that keeps copies of what it hears; `until` waits for a number of datagrams. */
async function listen(driver: Open, ip: Uint8Array, port = 0) {
  const heard: Heard[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  let batches = 0;
  const socket = await driver({
    ip,
    port,
    onDatagram: (packet, from) => heard.push({ packet: packet.slice(), from }),
    onBatchEnd: () => {
      batches++;
      for (const wait of waiting) if (heard.length >= wait.count) wait.resolve();
    },
  });
  open.push(socket);
  return {
    socket,
    heard,
    batches: () => batches,
    address: { ip, port: socket.port },
    until: (count: number) =>
      new Promise<void>((resolve) => {
        if (heard.length >= count) resolve();
        else waiting.push({ count, resolve });
      }),
  };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const numbered = (n: number, length = 4) => {
  const packet = new Uint8Array(length);
  new DataView(packet.buffer).setUint32(0, n);
  return packet;
};
const numberOf = (packet: Uint8Array) =>
  new DataView(packet.buffer, packet.byteOffset, packet.byteLength).getUint32(0);
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const openDescriptors = () => readdirSync('/proc/self/fd').length;

describe.each(DRIVERS)('%s socket', (backend, driver) => {
  describe.each([
    ['IPv4', IPV4],
    ['IPv6', IPV6],
  ])('%s', (_family, ip) => {
    test('carries datagrams of every length that UDP allows, unchanged, with their source', async () => {
      const a = await listen(driver, ip);
      const b = await listen(driver, ip);
      expect(a.socket.backend).toBe(backend);
      const lengths = [0, 1, 512, 1305, 2048, 2049, 9000, 65_000, 65_507];
      for (const length of lengths) {
        const packet = Uint8Array.from({ length }, (_, i) => (i * 31 + length) & 255);
        a.socket.send(packet, b.address);
        a.socket.flush();
        packet.fill(0);
        await b.until(lengths.indexOf(length) + 1);
        const got = b.heard.at(-1);
        expect(got?.packet.length).toBe(length);
        expect(got?.packet.every((byte, i) => byte === ((i * 31 + length) & 255))).toBe(true);
        expect(got?.from).toEqual(a.address);
      }
      expect(b.socket.stats()).toMatchObject({ received: lengths.length, truncated: 0 });
    });

    test('carries a run of one length, whose last is shorter, as the datagrams they are', async () => {
      const a = await listen(driver, ip);
      const b = await listen(driver, ip);
      const lengths = [...Array(60).fill(1305), 700, 1305, 1305, 0, ...Array(30).fill(40)];
      for (const [i, length] of lengths.entries())
        a.socket.send(new Uint8Array(length).fill(i), b.address);
      a.socket.flush();
      await b.until(lengths.length);
      const heard = b.heard.map(({ packet }) => [packet.length, packet[0], packet.at(-1)]);
      expect(heard).toEqual(
        lengths.map((length, i) => [length, ...(length === 0 ? [undefined, undefined] : [i, i])]),
      );
      expect(a.socket.stats()).toMatchObject({ sent: lengths.length, sendErrors: 0 });
    });

    test('answers from inside the callback', async () => {
      const server = await driver({
        ip,
        port: 0,
        onDatagram: (packet, from) => server.send(packet, from),
        onBatchEnd: () => {},
      });
      open.push(server);
      const client = await listen(driver, ip);
      for (let i = 0; i < 100; i++) {
        client.socket.send(numbered(i), { ip, port: server.port });
      }
      await client.until(100);
      expect(client.heard.map(({ packet }) => numberOf(packet))).toEqual([...Array(100).keys()]);
      expect(server.stats()).toMatchObject({ received: 100, sent: 100, dropped: 0 });
    });
  });

  test('sends what was queued at the latest when the event loop comes round', async () => {
    const a = await listen(driver, IPV4);
    const b = await listen(driver, IPV4);
    a.socket.send(numbered(1), b.address);
    await b.until(1);
    expect(b.heard.map(({ packet }) => numberOf(packet))).toEqual([1]);
  });

  test('keeps the order of each sender over a burst of 10,000 and ends every batch', async () => {
    const a = await listen(driver, IPV4);
    const b = await listen(driver, IPV4);
    const burst = 10_000;
    for (let i = 0; i < burst; ) {
      // As fast as the other end reads: the kernel's receive queue is what would lose them, not the driver.
      for (const end = Math.min(i + 100, burst); i < end; i++) {
        a.socket.send(numbered(i, 300), b.address);
      }
      a.socket.flush();
      await b.until(i);
    }
    expect(b.heard.map(({ packet }) => numberOf(packet))).toEqual([...Array(burst).keys()]);
    expect(a.socket.stats()).toEqual({
      received: 0,
      sent: burst,
      sendErrors: 0,
      truncated: 0,
      dropped: 0,
    });
    expect(b.batches()).toBeGreaterThan(0);
    expect(b.batches()).toBeLessThan(burst / 4);
  });

  test('lives through 10,000 datagrams at once: counts what it heard, in order, and works on', async () => {
    const a = await listen(driver, IPV4);
    const b = await listen(driver, IPV4);
    for (let i = 0; i < 10_000; i++) a.socket.send(numbered(i), b.address);
    a.socket.flush();
    let seen = -1;
    while (b.heard.length !== seen) {
      seen = b.heard.length;
      for (let i = 0; i < 20; i++) await turn();
    }
    const numbers = b.heard.map(({ packet }) => numberOf(packet));
    expect(numbers.length).toBeGreaterThan(200);
    expect(numbers).toEqual([...numbers].sort((x, y) => x - y));
    expect(new Set(numbers).size).toBe(numbers.length);
    const { sent, dropped, sendErrors } = a.socket.stats();
    expect({ handled: sent + dropped, sendErrors }).toEqual({ handled: 10_000, sendErrors: 0 });
    a.socket.send(numbered(99_999), b.address);
    await b.until(seen + 1);
    expect(b.socket.stats().received).toBe(seen + 1);
  });

  test('lets the event loop run during a flood', async () => {
    let turns = 0;
    let answered = 0;
    const target = 20_000;
    let done = () => {};
    const finished = new Promise<void>((resolve) => {
      done = resolve;
    });
    const b = await driver({
      ip: IPV4,
      port: 0,
      onDatagram: (packet, from) => b.send(packet, from),
      onBatchEnd: () => {},
    });
    const a: DatagramSocket = await driver({
      ip: IPV4,
      port: 0,
      onDatagram: (packet, from) => {
        if (++answered === target) done();
        else a.send(packet, from);
      },
      onBatchEnd: () => {},
    });
    open.push(a, b);
    const count = () => {
      turns++;
      if (answered < target) setImmediate(count);
    };
    setImmediate(count);
    for (let i = 0; i < 150; i++) a.send(numbered(i), { ip: IPV4, port: b.port });
    await finished;
    // 256 per turn and side at most; dgram has libuv's own bound of 32 reads.
    expect(turns).toBeGreaterThanOrEqual(target / 256);
  });

  test('gives the same object for a source that it knows', async () => {
    const a = await listen(driver, IPV4);
    const b = await listen(driver, IPV4);
    a.socket.send(numbered(1), b.address);
    await b.until(1);
    a.socket.send(numbered(2), b.address);
    await b.until(2);
    expect(b.heard[0]?.from).toBe(b.heard[1]?.from);
  });

  test('counts what cannot be sent and sends the rest', async () => {
    const a = await listen(driver, IPV4);
    const b = await listen(driver, IPV4);
    a.socket.send(numbered(1), { ip: IPV6, port: b.socket.port });
    a.socket.send(numbered(2), { ip: IPV4, port: 0 });
    a.socket.send(new Uint8Array(65_508), b.address);
    a.socket.send(numbered(3), { ip: Uint8Array.of(255, 255, 255, 255), port: 9 });
    a.socket.send(numbered(4), b.address);
    await b.until(1);
    expect(numberOf(b.heard[0]?.packet as Uint8Array)).toBe(4);
    await turn();
    expect(a.socket.stats()).toMatchObject({ sent: 1, sendErrors: 4, dropped: 0 });
  });

  test('names the port that is taken', async () => {
    const first = await listen(driver, IPV4, PORT);
    expect(first.socket.port).toBe(PORT);
    await expect(listen(driver, IPV4, PORT)).rejects.toMatchObject({
      name: 'AgentError',
      code: 'port-in-use',
      message: `UDP 127.0.0.1:${PORT} is in use by another program`,
    });
    await first.socket.close();
    expect((await listen(driver, IPV4, PORT)).socket.port).toBe(PORT);
  });

  test('names an address that this machine does not have', async () => {
    const ip = parseIp('192.0.2.1') as Uint8Array;
    await expect(listen(driver, ip, PORT)).rejects.toMatchObject({
      code: 'bind-failed',
      message: `UDP 192.0.2.1:${PORT} cannot be opened: this machine does not have that address`,
    });
  });

  test('lets IPv4 and IPv6 have the same port', async () => {
    const a = await listen(driver, parseIp('0.0.0.0') as Uint8Array, PORT + 1);
    const b = await listen(driver, parseIp('::') as Uint8Array, PORT + 1);
    expect([a.socket.port, b.socket.port]).toEqual([PORT + 1, PORT + 1]);
  });

  test('closes within 100 ms when idle, and is quiet afterwards', async () => {
    const a = await listen(driver, IPV4);
    const b = await listen(driver, IPV4);
    await turn();
    const before = performance.now();
    await b.socket.close();
    await b.socket.close();
    expect(performance.now() - before).toBeLessThan(100);
    b.socket.send(numbered(1), a.address);
    b.socket.flush();
    for (let i = 0; i < 5; i++) await turn();
    expect(a.heard).toEqual([]);
    expect(b.socket.stats()).toMatchObject({ sent: 0, dropped: 1 });
  });

  test('sends what is queued before it closes', async () => {
    const a = await listen(driver, IPV4);
    const b = await listen(driver, IPV4);
    for (let i = 0; i < 10; i++) a.socket.send(numbered(i), b.address);
    await a.socket.close();
    await b.until(10);
    expect(b.heard).toHaveLength(10);
  });

  test('may be closed from inside the callback, with datagrams still waiting', async () => {
    let heard = 0;
    let ends = 0;
    let closed: Promise<void> | undefined;
    const b: DatagramSocket = await driver({
      ip: IPV4,
      port: 0,
      onDatagram: () => {
        heard++;
        if (heard === 10) closed = b.close();
      },
      onBatchEnd: () => {
        if (heard >= 10) ends++;
      },
    });
    const a = await listen(driver, IPV4);
    for (let i = 0; i < 200; i++) a.socket.send(numbered(i), { ip: IPV4, port: b.port });
    a.socket.flush();
    for (let i = 0; i < 20; i++) await turn();
    await closed;
    expect({ heard, ends }).toEqual({ heard: 10, ends: 0 });
  });

  test('closes within 100 ms under traffic', async () => {
    const b = await listen(driver, IPV4);
    const a = await listen(driver, IPV4);
    const to = b.address;
    let running = true;
    const flood = () => {
      for (let i = 0; i < 100; i++) a.socket.send(numbered(i), to);
      if (running) setImmediate(flood);
    };
    flood();
    await b.until(1000);
    const before = performance.now();
    await b.socket.close();
    const tookMs = performance.now() - before;
    running = false;
    const heard = b.heard.length;
    for (let i = 0; i < 5; i++) await turn();
    expect(tookMs).toBeLessThan(100);
    expect(b.heard.length).toBe(heard);
  });

  test('opens and closes 1000 times without keeping a descriptor or memory', async () => {
    const cycle = async () => {
      const socket = await driver({ ip: IPV4, port: 0, ...ignore });
      socket.send(numbered(1), { ip: IPV4, port: socket.port });
      await socket.close();
    };
    for (let i = 0; i < 10; i++) await cycle();
    await turn();
    collectGarbage();
    const before = { descriptors: openDescriptors(), bytes: process.memoryUsage().arrayBuffers };
    for (let i = 0; i < 1000; i++) await cycle();
    await turn();
    expect(openDescriptors()).toBe(before.descriptors);
    // One socket has 5 MB of buffers: a handful may still wait for their finalizer, a thousand may not.
    await expect
      .poll(() => {
        collectGarbage();
        return process.memoryUsage().arrayBuffers - before.bytes;
      })
      .toBeLessThan(32 * 1024 ** 2);
  });
});

test('prefers the batched driver where koffi is there', async () => {
  const socket = await openDatagramSocket({ ip: IPV4, port: 0, ...ignore });
  open.push(socket);
  expect(socket.backend).toBe('batch');
});

test('takes node:dgram in a worker thread, which the batched driver could bring down', async () => {
  const module = join(import.meta.dirname, '../../agent/dht/datagram-socket.ts');
  const worker = new Worker(
    `import('tsx/esm/api').then(async ({ register }) => {
      register();
      const { openDatagramSocket } = await import(${JSON.stringify(module)});
      const options = { ip: Uint8Array.of(127, 0, 0, 1), port: 0, onDatagram() {}, onBatchEnd() {} };
      const socket = await openDatagramSocket(options);
      require('node:worker_threads').parentPort.postMessage(socket.backend);
    });`,
    { eval: true, execArgv: [] },
  );
  const [backend] = await once(worker, 'message');
  expect(backend).toBe('dgram');
  // With the socket still open: the process that runs this test lives on.
  await worker.terminate();
});
