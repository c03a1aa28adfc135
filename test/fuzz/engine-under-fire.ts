import type { Address } from '../../agent/base/address.ts';
import type { Millis } from '../../agent/base/clock.ts';
import type { Random } from '../../agent/base/random.ts';
import { Dht } from '../../agent/dht/dht.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import type { OperationId } from '../../agent/dht/operation.ts';
import { brokenCaps } from '../dht/caps.ts';
import { cryptoPolicy } from '../peers/opendht/policy.ts';
import { seededRandom } from '../sim/seeded.ts';
import { type HostileDatagram, HostilePeers } from './hostile-peers.ts';

/** Virtual time from one datagram to the next, on average: as fast as the bound on all sources just lets pass. */
const PAUSE_MS = 0.25;
/** One in so many datagrams comes after a long silence, in which much expires. */
const SILENCE_EVERY = 200_000;
const SILENCE_MS = 15 * 60_000;
/** One in so many datagrams the node begins something itself. */
const OPERATION_EVERY = 5000;
const OPERATIONS = 20;
/** 2026-11-21 00:00:00 UTC. */
const EPOCH_UNIX_MS = 1_795_219_200_000;

const HONEST: Address = { ip: Uint8Array.of(192, 0, 2, 1), port: 4222 };

/** An engine that hostile peers send one datagram after the other, on a clock that goes with them. */
export class EngineUnderFire {
  readonly dht: Dht;
  readonly #random: Random;
  readonly #peers: HostilePeers;
  readonly #operations: OperationId[] = [];
  readonly #toHonest: Uint8Array[] = [];
  #now: Millis = 1000;
  #sent = 0;
  /** The last datagram, for the report of a failure. */
  last: HostileDatagram | undefined;

  constructor(seed: number) {
    const self = new InfoHash(seededRandom(seed + 1).bytes(20));
    this.#random = seededRandom(seed + 2);
    this.#peers = new HostilePeers(seededRandom(seed + 3), self);
    this.dht = new Dht(
      { id: self, families: [4, 6], random: seededRandom(seed + 4), policy: cryptoPolicy },
      this.#now,
    );
  }

  get now(): Millis {
    return this.#now;
  }

  /** One more datagram. @throws whatever the engine should not */
  step(): void {
    this.#pass(this.#random.fraction() * 2 * PAUSE_MS);
    if (this.#random.fraction() < 1 / SILENCE_EVERY)
      this.#pass(this.#random.fraction() * SILENCE_MS);
    if (this.#random.fraction() < 1 / OPERATION_EVERY) this.#operate();
    this.last = this.#peers.next();
    this.#receive(this.last.packet, this.last.from);
  }

  /**
   * What must hold at any time.
   * @throws {Error} that says what does not
   */
  check(): void {
    const { rpc } = this.dht.stats();
    const counted =
      rpc.queries + rpc.replies + rpc.errors + rpc.parts + rpc.malformed + rpc.martian +
      rpc.blacklisted + rpc.otherFamily + rpc.otherNetwork + rpc.rateLimited + rpc.ownId + rpc.unasked; // biome-ignore format: a sum
    if (rpc.received !== this.#sent || counted !== this.#sent)
      throw new Error(
        `${this.#sent} datagrams, ${rpc.received} received, ${counted} in the counters`,
      );
    const broken = brokenCaps(this.dht.stats());
    if (broken.length > 0) throw new Error(broken.join('; '));
    this.#pass(1000); // the bound on all sources together is used up
    for (const type of ['ping', 'find'] as const) {
      this.#toHonest.length = 0;
      const id = new InfoHash(new Uint8Array(20).fill(7));
      const ask = { tid: 7_654_321, id, target: this.dht.id };
      this.#receive(encodeMessage({ type, ...ask }), HONEST);
      const answers = this.#toHonest.map(decodeMessage);
      if (!answers.some((answer) => answer.type === 'reply' && answer.tid === ask.tid))
        throw new Error(`a ${type} of an honest node is not answered`);
    }
  }

  #receive(packet: Uint8Array, from: Address): void {
    this.#sent++;
    this.dht.receive(packet, from, this.#now);
    this.#drain();
  }

  #operate(): void {
    const { dht } = this;
    const key = this.#peers.key();
    const data = this.#random.bytes(this.#random.uint32() % 2000);
    const value = { kind: 'plain', id: BigInt(this.#random.uint32()), type: 0, data } as const;
    const dice = this.#random.uint32() % 4;
    dht.setWallClock(EPOCH_UNIX_MS + this.#now, this.#now);
    if (dice === 0) dht.put(key, value, false, this.#now);
    else if (dice === 1) this.#operations.push(dht.get(key, undefined, this.#now));
    else if (dice === 2) this.#operations.push(dht.listen(key, undefined, this.#now));
    else dht.bootstrap([this.#peers.next().from], this.#now);
    const oldest = this.#operations.length > OPERATIONS ? this.#operations.shift() : undefined;
    if (oldest !== undefined) dht.cancel(oldest, this.#now);
    this.#drain();
  }

  /** Let time go by, deadline by deadline. */
  #pass(ms: Millis): void {
    const end = this.#now + ms;
    for (let next = this.dht.nextTimeout(); next <= end; next = this.dht.nextTimeout()) {
      this.#now = Math.max(this.#now, next);
      this.dht.timeout(this.#now);
      this.#drain();
    }
    this.#now = end;
  }

  #drain(): void {
    for (let output = this.dht.poll(); output !== undefined; output = this.dht.poll()) {
      if (output.type !== 'send') continue;
      if (output.to.ip === HONEST.ip) this.#toHonest.push(output.packet);
      else this.#peers.receive(output.packet, output.to);
    }
  }
}
