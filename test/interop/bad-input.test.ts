import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { chownSync, readFileSync } from 'node:fs';
import { chmod, cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CommandOutcome, Workshop, waitFor } from './harness.ts';
import { buildBundle, execute, freshEnvironment } from './outside.ts';

/** What a person can do wrong, and the one sentence and exit code that come of it. */

const PORT = 48_000;
const BUSY_PORT = 48_001;

let workshop: Workshop;
let main: string;
let folder: string;
let busy: Socket;

beforeAll(async () => {
  workshop = await Workshop.open('bad-input');
  folder = workshop.folder;
  main = await buildBundle(folder);
  await write('door.yaml', [
    'version: 1',
    'state: ./state',
    'control: ./control.sock',
    `dht: { port: ${PORT} }`,
    "audio: { device: 'null' }",
    'mqtt: { enabled: false }',
  ]);
  await write('broken.wav', ['RIFFnonsense']);
  await write('a-file', ['']);
  expect(await doorward('init', '-c', 'door.yaml')).toMatchObject({ code: 0 });
  busy = createSocket('udp4').bind(BUSY_PORT, '127.0.0.1');
  await once(busy, 'listening');
}, 60_000);

afterAll(async () => {
  busy.close();
  await workshop.close();
});

async function write(name: string, lines: readonly string[]): Promise<void> {
  await writeFile(join(folder, name), `${lines.join('\n')}\n`);
}

function doorward(...argv: string[]): Promise<CommandOutcome> {
  return as([], argv);
}

/** @param prefix what the command begins with */
function as(prefix: readonly string[], argv: readonly string[]): Promise<CommandOutcome> {
  const surroundings = { cwd: folder, env: freshEnvironment(folder) };
  return execute([...prefix, process.execPath, main, ...argv], surroundings, 20_000);
}

const door = (...settings: string[]) => [
  ...['run', '-c', 'door.yaml'],
  ...settings.flatMap((setting) => ['--set', setting]),
];

/** `doorward: SENTENCE`, and perhaps a line with what to do. Nothing else, such as a stack trace. */
const SENTENCE = /^doorward: (.+)\n(?: {2}\S.*\n)?$/;

function expectRefusal(outcome: CommandOutcome, code: number, sentence: string): void {
  expect(outcome).toMatchObject({ code, stderr: expect.stringMatching(SENTENCE) });
  expect(SENTENCE.exec(outcome.stderr)?.[1]).toBe(sentence);
}

describe('a configuration', () => {
  test.each([
    [
      'with a typo',
      ['node: front', 'dht: { bind: 127.0.0.1, prot: 4222 }'],
      '2:25  dht.prot: unknown key, did you mean "port"?',
    ],
    [
      'with a broker that is no url',
      ['mqtt:', '  url: the broker'],
      '2:8  mqtt.url: must be mqtt://host:port or mqtts://host:port; user and password go into ' +
        '"username" and "password_file"',
    ],
    [
      'with a switch of the DHT set wrongly',
      ['dht: { rate_limit: false }'],
      '1:20  dht.rate_limit: must be on or off, not false',
    ],
    [
      'with a second address that is none of IPv6',
      ['dht: { bind6: 0.0.0.0 }'],
      '1:15  dht.bind6: must be an IPv6 address, not "0.0.0.0"',
    ],
    [
      'with a contact whose id is none',
      ['contacts:', '  alice: { id: 0123 }'],
      '2:16  contacts.alice.id: must be the 40 hex digits that "doorward id" prints over there, ' +
        'not "0123"',
    ],
  ])('%s is told by file, line and key: 78', async (_what, lines, problem) => {
    await write('bad.yaml', ['# the door', ...lines]);
    const [line = '', ...rest] = problem.split(':');
    const said = `bad.yaml:${Number(line) + 1}:${rest.join(':')}\n1 problem, nothing was started.\n`;
    for (const argv of [
      ['run', '-c', 'bad.yaml'],
      ['-c', 'bad.yaml', 'run'],
      ['check-config', 'bad.yaml'],
    ]) {
      expect(await doorward(...argv)).toEqual({ code: 78, stdout: '', stderr: said });
    }
    expect(await doorward('status', '-c', 'bad.yaml')).toEqual({
      code: 78,
      stdout: '',
      stderr: `doorward: ${said}`,
    });
  });

  test('that is not there is told: 78', async () => {
    expect(await doorward('run', '-c', 'nowhere.yaml')).toEqual({
      code: 78,
      stdout: '',
      stderr:
        'nowhere.yaml  cannot be read: there is no such file\n1 problem, nothing was started.\n',
    });
  });
});

describe('what the configuration names', () => {
  const inFolder = (text: string) => text.replaceAll('FOLDER', folder);

  test.each([
    [
      'a UDP port in use',
      [`dht.port=${BUSY_PORT}`],
      75,
      `UDP 127.0.0.1:${BUSY_PORT} is in use by another program`,
    ],
    [
      'an address of another machine',
      ['dht.bind=192.0.2.1'],
      75,
      `UDP 192.0.2.1:${PORT} cannot be opened: this machine does not have that address`,
    ],
    [
      'a state folder below a file',
      ['state=a-file/state'],
      73,
      "the state folder FOLDER/a-file/state cannot be used: ENOTDIR: not a directory, mkdir 'FOLDER/a-file/state'",
    ],
    [
      'a control socket that is a file',
      ['control=a-file'],
      73,
      'the control socket cannot be made: FOLDER/a-file is there and is no socket',
    ],
    [
      'a broken WAV to say',
      ['audio.device=file', 'audio.input=broken.wav'],
      78,
      'FOLDER/broken.wav is not a WAV file',
    ],
    [
      'no WAV to say',
      ['audio.device=file', 'audio.input=nowhere.wav'],
      78,
      'FOLDER/nowhere.wav cannot be read: there is no such file or folder',
    ],
    [
      'a recording below a file',
      ['audio.device=file', 'audio.output=a-file/heard.wav'],
      78,
      'FOLDER/a-file/heard.wav cannot be written: a part of its path is no folder',
    ],
    [
      'a recording that is a folder',
      ['audio.device=file', 'audio.output=state'],
      78,
      'FOLDER/state cannot be written: it is a folder',
    ],
    [
      "no file with the broker's password",
      [
        'mqtt.enabled=true',
        'mqtt.url=mqtt://127.0.0.1',
        'mqtt.username=a',
        'mqtt.password_file=nowhere',
      ],
      78,
      "FOLDER/nowhere cannot be read: ENOENT: no such file or directory, open 'FOLDER/nowhere'",
    ],
    [
      'an authority that is no certificate',
      ['mqtt.enabled=true', 'mqtt.url=mqtts://127.0.0.1', 'mqtt.ca_file=broken.wav'],
      78,
      'FOLDER/broken.wav holds no certificate',
    ],
  ])('%s: one sentence', async (_what, settings, code, sentence) => {
    expectRefusal(await doorward(...door(...settings)), code, inFolder(sentence));
    // Nothing is left that would keep the next start from its place.
    expect(await readdir(folder)).not.toContain('control.sock');
  });

  test('a node of the DHT alone says the same: one sentence', async () => {
    expectRefusal(
      await doorward(...door(`dht.port=${BUSY_PORT}`), '--dht-only'),
      75,
      `UDP 127.0.0.1:${BUSY_PORT} is in use by another program`,
    );
    expectRefusal(
      await doorward(...door('state=a-file/state'), '--dht-only'),
      73,
      `the state folder ${folder}/a-file/state cannot be used: ENOTDIR: not a directory, mkdir '${folder}/a-file/state'`,
    );
  });

  test('a TURN password that is not there: one sentence', async () => {
    const server = '{ host: 127.0.0.1, username: a, password_file: nowhere }';
    await write('turn.yaml', [
      await readFile(join(folder, 'door.yaml'), 'utf8'),
      `ice: { turn: [${server}] }`,
    ]);
    expectRefusal(
      await doorward('run', '-c', 'turn.yaml'),
      78,
      `${folder}/nowhere cannot be read: ENOENT: no such file or directory, open '${folder}/nowhere'`,
    );
  });
});

describe('a folder that is not ours', () => {
  /** Root may do everything, so it goes without that: then a folder of somebody else is closed to it, too. */
  const isRoot = process.getuid?.() === 0;
  const powerless = isRoot
    ? ['setpriv', '--bounding-set=-dac_override,-dac_read_search', '--inh-caps=-all']
    : [];
  const close = async (path: string) => {
    if (isRoot) chownSync(path, 65_534, 65_534);
    await chmod(path, isRoot ? 0o700 : 0o500);
  };

  test('is refused as state, to run and to make an identity: 77', async () => {
    await mkdir(join(folder, 'theirs'));
    await close(join(folder, 'theirs'));
    for (const argv of [
      door('state=theirs'),
      ['id', '--state', 'theirs'],
      door('state=theirs/own'),
    ]) {
      const outcome = await as(powerless, argv);
      expect(outcome).toMatchObject({ code: 77, stderr: expect.stringMatching(SENTENCE) });
      expect(outcome.stderr).toMatch(/^doorward: the state folder \S+ cannot be used: EACCES: /);
    }
  });

  test('is refused as the place of an identity, which is left as it is: 77', async () => {
    await cp(join(folder, 'state'), join(folder, 'half'), { recursive: true });
    await close(join(folder, 'half/identity'));
    const outcome = await as(powerless, door('state=half'));
    expect(outcome).toMatchObject({ code: 77, stderr: expect.stringMatching(SENTENCE) });
    expect(await readdir(join(folder, 'half'))).toEqual(['identity']);
  });
});

describe('an identity', () => {
  test.each(['chain.pem', 'device.key'])(
    'with a damaged %s is refused and kept: 78',
    async (name) => {
      const state = join(folder, `damaged-${name}`);
      await cp(join(folder, 'state'), state, { recursive: true });
      const before = await filesOf(join(state, 'identity'));
      await writeFile(join(state, 'identity', name), 'garbage');
      for (let start = 0; start < 2; start++) {
        const { code, stderr } = await doorward(...door(`state=${state}`));
        expect(code).toBe(78);
        // The first start says as well where it put what it found.
        const said = stderr.split('\n').filter((line) => !/ warn .* kept as /.test(line));
        expect(said.join('\n')).toMatch(SENTENCE);
        expect(said[0]).toBe(
          `doorward: the identity of this station is damaged: ${state}/identity/${name} is missing or unreadable`,
        );
      }
      const after = await filesOf(join(state, 'identity'));
      const aside = [...after.keys()].find((file) => file.startsWith(`${name}.damaged-`)) ?? '';
      before.delete(name);
      expect(after).toEqual(new Map([...before, [aside, 'garbage']]));
    },
  );

  async function filesOf(path: string): Promise<Map<string, string>> {
    const names = await readdir(path);
    return new Map(names.map((name) => [name, readFileSync(join(path, name), 'utf8')]));
  }
});

describe('a command', () => {
  test.each([
    [['frobnicate'], 'there is no such command or option: frobnicate'],
    [['stauts'], 'Did you mean status?'],
    [['status', '--loud'], 'there is no such command or option: loud'],
    [['run', '--loud'], "Unknown option '--loud'"],
    [['call'], 'too few words: got 0, need at least 1'],
    [[], 'say what to do'],
    [['call', 'bob', '--play', 'broken.wav'], '--play: broken.wav is not a WAV file'],
    [['dht'], 'say what to do: "doorward dht --help" lists it'],
    [['dht', 'put', 'k'], 'too few words: got 1, need at least 2'],
    [['dht', 'put', 'k', 'v', '--type', 'text'], '--type: "text" is not a number from 0 to 65535'],
    [['dht', 'ping', 'a:0'], '"a:0" is not host:port'],
    [
      ['dht', 'put-signed', 'k', 'v', '--bootstrap', '127.0.0.1'],
      'a node for this command has no identity to sign with',
    ],
  ])('that makes no sense, %o: 2', async (argv, sentence) => {
    expectRefusal(await doorward(...argv), 2, sentence);
  });

  test('whose recording cannot be made: 73', async () => {
    expectRefusal(
      await doorward('call', 'bob', '--record', 'a-file/heard.wav'),
      73,
      '--record: a-file/heard.wav cannot be written: a part of its path is no folder',
    );
  });

  test('for a station that does not run: 69', async () => {
    expectRefusal(
      await doorward('status', '-c', 'door.yaml'),
      69,
      `no station answers at ${folder}/control.sock`,
    );
    expectRefusal(
      await doorward('dht', 'get', 'k', '-c', 'door.yaml'),
      69,
      `no station answers at ${folder}/control.sock`,
    );
  });
});

test('a station whose log cannot be written runs on', async () => {
  const words = [process.execPath, main, ...door(`dht.port=${PORT + 2}`)];
  const script = 'cd "$0" && exec "$@" >/dev/full 2>&1';
  const running = workshop.start('bash', ['-c', script, folder, ...words]);
  await waitFor('status', async () => (await doorward('status', '-c', 'door.yaml')).code === 0);
  running.child.kill('SIGTERM');
  expect(await running.exited).toBe(0);
});

describe('a running station', () => {
  const ID = '0123456789abcdef0123456789abcdef01234567';

  beforeAll(async () => {
    const args = [main, 'run', '-c', join(folder, 'door.yaml')];
    const running = workshop.start(process.execPath, args, freshEnvironment(folder));
    await waitFor('ready', () => running.output.includes('is ready'));
  });

  test.each([
    [
      'a second one at its socket',
      ['run'],
      75,
      () => `a station already answers at ${folder}/control.sock`,
    ],
    [
      'a filter that cannot be read',
      ['dht', 'get', 'k', '--where', 'color=red'],
      2,
      () => '"color=red" is no filter',
    ],
    [
      'a value that is too large',
      ['dht', 'put', 'k', 'v'.repeat(65_537)],
      2,
      () => '65537 bytes do not fit into one value of the DHT',
    ],
    [
      'a value that nobody stores',
      ['dht', 'put', 'k', 'v', '--id', '5'],
      4,
      () => 'no other node has stored the value with the id 5',
    ],
    ['a key with nothing', ['dht', 'get', ID], 6, () => `nothing is stored under ${ID}`],
    [
      'a permanent value that is none',
      ['dht', 'cancel', ID, '5'],
      6,
      () => `no permanent value with the id 5 was put under ${ID} here`,
    ],
    [
      'a value for nobody that is known',
      ['dht', 'put-encrypted', 'k', 'bob', 'v'],
      6,
      () => 'there is no contact "bob", nor is it the id of a device',
    ],
    [
      'a call to nobody',
      ['call', 'bob'],
      6,
      () => 'there is no contact "bob": doorward contact list shows who there is',
    ],
    [
      'a message to nobody',
      ['send', 'bob', 'hello'],
      6,
      () => 'there is no contact "bob": doorward contact list shows who there is',
    ],
    [
      'the end of a contact that is none',
      ['contact', 'remove', 'bob'],
      6,
      () => 'there is no contact "bob"',
    ],
    [
      'a contact with a bad id',
      ['contact', 'add', 'bob', '0123'],
      2,
      () => '"0123" is not a station\'s id',
    ],
    [
      'a contact with a bad name',
      ['contact', 'add', 'unknown', ID],
      2,
      () => '"unknown" cannot be a contact\'s name',
    ],
    [
      'a right that there is not',
      ['contact', 'add', 'bob', ID, '--can', 'fly'],
      2,
      () => '--can: "fly" is not one of ring, auto_answer',
    ],
    ['nobody at all', ['call', ''], 2, () => 'to: must not be empty'],
    ['an answer where nobody rings', ['answer'], 6, () => 'nobody rings'],
  ])('refuses %s, and runs on', async (_what, argv, code, sentence) => {
    expectRefusal(await doorward(...argv, '-c', 'door.yaml'), code, sentence());
    expect(await doorward('contact', 'list', '-c', 'door.yaml')).toEqual({
      code: 0,
      stdout: 'no contacts\n',
      stderr: '',
    });
  });
});
