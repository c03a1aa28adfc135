import { openAudioDevice } from '../../agent/audio/open-device.ts';
import { silentLogger } from '../../agent/base/log.ts';

/** Opens ALSA card argv[2], speaks 50 frames into it, and prints what came of it. */
const frame = new Int16Array(960);
for (let i = 0; i < frame.length; i++) frame[i] = 7000 + i;

const device = await openAudioDevice(
  { device: 'alsa', card: process.argv[2] },
  { log: silentLogger },
);
const session = await device.open();
const states: string[] = [];
const captured: number[] = [];
let loudFrames = 0;
session.start(
  (pcm) => {
    if (captured.length < 4) captured.push(pcm[0] ?? 0);
    if (pcm.some((sample) => Math.abs(sample) > 1000)) loudFrames++;
  },
  (state) => states.push(state),
);
for (let i = 0; i < 50; i++) {
  session.write(frame);
  await new Promise((resolve) => setTimeout(resolve, 20));
}
const stats = session.stats();
await session.close();
process.stdout.write(
  JSON.stringify({ description: device.description, states, captured, loudFrames, ...stats }),
);
