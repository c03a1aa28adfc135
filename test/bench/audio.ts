import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { FRAME_SAMPLES } from '../../agent/audio/device.ts';
import { JitterBuffer } from '../../agent/audio/jitter-buffer.ts';
import { loadOpus } from '../../agent/audio/load-opus.ts';
import type { OpusBackend } from '../../agent/audio/opus.ts';
import { openWasmOpus } from '../../agent/audio/opus-wasm.ts';
import { systemTiming } from '../../agent/audio/pace.ts';
import { NOWHERE, PacedSession } from '../../agent/audio/paced-session.ts';
import { VoicePipeline } from '../../agent/audio/pipeline.ts';
import { Resampler } from '../../agent/audio/resample.ts';
import { decodeRtp, RTP_HEADER_BYTES, writeRtpHeader } from '../../agent/audio/rtp.ts';
import { parseWav } from '../../agent/audio/wav.ts';
import { WavSource } from '../../agent/audio/wav-source.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { GREETING_PATH, greeting } from '../audio/speech.ts';

/** The audio path alone: what one frame costs, and one call without network. OPUS_FORCE_WASM=1 shows WebAssembly. */

const CALL_S = 10;

function perCall(times: number, work: (i: number) => void): string {
  for (let i = 0; i < times / 4; i++) work(i);
  const start = performance.now();
  for (let i = 0; i < times; i++) work(i);
  return `${((1000 * (performance.now() - start)) / times).toFixed(1)} µs`;
}

function benchCodec(backend: OpusBackend): void {
  const { samples } = greeting();
  const frames = Math.floor(samples.length / FRAME_SAMPLES);
  const frameOf = (i: number) =>
    samples.subarray((i % frames) * FRAME_SAMPLES, ((i % frames) + 1) * FRAME_SAMPLES);
  const codec = backend.open();
  const packets = Array.from({ length: frames }, (_, i) => codec.encode(frameOf(i)).slice());
  const packetOf = (i: number) => packets[i % frames] ?? new Uint8Array(0);
  const out = new Int16Array(FRAME_SAMPLES);
  const bytes = packets.reduce((sum, packet) => sum + packet.length, 0);
  console.log(`${backend.description}: ${((bytes * 8 * 50) / frames / 1000).toFixed(1)} kb/s`);
  console.log(`  encode  ${perCall(2000, (i) => codec.encode(frameOf(i)))}`);
  console.log(`  decode  ${perCall(2000, (i) => codec.decode(packetOf(i), out))}`);
  console.log(`  recover ${perCall(2000, (i) => codec.recover(packetOf(i), out))}`);
  console.log(`  conceal ${perCall(2000, () => codec.conceal(out))}`);
  codec.close();
}

function benchParts(): void {
  const packet = new Uint8Array(RTP_HEADER_BYTES + 60).fill(0xf8);
  const buffer = new JitterBuffer();
  const receive = (i: number) => {
    writeRtpHeader(packet, {
      payloadType: 111,
      marker: false,
      sequenceNumber: i & 0xffff,
      timestamp: 960 * i,
      ssrc: 1,
    });
    buffer.insert(decodeRtp(packet), 20 * i);
    buffer.take(20 * i + 10);
  };
  console.log(`RTP and jitter buffer, per packet: ${perCall(100_000, receive)}`);
  const { samples } = parseWav(readFileSync(GREETING_PATH));
  const out = new Int16Array(FRAME_SAMPLES);
  for (const rateHz of [24_000, 44_100]) {
    const resampler = new Resampler(rateHz, 48_000);
    const cost = perCall(1000, (i) => resampler.fill(samples, (i % 150) * FRAME_SAMPLES, out));
    console.log(`resample ${rateHz} Hz, per frame: ${cost}`);
  }
}

/** Two stations in one process, each says and hears, packets handed over directly. */
async function benchCall(backend: OpusBackend): Promise<void> {
  const wav = parseWav(readFileSync(GREETING_PATH));
  const pipelines: VoicePipeline[] = [];
  for (const far of [1, 0]) {
    pipelines.push(
      new VoicePipeline({
        session: new PacedSession({
          source: new WavSource(wav),
          sink: NOWHERE,
          timing: systemTiming,
        }),
        codec: backend.open(),
        ssrc: far,
        random: systemRandom,
        sendRtp: (packet) => pipelines[far]?.receiveRtp(packet, performance.now()),
      }),
    );
  }
  for (const pipeline of pipelines) pipeline.start();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, CALL_S * 1000));
  const { user, system } = process.cpuUsage(before);
  const share = (100 * (user + system)) / (CALL_S * 1e6) / pipelines.length;
  const { received, concealed, delayMs } = (pipelines[0] as VoicePipeline).stats();
  console.log(
    `one call, ${backend.description}: ${share.toFixed(2)} % of a core, ${received} packets, ` +
      `${concealed} concealed, ${delayMs.toFixed(0)} ms delay`,
  );
  for (const pipeline of pipelines) await pipeline.stop();
}

export async function benchAudio(): Promise<void> {
  const rss = () => process.memoryUsage().rss / 1e6;
  benchParts();
  const before = rss();
  const best = await loadOpus();
  benchCodec(best);
  console.log(`  resident memory +${(rss() - before).toFixed(1)} MB`);
  benchCodec(await openWasmOpus());
  await benchCall(best);
  await benchCall(await openWasmOpus());
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await benchAudio();
