import type { Address } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import type { Engine, EngineOutput } from '../../agent/base/engine.ts';
import { compactNode } from '../../agent/dht/addresses.ts';
import type { Dht } from '../../agent/dht/dht.ts';
import type { DhtEvent } from '../../agent/dht/events.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { PROTOCOL } from '../../agent/dht/limits.ts';
import type { QueryMessage, Reply } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import type { Value } from '../../agent/dht/value.ts';
import { packValue, unpackValue } from '../../agent/dht/value-codec.ts';

/** How an attacker answers who asks for the key: with no values, with forged ones, or without the token that is due. */
export type Attack = 'nothing' | 'garbage' | 'no token';

/** A cluster of nodes of one attacker, closer to one key than anybody can be by chance. They name only each other. */
export class SybilCluster {
  readonly key: InfoHash;
  readonly attack: Attack;
  readonly #members: { readonly id: InfoHash; readonly address: Address }[] = [];
  /** Forged versions of what was put here. */
  readonly forged: Value[] = [];
  swallowedPuts = 0;
  swallowedListens = 0;

  constructor(key: InfoHash, attack: Attack) {
    this.key = key;
    this.attack = attack;
  }

  /** The id of the member with that number: all bits of the key but the last 16. */
  idOf(number: number): InfoHash {
    const bytes = this.key.bytes.slice();
    bytes[18] = (bytes[18] as number) ^ (number >> 8);
    bytes[19] = (bytes[19] as number) ^ (number & 0xff);
    return new InfoHash(bytes);
  }

  join(id: InfoHash, address: Address): void {
    this.#members.push({ id, address });
  }

  /** The members that are named to who asks. */
  get list(): Uint8Array {
    const named = this.#members.slice(0, PROTOCOL.targetNodes);
    return Buffer.concat(named.map(({ id, address }) => compactNode(id, address)));
  }

  /** Keep what was put, with other content under the same id and signature: the best lie there is without the key. */
  forge(value: Value): void {
    const data = new TextEncoder().encode('forged');
    this.forged.push(value.kind === 'plain' ? { ...value, data } : { ...value, cypher: data });
  }
}

/** A member of the cluster: a real node as far as others can tell, but for whatever concerns the key. */
export class Sybil implements Engine<DhtEvent> {
  readonly #dht: Dht;
  readonly #cluster: SybilCluster;
  readonly #outputs: EngineOutput<never>[] = [];

  constructor(dht: Dht, cluster: SybilCluster) {
    this.#dht = dht;
    this.#cluster = cluster;
  }

  receive(packet: Uint8Array, from: Address, now: Millis): void {
    const message = decodeMessage(packet);
    const key = 'key' in message ? message.key : 'target' in message ? message.target : undefined;
    const concernsKey = key?.equals(this.#cluster.key) === true && message.type !== 'update';
    if (!concernsKey || message.type === 'reply') this.#dht.receive(packet, from, now);
    else this.#answer(message as QueryMessage, from);
  }

  #answer(query: QueryMessage, from: Address): void {
    const { attack, list, forged } = this.#cluster;
    const token = attack === 'no token' ? undefined : Uint8Array.of(1, 2, 3, 4);
    switch (query.type) {
      case 'find':
        this.#reply(query, from, { nodes4: list, token });
        break;
      case 'get': {
        const values = attack === 'garbage' ? forged.map(packValue) : undefined;
        this.#reply(query, from, { nodes4: list, token, values });
        break;
      }
      case 'put': {
        this.#cluster.swallowedPuts++;
        for (const packed of query.values) {
          if (typeof packed === 'number') continue;
          const value = unpackValue(packed);
          if (attack === 'garbage') this.#cluster.forge(value);
          this.#reply(query, from, { valueId: value.id });
        }
        break;
      }
      case 'listen':
        this.#cluster.swallowedListens++;
        this.#reply(query, from, { token });
        break;
      default:
        this.#reply(query, from, {});
    }
  }

  #reply({ tid }: QueryMessage, to: Address, content: Partial<Reply>): void {
    const { id } = this.#dht;
    const packet = encodeMessage({ ...content, type: 'reply', tid, id, seenIp: to.ip });
    this.#outputs.push({ type: 'send', to, packet });
  }

  timeout(now: Millis): void {
    this.#dht.timeout(now);
  }

  nextTimeout(): Millis {
    return this.#dht.nextTimeout();
  }

  poll(): EngineOutput<DhtEvent> | undefined {
    return this.#outputs.shift() ?? this.#dht.poll();
  }
}
