import { setTimeout as sleep } from 'node:timers/promises';
import { shutdownMedia } from '../../agent/call/libdatachannel.ts';
import { openObjects } from '../../agent/call/native-peer.ts';
import { decodeSignal } from '../../agent/call/signal.ts';
import { device, pair } from '../call/media-station.ts';

/**
 * Calls between two stations of this process on loopback, RTP both ways 50 times a second, without
 * codec: time from dialling to media on the caller's side, bytes of the signals, memory. Prints,
 * never asserts.
 */

const SIGNAL_DELAY_MS = 20;
const CALLS = 40;
const TALK_MS = 100;

const mb = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
const gc = (globalThis as { gc?: () => void }).gc ?? (() => {});

function rss(): number {
  gc();
  return process.memoryUsage().rss;
}

const idle = rss();
const connectMs: number[] = [];
const sizes = new Map<string, Set<number>>();
let secondAttempts = 0;
let failed = 0;
let inCall = 0;
let afterFirst = 0;

for (let i = 0; i < CALLS; i++) {
  const { a, b, sent } = pair(SIGNAL_DELAY_MS);
  const start = performance.now();
  await a.driver.place({ peer: 'b', accountId: device('b').accountId });
  const answered = await Promise.race([
    a.event('call.answered').then(() => true),
    a.event('call.failed').then(() => false),
  ]);
  if (answered) connectMs.push(performance.now() - start);
  else failed++;
  await sleep(TALK_MS);
  if (i === 0) inCall = rss();
  a.driver.hangup();
  await (answered ? b.event('call.ended') : sleep(0));
  while (openObjects() > 0) await sleep(5);
  if (i === 0) afterFirst = rss();
  for (const bytes of sent) {
    const signal = decodeSignal(bytes);
    const key = `${signal.kind}${'description' in signal ? `, ${signal.description.candidates.length} candidate` : ''}`;
    sizes.set(key, (sizes.get(key) ?? new Set()).add(bytes.length));
    if ('attempt' in signal && signal.attempt > 1 && signal.kind === 'offer') secondAttempts++;
  }
}

connectMs.sort((x, y) => x - y);
const at = (share: number) => (connectMs[Math.floor(connectMs.length * share)] ?? 0).toFixed(0);
process.stdout.write(
  `${CALLS} calls, signals take ${SIGNAL_DELAY_MS} ms each way\n` +
    `dial to media: median ${at(0.5)} ms, 90 % ${at(0.9)} ms, most ${connectMs.at(-1)?.toFixed(0)} ms; ` +
    `${secondAttempts} needed a second connection, ${failed} failed\n` +
    [...sizes].map(([kind, bytes]) => `${kind}: ${[...bytes].join(', ')} bytes\n`).join('') +
    `resident: ${mb(idle)} MB before, ${mb(inCall)} in the first call (both sides), ` +
    `${mb(afterFirst)} after it, ${mb(rss())} after all\n`,
);
shutdownMedia();
