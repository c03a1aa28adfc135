import { systemClock } from '../../agent/base/clock.ts';
import { AgentError } from '../../agent/base/errors.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { shutdownMedia } from '../../agent/call/libdatachannel.ts';
import { WebRtcTransport } from '../../agent/call/webrtc.ts';
import { device, MediaStation, pair } from './media-station.ts';

/**
 * The other process of webrtc.test.ts: what it does is its first argument. Speaks to its parent
 * over the IPC channel.
 */

const say = (message: unknown) => process.send?.(message);

/** A station that answers; signals come and go over IPC. */
function answer(): void {
  const station = new MediaStation({
    own: device('b'),
    send: (_to, bytes) => say({ signal: Buffer.from(bytes).toString('base64') }),
  });
  process.on('message', ({ signal }: { signal: string }) => {
    station.driver.receiveSignal(new Uint8Array(Buffer.from(signal, 'base64')), device('a'));
  });
  say({ ready: true });
}

/** One call in this process, then nothing more to do: does it end? */
async function callAndEnd(): Promise<void> {
  const { a, b } = pair(1);
  await a.driver.place({ peer: 'b', accountId: device('b').accountId });
  await Promise.all([a.event('call.answered'), b.event('call.answered')]);
  await a.driver.shutdown();
  await b.event('call.ended');
  say({ done: performance.now() });
  process.disconnect();
}

/** An exception in a handler of ours must reach Node, not the library. */
async function throwInHandler(): Promise<void> {
  const { a, b } = pair(1);
  process.once('uncaughtException', (error) => {
    say({ caught: error.message });
    shutdownMedia();
    process.disconnect();
    process.exit(0);
  });
  await a.driver.place({ peer: 'b', accountId: device('b').accountId });
  await Promise.all([a.event('call.answered'), b.event('call.answered')]);
  a.connection?.onRtp(() => {
    throw new Error('a bug of ours');
  });
}

/** A machine that the library has no binary for. */
async function unavailable(): Promise<void> {
  Object.defineProperty(process, 'arch', { value: 'arm' });
  const options = { iceServers: [], clock: systemClock, random: systemRandom };
  try {
    await new WebRtcTransport(options).prepare();
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    say({ code: error.code, message: error.message, hint: error.hint });
  }
  process.disconnect();
}

const ROLES = { answer, callAndEnd, throwInHandler, unavailable };
await ROLES[process.argv[2] as keyof typeof ROLES]();
