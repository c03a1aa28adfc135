import type { Address } from '../../agent/base/address.ts';
import type { Random } from '../../agent/base/random.ts';
import { compactNode, familyOf, type ListedNode } from '../../agent/dht/addresses.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Message, PartPiece, WireValue } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import type { Field, Filter, Query, Value } from '../../agent/dht/value.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { datagramsOf, loadCases } from '../dht/vectors.ts';

/** Everything recorded from real nodes, the deliberately odd ones included. */
export const RECORDED_DATAGRAMS: readonly Uint8Array[] = ['rpc', 'errors', 'edge_cases'].flatMap(
  (name) => loadCases(`${name}.json`).flatMap(datagramsOf),
);

export interface HostileDatagram {
  readonly packet: Uint8Array;
  readonly from: Address;
}

interface Peer {
  readonly address: Address;
  readonly id: InfoHash;
  /** The last one that the engine gave it. */
  token: Uint8Array | undefined;
}

interface Asked {
  readonly peer: Peer;
  readonly tid: number;
  readonly sid: number;
}

/** A value whose size was announced and whose parts are on their way. */
interface Announced {
  readonly peer: Peer;
  readonly tid: number;
  readonly packed: Uint8Array;
  offset: number;
}

const PEERS = 1500;
const KEYS = 64;
/** Of questions of the engine and of values under way: the oldest are forgotten. */
const REMEMBERED = 256;
const NOISE_BYTES = 1 << 17;

/**
 * A crowd of peers that mean harm, the same for the same `random`: noise, recorded datagrams with damage, nested and
 * endless msgpack, and messages in perfect form that lie about ids, tokens, keys, sizes, sids, parts and nodes. They answer
 * what the engine asks them, and use the tokens that it gave them, so that they get to its deepest places too.
 */
export class HostilePeers {
  readonly #random: Random;
  readonly #self: InfoHash;
  readonly #noise: Uint8Array;
  readonly #peers: readonly Peer[];
  readonly #byAddress = new Map<string, Peer>();
  readonly #keys: readonly InfoHash[];
  readonly #asked: Asked[] = [];
  readonly #announced: Announced[] = [];
  readonly #sids: number[] = [];

  constructor(random: Random, self: InfoHash) {
    this.#random = random;
    this.#self = self;
    this.#noise = random.bytes(NOISE_BYTES);
    this.#peers = Array.from({ length: PEERS }, (_, i) => this.#newPeer(i));
    for (const peer of this.#peers) this.#byAddress.set(nameOf(peer.address), peer);
    this.#keys = Array.from({ length: KEYS }, (_, i) => this.#hash(i % 3 === 0));
  }

  /** Some key that they attack too. */
  key(): InfoHash {
    return this.#oneOf(this.#keys);
  }

  /** What the engine sent: they answer some of it, with the tids and tokens that belong to it. */
  receive(packet: Uint8Array, to: Address): void {
    const peer = this.#byAddress.get(nameOf(to));
    if (peer === undefined) return;
    const message = decodeMessage(packet);
    if (message.type === 'reply') {
      peer.token = message.token ?? peer.token;
    } else if (message.type !== 'part' && message.type !== 'error') {
      const sid = message.type === 'listen' ? message.sid : 0;
      if (sid !== 0) remember(this.#sids, sid);
      remember(this.#asked, { peer, tid: message.tid, sid });
    }
  }

  next(): HostileDatagram {
    const dice = this.#below(100);
    if (dice < 4) return { packet: this.#blob(this.#below(400)), from: this.#source() };
    if (dice < 30) return { packet: this.#damaged(this.#recorded()), from: this.#source() };
    if (dice < 34) return { packet: this.#bomb(), from: this.#source() };
    const { packet, from } = this.#wellFormed(dice);
    return { packet: this.#chance(0.15) ? this.#damaged(packet) : packet, from };
  }

  #wellFormed(dice: number): HostileDatagram {
    const asked = dice < 60 ? this.#takeAsked() : undefined;
    if (asked !== undefined) return this.#answer(asked);
    const announced = dice < 75 ? this.#takeAnnounced() : undefined;
    if (announced !== undefined) return this.#part(announced);
    return this.#query();
  }

  // ---- bytes

  #recorded(): Uint8Array {
    return this.#oneOf(RECORDED_DATAGRAMS);
  }

  /** With bytes changed, a piece cut out, doubled, or put in from elsewhere, or its end missing. */
  #damaged(packet: Uint8Array): Uint8Array {
    let bytes: Uint8Array = packet.slice();
    for (let left = 1 + this.#below(4); left > 0 && bytes.length > 0; left--) {
      const at = this.#below(bytes.length);
      const piece = bytes.subarray(at, at + 1 + this.#below(40));
      switch (this.#below(6)) {
        case 0:
          bytes[at] = this.#random.uint32();
          break;
        case 1:
          bytes[at] = (bytes[at] as number) ^ (1 << this.#below(8));
          break;
        case 2:
          bytes = bytes.slice(0, at);
          break;
        case 3:
          bytes = joined(bytes.subarray(0, at), bytes.subarray(at + piece.length));
          break;
        case 4:
          bytes = joined(bytes.subarray(0, at + piece.length), bytes.subarray(at));
          break;
        default: {
          const other = this.#recorded();
          const from = this.#below(other.length);
          bytes = joined(bytes.subarray(0, at), other.subarray(from, from + 30));
        }
      }
    }
    return bytes;
  }

  /** Containers in containers, and lengths that nobody could send. */
  #bomb(): Uint8Array {
    const head = Uint8Array.of(0x84, 0xa1, 0x61, 0x81, 0xa2, 0x69, 0x64); // {a: {id: …
    const code = this.#oneOf([0x91, 0x81, 0xdd, 0xdf, 0xc6, 0xdb, 0xc9, 0xdc, 0xde]);
    const huge = code > 0xa0;
    const body = new Uint8Array(1 + this.#below(huge ? 12 : 2000)).fill(huge ? 0xff : code);
    body[0] = code;
    return this.#chance(0.5) ? joined(head, body) : body;
  }

  #blob(length: number): Uint8Array {
    const at = this.#below(NOISE_BYTES - length);
    return this.#noise.slice(at, at + length);
  }

  // ---- messages

  #query(): HostileDatagram {
    const peer = this.#peer();
    const envelope = this.#envelope();
    const common = { ...envelope, id: this.#idOf(peer) };
    const { address: from } = peer;
    const key = this.#anyKey();
    const token = this.#tokenOf(peer);
    const { tid } = envelope;
    switch (this.#below(8)) {
      case 0:
        return this.#send(from, { type: 'ping', ...common });
      case 1:
        return this.#send(from, {
          type: 'find',
          ...common,
          target: key,
          want: this.#maybe([2, 10]),
        });
      case 2:
        return this.#send(from, { type: 'get', ...common, key, query: this.#maybe(this.#where()) });
      case 3:
      case 4: {
        const created = this.#maybe(this.#random.uint32());
        return this.#send(from, {
          type: 'put',
          ...common,
          key,
          token,
          created,
          values: this.#values(peer, tid),
        });
      }
      case 5: {
        const valueId = BigInt(this.#below(20));
        return this.#send(from, { type: 'refresh', ...common, key, token, valueId });
      }
      case 6: {
        const [style, sid] = [this.#below(2), this.#below(3)];
        const query = this.#maybe(this.#where());
        // Mostly where nobody puts: each put is pushed to each listener, and a run would do little else.
        const place = this.#chance(0.05) ? key : this.#hash(false);
        return this.#send(from, {
          type: 'listen',
          ...common,
          style,
          key: place,
          token,
          sid,
          query,
        });
      }
      default:
        return this.#push(peer, this.#chance(0.7) ? this.#oneOf(this.#sids) : this.#below(500));
    }
  }

  #push(peer: Peer, sid = 0): HostileDatagram {
    const envelope = this.#envelope();
    const ids = this.#maybe([1n, BigInt(this.#below(20)), 2n ** 64n - 1n]);
    return this.#send(peer.address, {
      type: 'update',
      style: 1,
      ...envelope,
      id: this.#idOf(peer),
      sid,
      key: this.#anyKey(),
      token: this.#tokenOf(peer),
      values: this.#maybe(this.#values(peer, envelope.tid)),
      refreshed: ids,
      expired: this.#maybe(ids),
    });
  }

  #answer({ peer, tid, sid }: Asked): HostileDatagram {
    const dice = this.#below(10);
    if (dice === 0) {
      const code = this.#oneOf([203, 401, 404, 421, this.#below(65_536)]);
      const id = this.#idOf(peer);
      return this.#send(peer.address, { type: 'error', tid, code, text: 'no', id });
    }
    if (dice === 1 && sid !== 0) return this.#push(peer, sid);
    const liar = this.#chance(0.1) ? this.#peer() : peer;
    return this.#send(liar.address, {
      type: 'reply',
      tid,
      id: this.#idOf(peer),
      seenIp: this.#blob(this.#oneOf([4, 16, 7])),
      nodes4: this.#maybe(this.#nodeList(4)),
      nodes6: this.#maybe(this.#nodeList(6)),
      // Who gives no token is never heard again, so they nearly always do.
      token: this.#chance(0.998) ? this.#blob(this.#chance(0.998) ? 32 : 65) : undefined,
      valueId: this.#maybe(1n),
      values: this.#chance(0.3) ? this.#values(peer, tid) : undefined,
    });
  }

  #part(announced: Announced): HostileDatagram {
    const { peer, tid, packed } = announced;
    const honest = this.#chance(0.9);
    const offset = honest ? announced.offset : this.#below(70_000);
    const data = honest
      ? packed.subarray(offset, offset + 1280)
      : this.#blob(this.#oneOf([0, 1, 64, 1280, 3000]));
    if (honest) announced.offset += data.length;
    if (announced.offset < packed.length) remember(this.#announced, announced);
    const index = honest ? 0 : this.#oneOf([0, 1, 2 ** 32 - 1]);
    const pieces: PartPiece[] = [{ index, offset, data }];
    if (this.#chance(0.05)) pieces.push({ index: 1, offset: 0, data: this.#blob(500) });
    const from = this.#chance(0.05) ? this.#source() : peer.address;
    return this.#send(from, { type: 'part', tid, pieces });
  }

  #send(from: Address, message: Message): HostileDatagram {
    return { packet: encodeMessage(message), from };
  }

  #envelope() {
    const tid = this.#random.uint32();
    const network = this.#chance(0.02) ? 7 : 0;
    return { tid, network, client: this.#chance(0.05), version: 'x1' };
  }

  // ---- what messages are made of

  /** Values in place, or sizes with parts to follow, true and false ones. */
  #values(peer: Peer, tid: number): WireValue[] {
    const dice = this.#below(10);
    if (dice === 0) return Array.from({ length: this.#below(60) }, () => this.#random.uint32());
    if (dice === 1) return [70_000, 0, this.#below(65_568), this.#blob(30)];
    const packed = packValue(this.#value());
    if (dice > 4 && packed.length < 600) return [packed];
    remember(this.#announced, { peer, tid, packed, offset: 0 });
    return [packed.length];
  }

  #value(): Value {
    const id = BigInt(this.#chance(0.5) ? this.#below(20) : this.#random.uint32());
    const data = this.#blob(this.#oneOf([0, 10, 100, 500, 1800, 5000, this.#below(65_000)]));
    if (this.#chance(0.2)) return { kind: 'encrypted', id, cypher: data };
    const signed = {
      owner: this.#blob(294),
      seq: this.#below(65_536),
      ...(this.#chance(0.5) ? { to: this.key() } : {}),
      signature: this.#blob(256),
    };
    return {
      kind: 'plain',
      id,
      type: this.#oneOf([0, 0, 0, 1, 2, 3, 4, 5, 8, 9, 65_535]),
      data,
      ...(this.#chance(0.1) ? { userType: 'x'.repeat(this.#below(300)) } : {}),
      ...(this.#chance(0.2) ? { signed } : {}),
    };
  }

  #where(): Query {
    const fields: readonly Field[] = ['id', 'type', 'owner', 'seq', 'userType'];
    const filters: readonly Filter[] = [
      { field: 'id', value: BigInt(this.#below(20)) },
      { field: 'type', value: this.#below(10) },
      { field: 'owner', value: this.key() },
      { field: 'userType', value: 'x'.repeat(this.#below(40)) },
    ];
    return {
      select: this.#chance(0.3) ? [this.#oneOf(fields), this.#oneOf(fields)] : [],
      where: Array.from({ length: this.#below(4) }, () => this.#oneOf(filters)),
    };
  }

  #nodeList(family: 4 | 6): Uint8Array {
    const count = this.#oneOf([1, 8, 8, 8, 40]);
    const nodes: ListedNode[] = [];
    while (nodes.length < count) {
      const { address, id } = this.#peer();
      if (familyOf(address) !== family) continue;
      nodes.push({ address, id: this.#chance(0.3) ? this.#hash(this.#chance(0.5)) : id });
    }
    const list = joined(...nodes.map(({ id, address }) => compactNode(id, address)));
    return this.#chance(0.05) ? list.slice(0, -1) : list;
  }

  #idOf(peer: Peer): InfoHash {
    if (this.#chance(0.8)) return peer.id;
    const dice = this.#below(10);
    if (dice === 0) return this.#self;
    return dice < 5 ? this.#peer().id : this.#hash(dice < 8);
  }

  #tokenOf(peer: Peer): Uint8Array | undefined {
    if (this.#chance(0.9)) return peer.token ?? this.#blob(32);
    return this.#maybe(this.#chance(0.5) ? this.#peer().token : this.#blob(this.#below(70)));
  }

  #anyKey(): InfoHash {
    if (this.#chance(0.9)) return this.key();
    return this.#chance(0.5) ? this.#hash(false) : new InfoHash(new Uint8Array(20));
  }

  /** Anywhere, or close to the engine. */
  #hash(near: boolean): InfoHash {
    const bytes = this.#blob(20);
    if (near) bytes.set(this.#self.bytes.subarray(0, 1 + this.#below(18)));
    return new InfoHash(bytes);
  }

  #newPeer(i: number): Peer {
    const port = i % 50 === 0 ? 1 + this.#below(65_535) : 4222;
    // Several share an address, or a /64.
    const [high, low] = [(i >> 9) & 0xff, (i >> 1) & 0xff];
    const ip =
      i % 4 === 0
        ? Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, high, low, 0, 0, 0, 0, 0, 0, 0, i & 0xff)
        : Uint8Array.of(10, 66, high, low);
    return {
      address: { ip, port: port + (i & 1) },
      id: this.#hash(this.#chance(0.2)),
      token: undefined,
    };
  }

  #peer(): Peer {
    return this.#oneOf(this.#peers);
  }

  /** Where noise comes from: mostly a peer, now and then from nowhere that exists. */
  #source(): Address {
    if (this.#chance(0.98)) return this.#peer().address;
    const ip = this.#oneOf([
      Uint8Array.of(0, 1, 2, 3),
      Uint8Array.of(239, 1, 2, 3),
      new Uint8Array(16),
    ]);
    return { ip, port: this.#below(65_536) };
  }

  #takeAsked(): Asked | undefined {
    return this.#asked.splice(this.#below(this.#asked.length || 1), 1)[0];
  }

  #takeAnnounced(): Announced | undefined {
    return this.#announced.splice(this.#below(this.#announced.length || 1), 1)[0];
  }

  #below(end: number): number {
    return Math.floor(this.#random.fraction() * end);
  }

  #chance(probability: number): boolean {
    return this.#random.fraction() < probability;
  }

  #maybe<T>(value: T): T | undefined {
    return this.#chance(0.5) ? value : undefined;
  }

  #oneOf<T>(list: readonly T[]): T {
    return list[this.#below(list.length)] as T;
  }
}

const nameOf = ({ ip, port }: Address): string => `${ip.join('.')}:${port}`;

function remember<T>(list: T[], item: T): void {
  if (list.length >= REMEMBERED) list.shift();
  list.push(item);
}

function joined(...pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
