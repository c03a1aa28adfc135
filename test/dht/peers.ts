import type { Address } from '../../agent/base/address.ts';
import { toHex } from '../../agent/base/bytes.ts';
import type { DhtOptions } from '../../agent/dht/dht.ts';
import type { InfoHash } from '../../agent/dht/infohash.ts';
import type { Message, Reply } from '../../agent/dht/message.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { addressOf, hash, Lab, type Sent } from './lab.ts';

/** A peer whose answers a test writes. */
export interface Peer {
  readonly id: InfoHash;
  readonly address: Address;
  /** undefined: silence. `true`: what any node would say. */
  readonly answer: (message: Message) => Partial<Reply> | undefined;
}

export const TOKEN = Uint8Array.of(1, 2, 3, 4);
export const KEY = hash(0x77);

/** What a node says that has nothing to say. */
export const polite = (message: Message): Partial<Reply> =>
  message.type === 'find' || message.type === 'get' ? { token: TOKEN } : {};

export function peer(number: number, answer: Peer['answer'] = polite): Peer {
  return { id: hash(number), address: addressOf(number), answer };
}

/** Let `ms` pass with `peers` answering. @returns all that was sent */
export function converse(lab: Lab, peers: readonly Peer[], ms: number): Sent[] {
  const all: Sent[] = [];
  const end = lab.now + ms;
  const serve = () => {
    for (let sent = lab.take(); sent.length > 0; sent = lab.take()) {
      all.push(...sent);
      for (const { to, message } of sent) {
        const { tid } = message;
        const at = peers.find(
          ({ address }) => address.port === to.port && toHex(address.ip) === toHex(to.ip),
        );
        const isQuery =
          message.type !== 'reply' && message.type !== 'error' && message.type !== 'part';
        const answer = isQuery ? at?.answer(message) : undefined;
        if (at === undefined || answer === undefined) continue;
        const error = (answer as { error?: number }).error;
        const reply: Message =
          error === undefined
            ? { type: 'reply', tid, id: at.id, ...answer }
            : { type: 'error', tid, id: at.id, code: error, text: '' };
        lab.receive(encodeMessage(reply), at.address);
      }
    }
  };
  serve();
  while (lab.now < end) {
    lab.run(Math.min(50, end - lab.now));
    serve();
  }
  return all;
}

/** An engine that is connected to `peers`. */
export function connected(peers: readonly Peer[], options: Partial<DhtOptions> = {}): Lab {
  const lab = new Lab(options);
  lab.dht.setWallClock(1_795_219_200_000, lab.now);
  lab.turn((dht, now) =>
    dht.bootstrap(
      peers.map(({ address }) => address),
      now,
    ),
  );
  converse(lab, peers, 200);
  return lab;
}

/** Those of one type, and to one peer. */
export const of = (sent: readonly Sent[], type: Message['type'], to?: Peer) =>
  sent.filter(
    ({ message, ...s }) =>
      message.type === type && (to === undefined || toHex(s.to.ip) === toHex(to.address.ip)),
  );

/** Milliseconds from each to the next. */
export const gaps = (sent: readonly Sent[]) =>
  sent.slice(1).map(({ at }, i) => at - (sent[i]?.at ?? 0));
