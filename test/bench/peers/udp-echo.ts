import { parseIp } from '../../../agent/base/address.ts';
import { openBatchSocket } from '../../../agent/dht/udp-batch.ts';
import { openDgramSocket } from '../../../agent/dht/udp-dgram.ts';

/** Echoes every datagram. usage: udp-echo.ts batch|dgram PORT; prints "ready" when bound, ends on SIGTERM. */
const [backend, port] = process.argv.slice(2);
const open = backend === 'dgram' ? openDgramSocket : openBatchSocket;
const socket = await open({
  ip: parseIp('127.0.0.1') as Uint8Array,
  port: Number(port),
  onDatagram: (packet, from) => socket.send(packet, from),
  onBatchEnd: () => {},
});
process.once('SIGTERM', () => void socket.close());
console.log('ready');
