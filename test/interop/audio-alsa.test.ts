import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Alsa } from '../../agent/audio/alsa-pcm.ts';
import { runChild, withoutLibrary } from './audio-child.ts';

/**
 * libasound without hardware: an ALSA configuration of our own, with cards that are files. They have no clock, so this is
 * about calls, states and samples, not about time (that is test/audio/alsa-session.test.ts).
 */
let folder: string;
let config: Record<string, string>;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'doorward-alsa-'));
  const path = join(folder, 'asound.conf');
  const input = new Int16Array(48_000 * 60).fill(4321);
  writeFileSync(join(folder, 'in.raw'), Buffer.from(input.buffer));
  writeFileSync(
    path,
    `
pcm.nothing { type null }
pcm.mic { type file slave.pcm nothing file "/dev/null" format raw infile "${join(folder, 'in.raw')}" }
pcm.speaker { type file slave.pcm nothing file "${join(folder, 'out.raw')}" format raw }
pcm.door { type asym capture.pcm mic playback.pcm speaker }
pcm.halfdoor { type asym playback.pcm speaker }
pcm.nosuch { type hw card 31 }
`,
  );
  config = { ALSA_CONFIG_PATH: path };
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('ALSA', () => {
  test('what is written arrives at the card, what the card has is captured', async () => {
    const { result, stderr } = await runChild('audio-alsa-child.ts', ['door'], config);
    expect(stderr).toBe('');
    expect(result).toMatchObject({
      description: 'ALSA door',
      states: ['ok'],
      captured: [4321, 4321, 4321, 4321],
      droppedFrames: 0,
      xruns: 0,
    });
    const bytes = readFileSync(join(folder, 'out.raw'));
    const heard = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
    expect(heard.length).toBe(50 * 960);
    for (let i = 0; i < heard.length; i++) expect(heard[i]).toBe(7000 + (i % 960));
  });

  test('a card with playback alone is used, and says so', async () => {
    const { result } = await runChild('audio-alsa-child.ts', ['halfdoor'], config);
    expect(result).toMatchObject({
      description: expect.stringMatching(/^ALSA halfdoor, no capture: /),
      states: ['no_capture'],
      loudFrames: 0,
      droppedFrames: 0,
    });
  });

  test.each(['nosuch', 'plughw:CARD=Device', 'name that\nis none'])(
    'without a card "%s" the stand-in greets, nothing is written to stderr, nothing crashes',
    async (card) => {
      const { result, stderr } = await runChild('audio-alsa-child.ts', [card], config);
      expect(stderr).toBe('');
      expect(result).toMatchObject({
        description: expect.stringMatching(
          /^stand-in greeting: the sound card ".*" does not open/s,
        ),
        states: ['both_missing'],
      });
      expect((result as { loudFrames: number }).loudFrames).toBeGreaterThan(10);
    },
  );

  test('without libasound the stand-in greets and names the Debian package', async () => {
    const { result } = await runChild(
      'audio-alsa-child.ts',
      ['default'],
      withoutLibrary(folder, 'libasound.so.2'),
    );
    expect(result).toMatchObject({
      description:
        'stand-in greeting: libasound.so.2 cannot be loaded; apt install libasound2 (Debian 13: libasound2t64)',
      states: ['both_missing'],
    });
  });

  test('opening and closing a card many times leaks no memory and no descriptor', async () => {
    process.env['ALSA_CONFIG_PATH'] = config['ALSA_CONFIG_PATH'];
    const alsa = Alsa.load();
    const round = async (times: number) => {
      for (let i = 0; i < times; i++) {
        const pcm = await alsa.open('speaker', 'playback');
        expect(pcm.bufferSamples).toBeGreaterThan(960);
        await pcm.close();
        await expect(alsa.open('nosuch', 'capture')).rejects.toMatchObject({ name: 'PcmError' });
      }
    };
    await round(50);
    const before = process.memoryUsage().rss;
    await round(500);
    expect(process.memoryUsage().rss - before).toBeLessThan(10e6);
  });
});
