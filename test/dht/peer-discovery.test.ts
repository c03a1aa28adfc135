import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Address } from '../../agent/base/address.ts';
import { fromHex, toHex, utf8 } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { LIMITS } from '../../agent/dht/limits.ts';
import { MsgpackWriter } from '../../agent/dht/msgpack-writer.ts';
import {
  DISCOVERY_GROUP,
  decodeDiscovery,
  encodeAnnouncement,
  encodeDiscoveryQuery,
  PeerDiscovery,
  type PeerDiscoveryOptions,
  type PeerFound,
} from '../../agent/dht/peer-discovery.ts';
import { addressOf, hash, Lab } from './lab.ts';

/** Sent by dhtnode 2.4.12 with `-D -n 7 -p 47210`, sniffed on a veth pair. */
const CAPTURED = {
  query: 'a171',
  announcement: '81a364687493c414d2df786a4e1d072a515da8114f6a2839fcd16441cdb86a07',
  id: 'd2df786a4e1d072a515da8114f6a2839fcd16441',
  port: 47210,
  network: 7,
};

const OWN = hash(0xee);
const PEER = { id: hash(0x22), port: 4222, network: 0 };

/** An engine on a bench; what it sends is kept with its time. */
class Bench {
  readonly engine: PeerDiscovery;
  readonly sent: { readonly at: number; readonly to: Address; readonly packet: Uint8Array }[] = [];
  readonly found: PeerFound[] = [];
  now = 1000;

  constructor(options: Partial<PeerDiscoveryOptions> = {}) {
    const own = { id: OWN, network: 0, ports: new Map([[4, 5000]] as const), announces: true };
    this.engine = new PeerDiscovery({ ...own, ...options }, this.now);
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (let next = this.engine.nextTimeout(); next <= end; next = this.engine.nextTimeout()) {
      this.now = Math.max(this.now, next);
      this.engine.timeout(this.now);
      this.drain();
    }
    this.now = end;
  }

  receive(packet: Uint8Array, from = addressOf(1)): void {
    this.engine.receive(packet, from, this.now);
    this.drain();
  }

  drain(): void {
    for (let output = this.engine.poll(); output !== undefined; output = this.engine.poll()) {
      if (output.type === 'event') this.found.push(output.event);
      else this.sent.push({ at: this.now, to: output.to, packet: output.packet });
    }
  }

  /** Moments of the rounds, in seconds after the start. */
  get rounds(): number[] {
    const queries = this.sent.filter(({ packet }) => decodeDiscovery(packet).type === 'query');
    return queries.map(({ at }) => (at - 1000) / 1000);
  }
}

describe('on the wire', () => {
  test('as dhtnode sends it', () => {
    const { id, port, network } = CAPTURED;
    expect(decodeDiscovery(fromHex(CAPTURED.query))).toEqual({ type: 'query' });
    expect(toHex(encodeDiscoveryQuery())).toBe(CAPTURED.query);
    const node = { id: InfoHash.fromHex(id), port, network };
    expect(decodeDiscovery(fromHex(CAPTURED.announcement))).toEqual({ type: 'announcement', node });
    expect(toHex(encodeAnnouncement(node))).toBe(CAPTURED.announcement);
  });

  test('what is announced is what is heard', () => {
    const node = fc.record({
      id: fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes) => new InfoHash(bytes)),
      port: fc.nat({ max: 0xffff }),
      network: fc.nat({ max: 0xffff_ffff }),
    });
    fc.assert(
      fc.property(node, (announced) => {
        const heard = decodeDiscovery(encodeAnnouncement(announced));
        expect(heard).toEqual({ type: 'announcement', node: announced });
      }),
    );
  });

  test('other services of the map are stepped over, before and after', () => {
    const packet = new MsgpackWriter()
      .map(3)
      .str('jami')
      .array(1)
      .map(1)
      .str('dht')
      .int(1)
      .raw(encodeAnnouncement(PEER).subarray(1))
      .str('zz')
      .bin(new Uint8Array(9))
      .finish();
    expect(decodeDiscovery(packet)).toEqual({ type: 'announcement', node: PEER });
    expect(decodeDiscovery(new MsgpackWriter().map(0).finish())).toEqual({
      type: 'announcement',
      node: undefined,
    });
  });

  test('whatever the bytes: a message or a DecodeError', () => {
    const model = encodeAnnouncement(PEER);
    const mutated = fc.tuple(fc.nat(), fc.nat({ max: 255 })).map(([at, byte]) => {
      const bytes = model.slice();
      bytes[at % bytes.length] = byte;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), mutated), (bytes) => {
        try {
          decodeDiscovery(bytes);
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error;
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('when it speaks', () => {
  test('at the start it asks and announces, in each family its own port', () => {
    const ports = new Map([
      [4, 5000],
      [6, 5001],
    ] as const);
    const bench = new Bench({ ports });
    bench.run(0);
    expect(bench.sent.map(({ to }) => to)).toEqual([
      DISCOVERY_GROUP[4],
      DISCOVERY_GROUP[4],
      DISCOVERY_GROUP[6],
      DISCOVERY_GROUP[6],
    ]);
    expect(bench.sent.map(({ packet }) => decodeDiscovery(packet))).toEqual([
      { type: 'query' },
      { type: 'announcement', node: { id: OWN, port: 5000, network: 0 } },
      { type: 'query' },
      { type: 'announcement', node: { id: OWN, port: 5001, network: 0 } },
    ]);
  });

  test('alone, again after 10, 20, 40 s and then every minute', () => {
    const bench = new Bench();
    bench.run(300_000);
    expect(bench.rounds).toEqual([0, 10, 30, 70, 130, 190, 250]);
  });

  test('connected, never; disconnected again, at once and from 10 s on', () => {
    const bench = new Bench();
    bench.run(75_000);
    bench.engine.setConnected(true, bench.now);
    expect(bench.engine.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
    bench.run(600_000);
    bench.engine.setConnected(false, bench.now);
    bench.run(35_000);
    expect(bench.rounds).toEqual([0, 10, 30, 70, 675, 685, 705]);
  });

  test('a line that comes and goes does not make it chatter', () => {
    const bench = new Bench();
    for (let i = 0; i < 60; i++) {
      bench.engine.setConnected(i % 2 === 0, bench.now);
      bench.run(1000);
    }
    expect(bench.rounds.length).toBeLessThanOrEqual(7);
  });

  test('connected before its first round, it makes that one round', () => {
    const bench = new Bench();
    bench.engine.setConnected(true, bench.now);
    bench.run(100_000);
    expect(bench.rounds).toEqual([0]);
  });

  test('a node that does not announce itself asks only', () => {
    const bench = new Bench({ announces: false });
    bench.run(0);
    bench.receive(encodeDiscoveryQuery());
    expect(bench.sent.map(({ packet }) => decodeDiscovery(packet).type)).toEqual(['query']);
  });
});

describe('what it hears', () => {
  test('a query is answered to the one who asked', () => {
    const bench = new Bench();
    bench.receive(encodeDiscoveryQuery(), addressOf(9));
    expect(bench.sent).toMatchObject([{ to: addressOf(9) }]);
  });

  test('an announced node is at the IP of the sender, at the port it announced', () => {
    const bench = new Bench();
    bench.receive(encodeAnnouncement({ ...PEER, port: 777 }), { ip: addressOf(3).ip, port: 8888 });
    expect(bench.found).toEqual([{ id: PEER.id, address: { ip: addressOf(3).ip, port: 777 } }]);
  });

  test('nodes of other networks, ourselves, and other services are nobody', () => {
    const bench = new Bench();
    bench.receive(encodeAnnouncement({ ...PEER, network: 1 }));
    bench.receive(encodeAnnouncement({ ...PEER, id: OWN }));
    bench.receive(new MsgpackWriter().map(1).str('jami').int(1).finish());
    expect(bench.found).toEqual([]);
    expect(bench.engine.stats()).toMatchObject({ foreign: 2, malformed: 0 });
  });

  test('hostile bytes are counted and dropped', () => {
    const bench = new Bench();
    const big = new Uint8Array(LIMITS.discoveryBytes + 1);
    const linkLocal = Uint8Array.of(0xfe, 0x80, ...new Array(14).fill(1));
    const bad = [utf8('hello'), fromHex('a172'), fromHex('81a3646874'), new Uint8Array(0), big];
    for (const [i, packet] of bad.entries()) bench.receive(packet, addressOf(i));
    bench.receive(encodeDiscoveryQuery(), { ip: linkLocal, port: 8888 });
    expect(bench.engine.stats().malformed).toBe(bad.length + 1);
    expect([...bench.sent, ...bench.found]).toEqual([]);
  });

  test('a flood is answered at the rate of its source, and of all', () => {
    const one = new Bench();
    for (let i = 0; i < 1000; i++) one.receive(encodeDiscoveryQuery());
    expect(one.sent).toHaveLength(LIMITS.discoveryPerSource);
    expect(one.engine.stats().rateLimited).toBe(1000 - LIMITS.discoveryPerSource);
    const many = new Bench();
    for (let i = 0; i < 1000; i++) {
      const forged = { id: InfoHash.of(`${i}`), port: 4222, network: 0 };
      many.receive(encodeAnnouncement(forged), addressOf(i));
    }
    expect(many.found).toHaveLength(LIMITS.discoveryTotal);
  });
});

describe('the node', () => {
  test('takes who was found for known and asks, but does not give it out before it answers', () => {
    const lab = new Lab();
    lab.turn((dht, now) => dht.insertNode(hash(0x22), addressOf(2), now));
    expect(lab.take()).toMatchObject([{ to: addressOf(2), message: { type: 'find' } }]);
    expect(lab.dht.state(lab.now)).toMatchObject({ state: 'connecting', peers4: 0 });
    expect(lab.reply({ type: 'find', target: hash(0x22) }).nodes4).toBeUndefined();
  });

  test('passes over itself and addresses that nobody has', () => {
    const lab = new Lab();
    lab.turn((dht, now) => {
      dht.insertNode(dht.id, addressOf(2), now);
      dht.insertNode(hash(0), addressOf(2), now);
      dht.insertNode(hash(3), { ip: addressOf(2).ip, port: 0 }, now);
      dht.insertNode(hash(4), { ip: new Uint8Array(16).fill(0x20), port: 1 }, now);
    });
    expect(lab.take()).toEqual([]);
    expect(lab.dht.state(lab.now).state).toBe('disconnected');
  });
});
