import { readFileSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readWavFile } from '../../agent/audio/wav-file.ts';
import { VERSION } from '../../agent/base/version.ts';
import { compareSpeech } from '../audio/compare.ts';
import { type CommandOutcome, type Program, Workshop, waitFor } from './harness.ts';
import { buildBundle, execute, freshEnvironment, ROOT } from './outside.ts';

/** The bundle as a board has it: a folder anywhere, and beside it no packages but those that it asks for. */

const PORT = 48_030;
const BROKER = 48_031;

let workshop: Workshop;
let main: string;
let env: NodeJS.ProcessEnv;
let station: Program;

beforeAll(async () => {
  workshop = await Workshop.open('bundle');
  main = await buildBundle(workshop.folder);
  env = freshEnvironment(workshop.folder);
}, 60_000);

afterAll(() => workshop.close());

function doorward(...argv: string[]): Promise<CommandOutcome> {
  return execute([process.execPath, main, ...argv], { cwd: workshop.folder, env });
}

test('knows its version and its commands', async () => {
  expect(await doorward('version')).toEqual({
    code: 0,
    stdout: `doorward ${VERSION} (node ${process.version})\n`,
    stderr: '',
  });
  const help = await doorward('--help');
  expect(help).toMatchObject({ code: 0, stderr: '' });
  expect(help.stdout).toContain('doorward call <to>');
});

test('brings the example configuration, and makes an identity', async () => {
  const made = await doorward('init', '-c', 'new.yaml');
  expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^[0-9a-f]{40}\n$/) });
  expect(readFileSync(join(workshop.folder, 'new.yaml'), 'utf8')).toBe(
    readFileSync(join(ROOT, 'config/doorward.yaml'), 'utf8'),
  );
  expect(await doorward('check-config', 'new.yaml')).toMatchObject({ code: 0 });
});

test('runs a station with its own broker, whose greeting a caller hears', async () => {
  await writeFile(
    join(workshop.folder, 'door.yaml'),
    [
      'version: 1',
      `dht: { port: ${PORT} }`,
      // No such card anywhere: the stand-in greets.
      'audio: { device: alsa, card: nowhere }',
      `mqtt: { embedded: true, url: "mqtt://127.0.0.1:${BROKER}" }`,
      '',
    ].join('\n'),
  );
  station = workshop.start(
    process.execPath,
    [main, 'run', '-c', join(workshop.folder, 'door.yaml')],
    env,
  );
  await waitFor('ready', () => station.output.includes('--for 10s') || !station.alive);
  await waitFor('the broker', () => station.output.includes('connected to the broker'));
  const published = await execute(
    ['mosquitto_sub', '-p', `${BROKER}`, '-t', 'doorward/+/availability', '-C', '1', '-W', '10'],
    { cwd: workshop.folder, env },
  );
  expect(published.stdout).toBe('online\n');

  const caller = await doorward('id', '--state', 'caller', '--json');
  const { id } = JSON.parse(caller.stdout) as { id: string };
  expect(await doorward('contact', 'add', 'caller', id, '--can', 'auto_answer')).toMatchObject({
    code: 0,
  });
  const status = JSON.parse((await doorward('status', '--json')).stdout);
  expect(status).toMatchObject({
    pid: station.pid,
    mqtt: { mode: 'embedded', connected: true },
    audio: { description: expect.stringContaining('stand-in greeting') },
  });
  const call = await doorward(
    ...['call', status.id, '--state', 'caller', '--record', 'heard.wav', '--for', '6s'],
  );
  expect(call, call.stderr).toMatchObject({ code: 0 });
  const match = compareSpeech(
    await readWavFile(join(ROOT, 'agent/audio/greeting.wav')),
    await readWavFile(join(workshop.folder, 'heard.wav')),
  );
  expect(match.correlation).toBeGreaterThan(0.85);

  station.child.kill('SIGTERM');
  expect(await station.exited).toBe(0);
  expect(station.output).not.toMatch(
    /Dynamic require|is not a (?:constructor|function)|Cannot find/,
  );
});

test('has the codec for machines without libopus', async () => {
  const chunk = (await readdir(join(main, '..'))).find((name) => /^opus-wasm-.*\.js$/.test(name));
  const url = pathToFileURL(join(main, '..', chunk ?? '')).href;
  const script = `
    const { openWasmOpus } = await import('${url}');
    const codec = (await openWasmOpus()).open();
    const out = new Int16Array(960);
    const packet = codec.encode(Int16Array.from(out, (_, i) => 8000 * Math.sin(i / 20)));
    console.log(codec.decode(packet, out), out.some((sample) => Math.abs(sample) > 1000));
  `;
  expect(
    await execute([process.execPath, '--input-type=module', '-e', script], {
      cwd: workshop.folder,
      env,
    }),
  ).toEqual({ code: 0, stdout: 'true true\n', stderr: '' });
});
