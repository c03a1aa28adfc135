import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Address, sameAddress } from '../../agent/base/address.ts';
import { toHex } from '../../agent/base/bytes.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { LIMITS, PROTOCOL } from '../../agent/dht/limits.ts';
import type { QueryMessage } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { QueryScan } from '../../agent/dht/query-scan.ts';
import { seededRandom } from '../sim/seeded.ts';
import { plainValue } from '../sim/world.ts';
import { hash, Lab } from './lab.ts';

/** The short way gives, byte for byte, the answers of the long way. */

const random = seededRandom(77);
const randomHash = () => new InfoHash(random.bytes(20));

interface Peer {
  readonly id: InfoHash;
  readonly address: Address;
}

const peerAt = (family: 4 | 6, i: number): Peer => {
  const ip = new Uint8Array(family === 4 ? 4 : 16).fill(0x20);
  ip[2] = i;
  ip[ip.length - 1] = i + 1;
  return { id: randomHash(), address: { ip, port: 4000 + i } };
};

const ask = (lab: Lab, packet: Uint8Array, from: Address) => {
  lab.take();
  lab.receive(packet, from);
  return lab.take().map((sent) => toHex(sent.packet));
};

type Asked = Partial<QueryMessage> & { type: string; id: InfoHash };
const query = (message: Asked) =>
  encodeMessage({ tid: 7, version: 'o2', ...message } as QueryMessage);

/** The same with an entry that nobody knows: ignored by the decoder, and too much for the short way. */
function longWay(packet: Uint8Array): Uint8Array {
  const longer = new Uint8Array(packet.length + 3);
  longer.set(packet);
  longer[0] = (packet[0] as number) + 1;
  longer.set([0xa1, 0x7a, 0x01], packet.length);
  return longer;
}

/** A node that knows 40 peers of each family, who answer its questions. */
function populated(families: readonly (4 | 6)[]): { lab: Lab; peers: Peer[] } {
  const lab = new Lab({ families });
  const peers = families.flatMap((family) =>
    Array.from({ length: 40 }, (_, i) => peerAt(family, i)),
  );
  for (const { id, address } of peers) {
    lab.receive(query({ type: 'ping', id }), address);
    for (const { message, to } of lab.take()) {
      if (message.type !== 'find' || !sameAddress(to, address)) continue;
      const reply = { type: 'reply', tid: message.tid, id, token: new Uint8Array(16) } as const;
      lab.receive(encodeMessage(reply), to);
    }
  }
  return { lab, peers };
}

const { lab, peers } = populated([4, 6]);
const fast = () => lab.dht.stats().answeredFast;

/** Time passes, so that the rate limit has room, and everybody is heard of again. */
function wake(): void {
  lab.run(1000);
  for (const { id, address } of peers) ask(lab, longWay(query({ type: 'ping', id })), address);
}

describe('a plain query gets the same answer', () => {
  const kinds = {
    ping: () => ({ type: 'ping' }),
    find: () => ({ type: 'find', target: randomHash() }),
    'find next to us': () => {
      const bytes = lab.dht.id.bytes.slice();
      bytes[19] = random.uint32();
      return { type: 'find', target: new InfoHash(bytes) };
    },
    get: () => ({ type: 'get', key: randomHash() }),
    'get of ids': () => ({
      type: 'get',
      key: randomHash(),
      query: { select: ['id', 'seq'], where: [] },
    }),
  } as const;
  for (const [name, kind] of Object.entries(kinds)) {
    test.each([0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1])(`${name}, tid %i`, (tid) => {
      wake();
      for (const { id, address } of peers) {
        for (const version of ['RNG1', undefined]) {
          const packet = query({ ...kind(), id, tid, version } as Asked);
          const before = fast();
          const short = ask(lab, packet, address);
          expect(fast()).toBe(before + 1);
          expect(short.length).toBe(1);
          expect(ask(lab, longWay(packet), address)).toEqual(short);
          expect(fast()).toBe(before + 1);
        }
      }
    });
  }

  test('and counts the same', () => {
    const [peer] = peers as [Peer];
    const counters = () => {
      const { rpc, server } = lab.dht.stats();
      const { pings, finds, gets } = server;
      return [rpc.received, rpc.sent, pings, finds, gets];
    };
    const difference = (packet: Uint8Array) => {
      const before = counters();
      ask(lab, packet, peer.address);
      return counters().map((count, i) => count - (before[i] as number));
    };
    for (const kind of Object.values(kinds)) {
      const packet = query({ ...kind(), id: peer.id } as Asked);
      expect(difference(packet)).toEqual(difference(longWay(packet)));
    }
  });
});

describe('the long way is taken', () => {
  beforeEach(wake);
  const [peer, other] = peers as [Peer, Peer];
  const isFast = (packet: Uint8Array, from: Address, at = lab) => {
    const before = at.dht.stats().answeredFast;
    const answers = ask(at, packet, from).length;
    return { fast: at.dht.stats().answeredFast > before, answers };
  };

  test('for a key with something under it', () => {
    const key = randomHash();
    const packet = query({ type: 'get', id: peer.id, key });
    expect(isFast(packet, peer.address)).toEqual({ fast: true, answers: 1 });
    lab.turn((dht, now) => dht.put(key, plainValue(1n, 'here'), true, now));
    expect(isFast(packet, peer.address)).toEqual({ fast: false, answers: 1 });
    lab.turn((dht, now) => dht.cancelPut(key, 1n, now));
    lab.run(11 * 60_000);
    wake();
    expect(isFast(packet, peer.address)).toEqual({ fast: true, answers: 1 });
  });

  test('for an id that has its place at another address', () => {
    const packet = query({ type: 'ping', id: peer.id });
    expect(isFast(packet, other.address).fast).toBe(false);
  });

  test('for a stranger, once', () => {
    const stranger = peerAt(4, 99);
    const packet = query({ type: 'ping', id: stranger.id });
    expect(isFast(packet, stranger.address).fast).toBe(false);
    expect(isFast(packet, stranger.address).fast).toBe(true);
  });

  test('from time to time for a node without a place, so that it gets one when there is one', () => {
    const many = populated([4]);
    const crowd = Array.from({ length: 60 }, (_, i) => peerAt(4, 100 + i));
    for (const { id, address } of crowd) many.lab.receive(query({ type: 'ping', id }), address);
    const fastOnes = () =>
      crowd.filter(
        ({ id, address }) => isFast(query({ type: 'ping', id }), address, many.lab).fast,
      );
    expect(fastOnes().length).toBe(60);
    many.lab.run(LIMITS.offerPauseMs + 1);
    expect(fastOnes().length).toBeLessThan(60);
  });

  test('for other forms of a query', () => {
    const { id, address } = peer;
    const forms = {
      'a filter': query({
        type: 'get',
        id,
        key: hash(5),
        query: { select: [], where: [{ field: 'type', value: 3 }] },
      }),
      'wanted families': query({ type: 'find', id, target: hash(5), want: [2] }),
      'a client': query({ type: 'ping', id, client: true }),
      'another network': query({ type: 'ping', id, network: 5 }),
      'no key': query({ type: 'get', id, key: undefined }),
    };
    for (const packet of Object.values(forms)) expect(isFast(packet, address).fast).toBe(false);
  });
});

test('both ways share one rate limit', () => {
  const [peer] = peers as [Peer];
  lab.run(2000);
  const packet = query({ type: 'ping', id: peer.id });
  let answers = 0;
  for (let i = 0; i < 2 * PROTOCOL.requestsPerSource; i++)
    answers += ask(lab, i % 2 === 0 ? packet : longWay(packet), peer.address).length;
  expect(answers).toBe(PROTOCOL.requestsPerSource);
  expect(lab.dht.stats().rpc.rateLimited).toBe(PROTOCOL.requestsPerSource);
});

test('an answer that was not fetched is not overwritten by the next', () => {
  lab.run(2000);
  const [one, two] = peers as [Peer, Peer];
  lab.take();
  lab.dht.receive(query({ type: 'ping', id: one.id, tid: 1 }), one.address, lab.now);
  lab.dht.receive(query({ type: 'ping', id: two.id, tid: 2 }), two.address, lab.now);
  lab.turn(() => {});
  const sent = lab.take().map(({ message, to }) => [message.tid, to.port]);
  expect(sent.sort()).toEqual([
    [1, one.address.port],
    [2, two.address.port],
  ]);
});

test('the scan says what the decoder says, or nothing', () => {
  const models = [
    query({ type: 'ping', id: hash(1), tid: 300 }),
    query({ type: 'find', id: hash(1), target: hash(2), tid: 70_000 }),
    query({ type: 'get', id: hash(1), key: hash(2), version: undefined }),
    query({ type: 'get', id: hash(1), key: hash(2), query: { select: ['id'], where: [] } }),
  ] as const;
  const scan = new QueryScan();
  let plain = 0;
  const change = fc.record({ at: fc.nat({ max: 120 }), byte: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(
      fc.constantFrom(...models),
      fc.array(change, { maxLength: 3 }),
      fc.nat({ max: 120 }),
      (model, changes, cut) => {
        const packet = model.slice(0, Math.max(1, model.length - (cut % 8 === 0 ? cut : 0)));
        for (const { at, byte } of changes) packet[at % packet.length] = byte;
        if (!scan.read(packet)) return;
        plain++;
        const message = decodeMessage(packet);
        const at = (offset: number) => new InfoHash(packet.slice(offset, offset + 20));
        expect(message).toMatchObject({ type: scan.method, tid: scan.tid, client: false });
        expect('id' in message && message.id).toEqual(at(scan.idAt));
        if (message.type === 'find') expect(message.target).toEqual(at(scan.targetAt));
        if (message.type === 'get') expect(message.key).toEqual(at(scan.targetAt));
      },
    ),
    { numRuns: 3000 },
  );
  expect(plain).toBeGreaterThan(500);
});
