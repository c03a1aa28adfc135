import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { AgentError } from '../../agent/base/errors.ts';
import { VERSION } from '../../agent/base/version.ts';
import type { ControlHandlers } from '../../agent/control/server.ts';
import { STATION_ID } from '../control/fake-station.ts';
import { FakeStation, FakeWorld } from './fake-world.ts';

const world = (handlers: Partial<ControlHandlers> = {}) => new FakeWorld(new FakeStation(handlers));

describe('wrong usage', () => {
  test.each([
    [[], 'say what to do'],
    [['telepathy'], 'there is no such command or option: telepathy'],
    [['stauts'], 'Did you mean status?'],
    [['status', '--loud'], 'there is no such command or option: loud'],
    [['status', 'now'], 'there is no such command or option: now'],
    [['contact'], 'say what to do: contact add, contact list or contact remove'],
    [['contact', 'add', 'alice'], 'too few words: got 1, need at least 2'],
    [['contact', 'add', 'a', '0', '--can', 'fly'], '--can: "fly" is not one of ring, auto_answer'],
    [['call'], 'too few words: got 0, need at least 1'],
    [
      ['call', 'alice', '--for', '10'],
      '--for: "10" is not a time with its unit, such as 500ms, 10s, 5m or 1h',
    ],
    [['call', 'alice', '--play'], 'a value is missing after: play'],
    [['status', '-c', 'a', '-c', 'b'], '--config is given twice'],
    [['answer', '--', '--now', 'x'], 'there is no such command or option: x'],
    [['messages', '--limit', 'all'], '--limit: "all" is not a number from 1'],
  ])('%o', async (argv, message) => {
    const w = world();
    expect(await w.run(...argv)).toBe(2);
    expect(w.err).toBe(`doorward: ${message}\n  "doorward --help" lists the commands\n`);
    expect(w.out).toBe('');
  });
});

describe('help', () => {
  test('lists every command and the exit codes', async () => {
    const w = world();
    expect(await w.run('--help')).toBe(0);
    for (const command of [
      'init',
      'run',
      'id',
      'contact',
      'call <to>',
      'answer [call]',
      'hangup [call]',
      'send <to> <text>',
      'messages',
      'status',
      'events',
      'check-config [file]',
      'version',
    ]) {
      expect(w.out).toContain(`doorward ${command} `);
    }
    expect(w.out.replaceAll(/\s+/g, ' ')).toContain('78 configuration invalid');
    expect(w.err).toBe('');
  });

  test('of one command says its options', async () => {
    const w = world();
    expect(await w.run('call', '--help')).toBe(0);
    expect(w.out).toContain('--record');
  });
});

describe('commands', () => {
  test('version is that of the package', async () => {
    const w = new FakeWorld();
    expect(await w.run('version', '--json')).toBe(0);
    const manifest = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    );
    expect(manifest.version).toBe(VERSION);
    expect(JSON.parse(w.out)).toEqual({ version: VERSION, node: process.version });
  });

  test('id asks the station', async () => {
    const w = world();
    expect(await w.run('id')).toBe(0);
    expect(w.out).toBe(`${STATION_ID}\n`);
  });

  test('id --state makes an identity and asks nobody', async () => {
    const w = new FakeWorld();
    expect(await w.run('id', '--state', './phone')).toBe(0);
    expect(w.out).toBe(`${'c3'.repeat(20)}\n`);
    expect(w.err).toBe('making a new identity in ./phone\n');
  });

  test('contact add asks for the rights that were given', async () => {
    const station = new FakeStation();
    const w = new FakeWorld(station);
    const id = 'd4'.repeat(20);
    expect(await w.run('contact', 'add', 'bob', id, '--can', 'ring,auto_answer')).toBe(0);
    expect(w.out).toBe('bob may: ring, auto_answer\n');
    expect(station.requests).toEqual([
      { method: 'contact.add', params: { name: 'bob', id, can: ['ring', 'auto_answer'] } },
    ]);
    expect(station.isClosed).toBe(true);
  });

  test('a name of digits stays text', async () => {
    const station = new FakeStation();
    const w = new FakeWorld(station);
    await w.run('contact', 'add', '007', '1'.repeat(40));
    expect(station.requests[0]?.params).toEqual({ name: '007', id: '1'.repeat(40) });
  });

  test('contact list prints a table, or one object', async () => {
    const text = world();
    await text.run('contact', 'list');
    expect(text.out).toBe(`alice  ${'b2'.repeat(20)}  ring,auto_answer  config\n`);
    const json = world();
    await json.run('contact', 'list', '--json');
    expect(JSON.parse(json.out)).toMatchObject({ contacts: [{ name: 'alice' }] });
  });

  test('contact remove of nobody is "not found"', async () => {
    const w = world();
    expect(await w.run('contact', 'remove', 'zed')).toBe(6);
    expect(w.err).toBe('doorward: there is no contact "zed"\n');
  });

  test('answer and hangup tell what the station says', async () => {
    const w = world();
    expect(await w.run('answer')).toBe(6);
    expect(w.err).toBe('doorward: no call rings here\n');
    expect(await w.run('hangup', 'c1')).toBe(0);
    expect(w.out).toBe('hung up\n');
  });

  test('status shows the process and each part', async () => {
    const w = world();
    expect(await w.run('status')).toBe(0);
    expect(w.out).toContain('pid 4711, up 1 h 2 min, 71 MB');
    expect(w.out).toContain('connected, 3 nodes, udp 127.0.0.1:4222, network 0');
    const json = world();
    await json.run('status', '--json');
    expect(JSON.parse(json.out)).toMatchObject({ pid: 4711, stats: { control: { clients: 1 } } });
  });

  test('messages keep control characters from the terminal', async () => {
    const w = world({
      messages: async () => ({
        messages: [
          {
            message_id: 'm1',
            peer: 'alice',
            account_id: STATION_ID,
            state: 'received',
            text: 'hi\u001b[31m\nthere\u202e',
            unix_ms: Date.UTC(2026, 8, 1, 10, 15, 2),
          },
        ],
      }),
    });
    await w.run('messages');
    expect(w.out).toBe('2026-09-01 10:15:02Z  from alice  received  hi [31m there\n');
  });

  test('events prints one object per line until interrupted', async () => {
    const station = new FakeStation();
    const w = new FakeWorld(station);
    w.at(10, () => station.emit({ type: 'system', kind: 'started' }));
    w.at(20, () => w.interrupt());
    expect(await w.run('events', '--follow', '--type', 'system,call')).toBe(0);
    expect(w.out).toBe('{"type":"system","kind":"started"}\n');
    expect(station.requests[0]?.params).toEqual({ types: ['system', 'call'] });
  });

  test('events says when the station goes away', async () => {
    const station = new FakeStation();
    const w = new FakeWorld(station);
    w.at(10, () => station.die());
    expect(await w.run('events')).toBe(69);
  });
});

describe('send', () => {
  const message = (state: 'queued' | 'sent' | 'delivered' | 'failed', reason?: string) =>
    ({
      type: 'message',
      message: {
        message_id: 'm1',
        peer: 'alice',
        account_id: STATION_ID,
        state,
        text: 'hi',
        unix_ms: 0,
        ...(reason !== undefined && { reason }),
      },
    }) as const;

  test.each([
    ['delivered', 0, 'delivered\n'],
    ['failed', 4, 'failed: no_device\n'],
  ] as const)('ends when it is %s', async (state, exit, said) => {
    const station = new FakeStation();
    const w = new FakeWorld(station);
    w.at(5, () => station.emit(message('sent')));
    w.at(9, () => station.emit(message(state, state === 'failed' ? 'no_device' : undefined)));
    expect(await w.run('send', 'alice', 'hi')).toBe(exit);
    expect(w.out).toBe(said);
    expect(w.now).toBe(9);
  });

  test('hears of a state that comes before the answer', async () => {
    const station: FakeStation = new FakeStation({
      send: async () => {
        station.emit(message('delivered'));
        return { code: 'accepted', message: 'queued', data: { message_id: 'm1' } };
      },
    });
    expect(await new FakeWorld(station).run('send', 'alice', 'hi')).toBe(0);
  });

  test('leaves what takes long to the station', async () => {
    const w = world();
    expect(await w.run('send', 'alice', 'hi')).toBe(0);
    expect(w.out).toBe('queued: it goes out as soon as they can be reached\n');
    expect(w.now).toBe(10_000);
  });

  test('reads the text from standard input', async () => {
    const station = new FakeStation();
    const w = new FakeWorld(station);
    w.input = 'two\nlines\n';
    await w.run('send', 'alice', '-');
    expect(station.requests.at(-1)?.params).toEqual({ to: 'alice', text: 'two\nlines' });
    w.input = '\n';
    expect(await w.run('send', 'alice', '-')).toBe(2);
  });

  test.each([
    [['alice', '--', '-hello'], '-hello'],
    [['alice', '--', '--state'], '--state'],
    [['--', 'alice', '--'], '--'],
    [['alice', '0x10'], '0x10'],
    [['alice', "'quoted'"], "'quoted'"],
    [['alice', 'a  b'], 'a  b'],
  ])('takes %o as it is', async (words, text) => {
    const station = new FakeStation();
    const w = new FakeWorld(station);
    expect(await w.run('send', ...words)).toBe(0);
    expect(station.requests.at(-1)?.params).toEqual({ to: 'alice', text });
  });

  test('does not claim to have sent what dies with a station of its own', async () => {
    const w = new FakeWorld();
    expect(await w.run('send', 'alice', 'hi')).toBe(5);
    expect(w.privateStopped).toBe(1);
  });
});

describe('finding the station', () => {
  test('tells that none runs', async () => {
    const w = new FakeWorld();
    expect(await w.run('status')).toBe(69);
    expect(w.err).toBe(
      'doorward: no station answers at /home/pi/.local/state/doorward/control.sock\n',
    );
  });

  test('looks where the packaged service listens when nobody says otherwise', async () => {
    const w = new FakeWorld();
    w.stations.set('/run/doorward/control.sock', new FakeStation());
    expect(await w.run('id')).toBe(0);
    w.environment['DOORWARD_CONTROL'] = '/elsewhere.sock';
    expect(await w.run('id')).toBe(69);
  });

  test('tells that the service is not for us', async () => {
    const w = new FakeWorld();
    w.stations.set(
      '/run/doorward/control.sock',
      new AgentError('control-denied', 'no permission', 'use sudo'),
    );
    expect(await w.run('id', '--json')).toBe(77);
    expect(JSON.parse(w.out)).toEqual({
      error: { code: 'control-denied', message: 'no permission', hint: 'use sudo' },
    });
  });

  test('follows -c', async () => {
    const w = new FakeWorld();
    w.files.set('/srv/b.yaml', 'control: run/b.sock\n');
    w.stations.set('/srv/run/b.sock', new FakeStation());
    expect(await w.run('id', '-c', 'b.yaml')).toBe(0);
    expect(await w.run('-c', 'b.yaml', 'id')).toBe(0);
  });

  test('tells what is wrong with the configuration', async () => {
    const w = new FakeWorld();
    w.files.set('/srv/b.yaml', 'contorl: run/b.sock\n');
    expect(await w.run('id', '-c', 'b.yaml')).toBe(78);
    expect(w.err).toContain('b.yaml:1:1  contorl: unknown key, did you mean "control"?');
  });

  test('prints nothing with --quiet', async () => {
    const w = new FakeWorld();
    expect(await w.run('status', '--quiet')).toBe(69);
    expect(await w.run('status', '--loud', '-q')).toBe(2);
    expect(w.out + w.err).toBe('');
  });
});

describe('check-config and init', () => {
  test('a good file', async () => {
    const w = new FakeWorld();
    w.files.set('/srv/a.yaml', 'node: hall\n');
    expect(await w.run('check-config', 'a.yaml')).toBe(0);
    expect(w.out).toBe('a.yaml: good\n');
  });

  test('a bad file, as text and as JSON', async () => {
    const w = new FakeWorld();
    w.files.set('/srv/a.yaml', 'dht: { prot: 1 }\n');
    expect(await w.run('check-config', 'a.yaml', '--json')).toBe(78);
    expect(w.err).toBe(
      'a.yaml:1:8  dht.prot: unknown key, did you mean "port"?\n1 problem, nothing was started.\n',
    );
    expect(JSON.parse(w.out)).toEqual({
      ok: false,
      problems: [
        {
          source: 'a.yaml',
          line: 1,
          column: 8,
          path: 'dht.prot',
          reason: 'unknown key, did you mean "port"?',
        },
      ],
    });
  });

  test('--print-effective shows where each value comes from', async () => {
    const w = new FakeWorld();
    w.files.set('/srv/a.yaml', '\nnode: hall\n');
    w.environment['DOORWARD_DHT_PORT'] = '4300';
    expect(
      await w.run('check-config', 'a.yaml', '--print-effective', '--set', 'log.level=debug'),
    ).toBe(0);
    expect(w.out).toMatch(/^node: "hall" +# a\.yaml:2$/m);
    expect(w.out).toMatch(/^dht\.port: 4300 +# DOORWARD_DHT_PORT$/m);
    expect(w.out).toMatch(/^log\.level: "debug" +# --set$/m);
    expect(w.out).toMatch(/^state: "\/home\/pi\/\.local\/state\/doorward" +# default$/m);
  });

  test('init makes the identity where the configuration says', async () => {
    const w = new FakeWorld();
    expect(await w.run('init', '--state', 'here', '--json')).toBe(0);
    expect(JSON.parse(w.out)).toEqual({ id: 'c3'.repeat(20), state: '/srv/here' });
    expect(w.files.size).toBe(0);
  });

  test('init -c writes a configuration once', async () => {
    const w = new FakeWorld();
    expect(await w.run('init', '-c', 'new.yaml')).toBe(0);
    expect(w.files.get('/srv/new.yaml')).toBe('# every key explained\n');
    w.files.set('/srv/new.yaml', 'node: mine\n');
    expect(await w.run('init', '-c', 'new.yaml')).toBe(0);
    expect(w.files.get('/srv/new.yaml')).toBe('node: mine\n');
  });
});
