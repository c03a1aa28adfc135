import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { systemRandom } from '../../agent/base/random.ts';
import { compactNode } from '../../agent/dht/addresses.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Message } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { packValue } from '../../agent/dht/value-codec.ts';

/**
 * A crowd that means harm to a node on loopback: hostile-crowd.ts PORT SECONDS. From 400 addresses, 127.66.x.y, and as fast
 * as the node's bound on all sources lets pass, it sends values under ever new keys, listeners with long queries, halves of
 * values in parts, pings with ever new node ids; and it answers what the node asks with lists of nodes that do not exist.
 * The keys are next to the node's id, so that it is not too far from them. Prints what it sent.
 */

const SOURCES = 400;
const BURST = 50;
const BURST_EVERY_MS = 10;
/** Datagrams of one value in parts. */
const PARTS = 20;

const [port = 0, seconds = 0] = process.argv.slice(2).map(Number);
const tokens = new Map<Socket, Uint8Array>();
const sent: Record<string, number> = {};
const big = systemRandom.bytes(530);
let target = new Uint8Array(20);
const part = systemRandom.bytes(1280);
const newId = () => new InfoHash(systemRandom.bytes(20));
const oneOf = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T;

/** Outside of what the system gives away, where others may want to listen everywhere. */
const OWN_PORT = 30_333;

const sockets: Socket[] = [];
for (let i = 0; i < SOURCES; i++) {
  const socket = createSocket({ type: 'udp4', lookup: (name, _, found) => found(null, name, 4) });
  const listening = once(socket, 'listening');
  socket.bind({ address: `127.66.${i >> 8}.${i & 0xff}`, port: OWN_PORT });
  await listening;
  socket.on('message', (packet) => answer(socket, decodeMessage(packet)));
  sockets.push(socket);
}

function send(socket: Socket, name: string, message: Message): void {
  sent[name] = (sent[name] ?? 0) + 1;
  socket.send(encodeMessage(message), port, '127.0.0.1');
}

function answer(socket: Socket, message: Message): void {
  if (message.type === 'reply') {
    target = message.id.bytes.slice();
    if (message.token !== undefined) tokens.set(socket, message.token);
  } else if (message.type === 'find' || message.type === 'get' || message.type === 'ping') {
    const nobody = () => compactNode(newId(), { ip: systemRandom.bytes(4), port: 4222 });
    const nodes4 = new Uint8Array(Array.from({ length: 30 }, () => [...nobody()]).flat());
    const { tid } = message;
    send(socket, 'replies', { type: 'reply', tid, id: newId(), token: big.slice(0, 32), nodes4 });
  }
  // Pushes are never answered: each is repeated, and held on to until then.
}

function attack(): void {
  const socket = oneOf(sockets);
  const token = tokens.get(socket);
  const tid = systemRandom.uint32();
  const common = { tid, id: newId() };
  const bytes = target.slice();
  bytes.set(systemRandom.bytes(10), 10);
  const key = new InfoHash(bytes);
  switch (token === undefined ? 0 : Math.floor(Math.random() * 7)) {
    case 0:
      send(socket, 'finds', { type: 'find', ...common, target: key });
      break;
    case 1:
    case 2: {
      const id = BigInt(systemRandom.uint32());
      const values = [packValue({ kind: 'plain', id, type: 0, data: big })];
      send(socket, 'puts', { type: 'put', ...common, key, token, values });
      break;
    }
    case 3: {
      const userType = 'x'.repeat(50_000);
      const query = { select: [], where: [{ field: 'userType', value: userType } as const] };
      const sid = systemRandom.uint32();
      send(socket, 'listens', { type: 'listen', ...common, style: 1, key, token, sid, query });
      break;
    }
    case 4:
      send(socket, 'listens', { type: 'listen', ...common, style: 1, key, token, sid: tid });
      break;
    case 5: {
      // All but the last part of a value.
      const values = [(PARTS + 1) * part.length];
      send(socket, 'half-sent values', { type: 'put', ...common, key, token, values });
      for (let i = 0; i < PARTS; i++) {
        const pieces = [{ index: 0, offset: i * part.length, data: part }];
        send(socket, 'parts', { type: 'part', tid, pieces });
      }
      break;
    }
    default:
      send(socket, 'pings', { type: 'ping', ...common });
  }
}

const timer = setInterval(() => {
  for (let i = 0; i < BURST; i++) attack();
}, BURST_EVERY_MS);
setTimeout(() => {
  clearInterval(timer);
  for (const socket of sockets) socket.close();
  console.log(JSON.stringify(sent));
}, seconds * 1000);
