import { describe, expect, test } from 'vitest';
import { load, loadGood } from './load.ts';

describe('the configuration in effect', () => {
  test('is complete without any file', async () => {
    expect(await loadGood(undefined)).toEqual({
      version: 1,
      node: 'front',
      state: '/home/pi/.local/state/doorward',
      control: '/home/pi/.local/state/doorward/control.sock',
      dht: {
        bind: '127.0.0.1',
        port: 4222,
        network: 0,
        bootstrap: [],
        rateLimit: true,
        peerDiscovery: false,
        republish: false,
        client: false,
      },
      audio: { device: 'alsa', card: 'default' },
      mqtt: { enabled: true, embedded: true, url: 'mqtt://127.0.0.1:1883', base: 'doorward' },
      ice: { stun: [], turn: [] },
      contacts: [],
      log: { level: 'info' },
      privacy: { publishMessageText: false },
    });
  });

  test('is the same for an empty file, and for sections with nothing in them', async () => {
    const none = await loadGood(undefined);
    expect(await loadGood('')).toEqual(none);
    expect(await loadGood('# all commented out\n')).toEqual(none);
    expect(await loadGood('dht:\ncontacts: ~\nnode:\n')).toEqual(none);
  });

  test('is frozen to the bottom', async () => {
    const config = await loadGood(
      'contacts: { a: { id: 0123456789abcdef0123456789abcdef01234567 } }',
    );
    expect(() => Object.assign(config.dht, { port: 1 })).toThrow(TypeError);
    expect(config.contacts.every(({ can }) => Object.isFrozen(can))).toBe(true);
    expect(config.contacts).toHaveLength(1);
  });

  test('takes the example of the documentation', async () => {
    const config = await loadGood(`
version: 1
node: front
state: /var/lib/doorward
control: /run/doorward/control.sock
dht: { bind: 127.0.0.1, port: 4222, network: 0, bootstrap: [127.0.0.1:4223] }
audio: { device: file, input: hello.wav, output: heard.wav }
mqtt: { url: mqtt://127.0.0.1:1883, base: doorward }
ice: { stun: [], turn: [] }
contacts:
  alice: { id: 0123456789abcdef0123456789abcdef01234567, can: [ring, auto_answer] }
`);
    expect(config.dht.bootstrap).toEqual([{ host: '127.0.0.1', port: 4223 }]);
    expect(config.audio).toEqual({
      device: 'file',
      card: 'default',
      input: '/srv/hello.wav',
      output: '/srv/heard.wav',
    });
    expect(config.mqtt).toMatchObject({ enabled: true, embedded: false });
    expect(config.contacts).toEqual([
      {
        name: 'alice',
        id: '0123456789abcdef0123456789abcdef01234567',
        can: ['ring', 'auto_answer'],
      },
    ]);
  });

  test('lets a contact ring, and no more, unless told', async () => {
    const config = await loadGood(`contacts: { "Oma Müller": { id: ${'A1'.repeat(20)} } }`);
    expect(config.contacts).toEqual([{ name: 'Oma Müller', id: 'a1'.repeat(20), can: ['ring'] }]);
  });

  test.each([
    ['decimal digits only', '1234567890123456789012345678901234567890'],
    ['digits and an e, as in a number', '1234567890123456789012345678901234567e10'],
    ['a leading 0x is no id, but 0 and digits is', '0000000000000000000000000000000000000012'],
  ])('reads an id as it is written: %s', async (_, id) => {
    expect((await loadGood(`contacts: { a: { id: ${id} } }`)).contacts[0]?.id).toBe(id);
  });

  test('reads the word null as the null device', async () => {
    expect((await loadGood('audio: { device: null }')).audio.device).toBe('null');
    expect((await loadGood('audio: { device: "null" }')).audio.device).toBe('null');
  });

  test('reads the switches of the DHT, and a second address', async () => {
    const { dht } = await loadGood(
      'dht: { bind6: "::", rate_limit: off, client: on, republish: on }',
      {
        settings: ['dht.bind=0.0.0.0'],
      },
    );
    expect(dht).toMatchObject({
      bind: '0.0.0.0',
      bind6: '::',
      rateLimit: false,
      client: true,
      republish: true,
    });
  });

  test('gives default ports to servers', async () => {
    const config = await loadGood(`
dht: { bootstrap: ["[2001:db8::1]", "node.example.org"] }
ice:
  stun: [stun.example.org]
  turn: [{ host: turn.example.org:5349, username: u, password_file: /p }]
`);
    expect(config.dht.bootstrap).toEqual([
      { host: '2001:db8::1', port: 4222 },
      { host: 'node.example.org', port: 4222 },
    ]);
    expect(config.ice).toEqual({
      stun: [{ host: 'stun.example.org', port: 3478 }],
      turn: [{ host: 'turn.example.org', port: 5349, username: 'u', passwordFile: '/p' }],
    });
  });

  test('lets an embedded broker listen on another port of this machine', async () => {
    const { mqtt } = await loadGood('mqtt: { embedded: true, url: "mqtt://127.0.0.1:1884" }');
    expect(mqtt).toMatchObject({ embedded: true, url: 'mqtt://127.0.0.1:1884' });
  });
});

describe('precedence', () => {
  const environment = {
    DOORWARD_DHT_PORT: '2',
    DOORWARD_DHT_BOOTSTRAP: 'a:1, b:2',
    DOORWARD_MQTT_PASSWORD_FILE: 'secret',
    DOORWARD_MQTT_USERNAME: '42',
    HOME: '/root',
  };

  test('is defaults, file, environment, command line', async () => {
    const loaded = await load('node: hall\ndht: { port: 1, network: 7 }\n', {
      environment,
      settings: ['dht.port=3', 'dht.port=4'],
    });
    if (!loaded.ok) throw new Error('refused');
    const { config, effective } = loaded;
    expect(config.dht).toMatchObject({ bind: '127.0.0.1', port: 4, network: 7 });
    expect(config.dht.bootstrap).toEqual([
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ]);
    expect(config.mqtt).toMatchObject({ username: '42', passwordFile: '/srv/secret' });
    const origin = Object.fromEntries(effective.map((item) => [item.path, item.origin]));
    expect(origin).toMatchObject({
      node: 'doorward.yaml:1',
      'dht.bind': 'default',
      'dht.network': 'doorward.yaml:2',
      'dht.bootstrap': 'DOORWARD_DHT_BOOTSTRAP',
      'dht.port': '--set',
    });
  });

  test('lets an empty list in the environment empty the list of the file', async () => {
    const config = await loadGood('dht: { bootstrap: [a:1] }', {
      environment: { DOORWARD_DHT_BOOTSTRAP: '' },
    });
    expect(config.dht.bootstrap).toEqual([]);
  });

  test.each([
    [{}, '/var/lib/doorward', '/var/lib/doorward/control.sock'],
    [{ HOME: '/h' }, '/h/.local/state/doorward', '/h/.local/state/doorward/control.sock'],
    [{ HOME: '/h', XDG_STATE_HOME: '/x' }, '/x/doorward', '/x/doorward/control.sock'],
    [{ HOME: '/h', XDG_STATE_HOME: 'relative' }, '/h/.local/state/doorward', undefined],
    [
      { HOME: '/h', XDG_RUNTIME_DIR: '/run/user/1000' },
      '/h/.local/state/doorward',
      '/run/user/1000/doorward/control.sock',
    ],
    [
      { HOME: '/h', STATE_DIRECTORY: '/s:/t', RUNTIME_DIRECTORY: '/run/doorward' },
      '/s',
      '/run/doorward/control.sock',
    ],
  ])('finds state and control socket in %o', async (environment, state, control) => {
    const config = await loadGood(undefined, { environment });
    expect(config.state).toBe(state);
    if (control !== undefined) expect(config.control).toBe(control);
  });
});
