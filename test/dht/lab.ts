import type { Address } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import { Dht, type DhtOptions } from '../../agent/dht/dht.ts';
import type { DhtEvent } from '../../agent/dht/events.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Message, QueryMessage, Reply } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { seededRandom } from '../sim/seeded.ts';

export const PROBE: Address = { ip: Uint8Array.of(127, 0, 0, 1), port: 41020 };
export const PROBE_ID = hash(0x11);

/** A hash of one byte, 20 times. */
export function hash(byte: number): InfoHash {
  return new InfoHash(new Uint8Array(20).fill(byte));
}

/** `10.0.a.b:4222` for a number. */
export function addressOf(number: number): Address {
  return { ip: Uint8Array.of(10, 0, number >> 8, number & 0xff), port: 4222 };
}

export interface Sent {
  readonly to: Address;
  readonly packet: Uint8Array;
  readonly message: Message;
  readonly at: Millis;
}

/** One engine on a bench: datagrams in by hand, everything that comes out is kept. */
export class Lab {
  readonly dht: Dht;
  readonly sent: Sent[] = [];
  readonly events: DhtEvent[] = [];
  now: Millis;
  readonly #random = seededRandom(7);
  #tid = 1000;

  constructor(options: Partial<DhtOptions> = {}, now: Millis = 100_000) {
    this.now = now;
    this.dht = new Dht(
      { id: hash(0xee), families: [4], random: seededRandom(3), policy: cryptoPolicy, ...options },
      now,
    );
  }

  receive(packet: Uint8Array, from: Address = PROBE): void {
    this.dht.receive(packet, from, this.now);
    this.#drain();
  }

  /** Do something with the engine. */
  turn<T>(run: (dht: Dht, now: Millis) => T): T {
    const result = run(this.dht, this.now);
    this.#drain();
    return result;
  }

  /** Let `ms` pass, deadline by deadline. */
  run(ms: Millis): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.dht.nextTimeout();
      if (next > end) break;
      this.now = Math.max(this.now, next);
      this.turn((dht, now) => dht.timeout(now));
    }
    this.now = end;
  }

  #drain(): void {
    for (let output = this.dht.poll(); output !== undefined; output = this.dht.poll()) {
      if (output.type === 'event') this.events.push(output.event);
      else {
        const { to } = output;
        const packet = output.packet.slice();
        this.sent.push({ to, packet, message: decodeMessage(packet), at: this.now });
      }
    }
  }

  /** What was sent since the last look. */
  take(): Sent[] {
    return this.sent.splice(0);
  }

  /** The same in every run. */
  randomId(): InfoHash {
    return new InfoHash(this.#random.bytes(20));
  }

  newTid(): number {
    return ++this.#tid;
  }

  /** Send a query and give back what came in answer to it. */
  ask(query: Partial<QueryMessage> & { type: string }, from = PROBE, id = PROBE_ID): Message[] {
    const tid = this.newTid();
    this.take();
    this.receive(encodeMessage({ tid, id, ...query } as QueryMessage), from);
    return this.take()
      .map(({ message }) => message)
      .filter((message) => message.tid === tid);
  }

  reply(query: Partial<QueryMessage> & { type: string }, from = PROBE, id = PROBE_ID): Reply {
    const [reply] = this.ask(query, from, id);
    if (reply?.type !== 'reply') throw new Error(`no reply to ${query.type}`);
    return reply;
  }

  token(from = PROBE, id = PROBE_ID): Uint8Array {
    const { token } = this.reply({ type: 'find', target: hash(1) }, from, id);
    if (token === undefined) throw new Error('no token');
    return token;
  }
}
