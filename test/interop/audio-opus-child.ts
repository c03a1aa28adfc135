import { readFileSync } from 'node:fs';
import { loadOpus } from '../../agent/audio/load-opus.ts';
import { SILENCE } from '../../agent/audio/paced-session.ts';
import { parseWav } from '../../agent/audio/wav.ts';
import { WavSource } from '../../agent/audio/wav-source.ts';
import { compareSpeech } from '../audio/compare.ts';
import { virtualCall } from '../audio/virtual-call.ts';

/** Loads whatever Opus there is and speaks argv[2] over a bad link with it. */
const said = parseWav(readFileSync(process.argv[2] ?? ''));
const opus = await loadOpus();
const { timing, b, toB } = virtualCall(
  new WavSource(said),
  SILENCE,
  { delayMs: 30, jitterMs: 30, loss: 0.05 },
  () => opus.open(),
);
timing.advance(6000);
const { concealed, recovered } = b.pipeline.stats();
process.stdout.write(
  JSON.stringify({
    description: opus.description,
    ...compareSpeech(said, b.recorder.wav()),
    sent: toB.sent,
    lost: toB.lost,
    concealed,
    recovered,
  }),
);
