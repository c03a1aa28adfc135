import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { systemRandom } from '../../../agent/base/random.ts';
import { InfoHash } from '../../../agent/dht/infohash.ts';
import type { Message } from '../../../agent/dht/message.ts';
import { decodeMessage } from '../../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../../agent/dht/message-encode.ts';
import { packValue } from '../../../agent/dht/value-codec.ts';
import { plainValue } from '../../sim/world.ts';

interface Peer {
  readonly socket: Socket;
  readonly id: InfoHash;
  token: Uint8Array | undefined;
}

/** Of each ten requests. A put or a listen without a token yet is a find. */
const MIX = ['ping', 'find', 'find', 'find', 'find', 'get', 'get', 'get', 'put', 'listen'] as const;
const KEYS = 2000;
/** Of each at its own address: outside of what the system gives away, where others may want to listen everywhere. */
const PORT = 30_222;
const LARGEST_VALUE = 500;
const SEND_EVERY_MS = 10;

/**
 * Peers at addresses of their own, 127.9.x.y, that ask one node so many times a second whatever it answers, and that answer
 * it as nodes do: they are in its table, store at it and listen there.
 */
export class DhtCrowd {
  readonly #port: number;
  readonly #perSecond: number;
  readonly #peers: Peer[] = [];
  readonly #keys = Array.from({ length: KEYS }, () => new InfoHash(systemRandom.bytes(20)));
  #timer: NodeJS.Timeout | undefined;
  #owed = 0;
  #tid = 1;
  sent = 0;
  replies = 0;
  errors = 0;
  /** Queries of the node, pushes among them. */
  asked = 0;

  private constructor(port: number, perSecond: number) {
    this.#port = port;
    this.#perSecond = perSecond;
  }

  static async open(port: number, perSecond: number, sources: number): Promise<DhtCrowd> {
    const crowd = new DhtCrowd(port, perSecond);
    for (let i = 0; i < sources; i++) {
      const socket = createSocket({
        type: 'udp4',
        lookup: (name, _, found) => found(null, name, 4),
      });
      // The lookup answers at once, and so does the socket.
      const listening = once(socket, 'listening');
      socket.bind({ address: `127.9.${i >> 8}.${i & 0xff}`, port: PORT });
      await listening;
      const peer: Peer = { socket, id: new InfoHash(systemRandom.bytes(20)), token: undefined };
      socket.on('message', (packet) => crowd.#receive(peer, packet));
      crowd.#peers.push(peer);
    }
    return crowd;
  }

  start(): void {
    let last = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#owed += ((now - last) * this.#perSecond) / 1000;
      last = now;
      for (; this.#owed >= 1; this.#owed--) this.#ask();
    }, SEND_EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const { socket } of this.#peers) socket.close();
  }

  #ask(): void {
    const peer = oneOf(this.#peers);
    const key = oneOf(this.#keys);
    const common = { tid: this.#tid++, id: peer.id, version: 'o2' };
    const kind = oneOf(MIX);
    const { token } = peer;
    this.sent++;
    if (kind === 'ping') this.#send(peer, { type: 'ping', ...common });
    else if (kind === 'get') this.#send(peer, { type: 'get', ...common, key });
    else if (kind === 'put' && token !== undefined) {
      const data = systemRandom.bytes(Math.floor(systemRandom.fraction() * LARGEST_VALUE));
      const values = [packValue(plainValue(BigInt(systemRandom.uint32()), data))];
      this.#send(peer, { type: 'put', ...common, key, values, token });
    } else if (kind === 'listen' && token !== undefined) {
      this.#send(peer, { type: 'listen', ...common, style: 1, key, sid: 1, token });
    } else this.#send(peer, { type: 'find', ...common, target: key });
  }

  #receive(peer: Peer, packet: Uint8Array): void {
    const message = decodeMessage(packet);
    if (message.type === 'reply') {
      this.replies++;
      peer.token = message.token ?? peer.token;
    } else if (message.type === 'error') this.errors++;
    else if (message.type !== 'part' && message.type !== 'old-update') {
      this.asked++;
      const token = Uint8Array.of(1, 2, 3, 4);
      this.#send(peer, { type: 'reply', tid: message.tid, id: peer.id, token });
    }
  }

  #send({ socket }: Peer, message: Message): void {
    socket.send(encodeMessage(message), this.#port, '127.0.0.1');
  }
}

function oneOf<T>(list: readonly T[]): T {
  return list[Math.floor(Math.random() * list.length)] as T;
}
