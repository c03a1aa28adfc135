import { describe, expect, test } from 'vitest';
import { complaints } from './load.ts';

const ID = '0123456789abcdef0123456789abcdef01234567';

/** [what is wrong, the file, what is said about it]. The last line about the count is checked apart. */
const TABLE: readonly (readonly [string, string, ...string[]])[] = [
  [
    'a key with a typo',
    'node: front\ndht:\n  prot: 4222\n',
    'doorward.yaml:3:3  dht.prot: unknown key, did you mean "port"?',
  ],
  [
    'a key in the wrong section',
    'port: 4222\n',
    'doorward.yaml:1:1  port: unknown key, did you mean "dht.port"?',
  ],
  [
    'a key like no other',
    'log:\n  zebra: 1\n',
    'doorward.yaml:2:3  log.zebra: unknown key; here go level',
  ],
  [
    'a special key',
    '__proto__: 1\n',
    'doorward.yaml:1:1  __proto__: unknown key; here go version, node, state, control, dht, audio, mqtt, ice, contacts, log, privacy',
  ],
  [
    'a key given twice',
    'dht:\n  port: 1\n  port: 2\n',
    'doorward.yaml:3:3  dht.port: is given twice, first in line 2',
  ],
  [
    'another version',
    'version: 2\n',
    'doorward.yaml:1:10  version: must be 1, the only version of the format there is, not 2',
  ],
  [
    'a node that is no topic level',
    'node: Front Door\n',
    'doorward.yaml:1:7  node: must be 1 to 32 of a-z, 0-9, _ and -, not "Front Door"',
  ],
  [
    'an empty path',
    'state: ""\n',
    'doorward.yaml:1:8  state: must be the path of a folder, not ""',
  ],
  [
    'a port out of range',
    'dht: { port: 65536 }\n',
    'doorward.yaml:1:14  dht.port: must be a port, 0 to 65535, not 65536',
  ],
  [
    'a port that is text',
    'dht: { port: "4222" }\n',
    'doorward.yaml:1:14  dht.port: must be a port, 0 to 65535, not "4222"',
  ],
  [
    'a name where an address belongs',
    'dht: { bind: eth0 }\n',
    'doorward.yaml:1:14  dht.bind: must be an IP address, not "eth0"',
  ],
  [
    'an IPv4 address where one of IPv6 belongs',
    'dht: { bind6: 0.0.0.0 }\n',
    'doorward.yaml:1:15  dht.bind6: must be an IPv6 address, not "0.0.0.0"',
  ],
  [
    'two addresses of IPv6',
    'dht: { bind: "::1", bind6: "::" }\n',
    'doorward.yaml:1:28  dht.bind6: is one too many: "bind" is an IPv6 address already',
  ],
  [
    'peer discovery of a node that nobody can reach',
    'dht: { peer_discovery: on }\n',
    'doorward.yaml:1:24  dht.peer_discovery: finds nobody: "bind" is 127.0.0.1, this machine alone. ' +
      'Write bind: 0.0.0.0 to be reached by others',
  ],
  [
    'a switch that is set as others are',
    'dht: { rate_limit: false }\n',
    'doorward.yaml:1:20  dht.rate_limit: must be on or off, not false',
  ],
  [
    'a network id that is not whole',
    'dht: { network: 0.5 }\n',
    'doorward.yaml:1:17  dht.network: must be a whole number, 0 to 4294967295, not 0.5',
  ],
  [
    'two bad bootstrap nodes of three',
    'dht:\n  bootstrap: ["a:b:c", "127.0.0.1:4223", "x:70000"]\n',
    'doorward.yaml:2:15  dht.bootstrap[0]: must be host:port, not "a:b:c"',
    'doorward.yaml:2:42  dht.bootstrap[2]: must be host:port, not "x:70000"',
  ],
  [
    'one word where a list belongs',
    'dht:\n  bootstrap: 127.0.0.1:4223\n',
    'doorward.yaml:2:14  dht.bootstrap: must be a list of at most 32 host:port, not "127.0.0.1:4223"',
  ],
  [
    'too many servers',
    `ice:\n  stun: [${'a, '.repeat(9)}]\n`,
    'doorward.yaml:2:9  ice.stun: must be a list of at most 8 host:port, not a list',
  ],
  [
    'a section that is a number',
    'dht: 5\n',
    'doorward.yaml:1:6  dht: must be a section of keys, not 5',
  ],
  [
    'a sound device with a typo',
    'audio: { device: asla }\n',
    'doorward.yaml:1:18  audio.device: "asla" is not one of alsa, file, tone, null, did you mean "alsa"?',
  ],
  [
    'a file device without files',
    'audio: { device: file }\n',
    'doorward.yaml:1:18  audio.device: file needs "input", a WAV file to play, or "output", one to write',
  ],
  [
    'yes, which is text in YAML 1.2',
    'mqtt: { embedded: yes }\n',
    'doorward.yaml:1:19  mqtt.embedded: must be true or false, not "yes"',
  ],
  [
    'a secret in the file',
    'mqtt:\n  url: mqtt://127.0.0.1\n  password: hunter2\n',
    'doorward.yaml:3:3  mqtt.password: a secret does not belong here: put it into a file of its own and name that with "password_file"',
  ],
  [
    'a secret in the URL, which is not repeated',
    'mqtt:\n  url: mqtt://me:hunter2@broker\n',
    'doorward.yaml:2:8  mqtt.url: must be mqtt://host:port or mqtts://host:port; user and password go into "username" and "password_file"',
  ],
  [
    'no encryption to another machine',
    'mqtt:\n  url: mqtt://broker.lan:1883\n',
    'doorward.yaml:2:8  mqtt.url: has no encryption and leaves this machine: use mqtts://, or set "accept_plaintext: true"',
  ],
  [
    'an embedded broker for everybody',
    'mqtt: { embedded: true, url: "mqtt://0.0.0.0:1883" }\n',
    'doorward.yaml:1:30  mqtt.url: the embedded broker listens on this machine only: write mqtt://127.0.0.1:1883, or drop "embedded"',
  ],
  [
    'no broker of either kind',
    'mqtt: { embedded: false }\n',
    'doorward.yaml:1:19  mqtt.embedded: is false and there is no "url": name a broker, or switch MQTT off with "enabled: false"',
  ],
  [
    'an authority without TLS, a password without user',
    'mqtt:\n  url: mqtt://127.0.0.1\n  ca_file: ca.pem\n  password_file: secret\n',
    'doorward.yaml:3:12  mqtt.ca_file: is only for a broker with TLS (mqtts://)',
    'doorward.yaml:4:18  mqtt.password_file: needs "username"',
  ],
  [
    'a TURN server without a user',
    'ice:\n  turn:\n    - host: turn.example.org\n      password_file: secret\n',
    'doorward.yaml:3:7  ice.turn[0].username: is missing: a user name',
  ],
  [
    'a short id',
    'contacts:\n  alice: { id: 0123 }\n',
    'doorward.yaml:2:16  contacts.alice.id: must be the 40 hex digits that "doorward id" prints over there, not "0123"',
  ],
  [
    'a contact without id',
    'contacts:\n  alice: { can: [ring] }\n',
    'doorward.yaml:2:3  contacts.alice.id: is missing: the 40 hex digits that "doorward id" prints over there',
  ],
  [
    'a right with a typo',
    `contacts:\n  alice: { id: ${ID}, can: [ring, auto_anwser] }\n`,
    'doorward.yaml:2:70  contacts.alice.can[1]: "auto_anwser" is not one of ring, auto_answer, did you mean "auto_answer"?',
  ],
  [
    'a key of a contact with a typo',
    `contacts:\n  alice: { id: ${ID}, cna: [ring] }\n`,
    'doorward.yaml:2:58  contacts.alice.cna: unknown key, did you mean "can"?',
  ],
  [
    'a contact with a reserved name',
    `contacts:\n  unknown: { id: ${ID} }\n`,
    'doorward.yaml:2:3  contacts.unknown: "unknown" is no name for a contact: 1 to 32 letters, digits, blanks, _ and -, not "unknown" and no id',
  ],
  [
    'one id under two names',
    `contacts:\n  alice: { id: ${ID} }\n  bob: { id: ${ID.toUpperCase()} }\n`,
    'doorward.yaml:3:14  contacts.bob.id: is already the id of "alice"',
  ],
  [
    'no YAML',
    'dht: [1,\nnode: front\n',
    'doorward.yaml:2:1  is not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
  ],
  ['a list', '- node\n', 'doorward.yaml:1:1  must be a mapping of keys, such as "node: front"'],
  [
    'two documents',
    'node: a\n---\nnode: b\n',
    'doorward.yaml:2:1  is not valid YAML: a second document begins',
  ],
  [
    'an anchor and its alias',
    'node: &n front\nstate: *n\n',
    'doorward.yaml:1:7  anchors (&name) are not used here',
    'doorward.yaml:2:8  aliases (*name) are not used here: write the value out',
  ],
  ['a tag', 'node: !!str 5\n', 'doorward.yaml:1:7  tags (!name) are not used here'],
  [
    'YAML 1.1',
    '%YAML 1.1\n---\nnode: a\n',
    'doorward.yaml:1:1  directives (%YAML) are not used here',
  ],
  ['a key that is a list', '? [a, b]\n: 1\n', 'doorward.yaml:1:3  a key must be a word'],
  ['a hundred thousand brackets', '['.repeat(100_000), 'doorward.yaml:1:17  is nested too deeply'],
  ['a thousand dashes', '- '.repeat(1000), 'doorward.yaml:1:33  is nested too deeply'],
  ['a huge file', '#'.repeat(300_000), 'doorward.yaml:1:1  is longer than 262144 characters'],
];

describe('a wrong configuration file', () => {
  test.each(TABLE)('%s', async (_, text, ...expected) => {
    expect((await complaints(text)).slice(0, -1)).toEqual(expected);
  });

  test('is told all at once, in the order of the file, with the count at the end', async () => {
    const said = await complaints(
      'nod: front\ndht: { port: x }\nmqtt: { embedded: false }\nlog: { level: loud }\n',
    );
    expect(said).toEqual([
      'doorward.yaml:1:1  nod: unknown key, did you mean "node"?',
      'doorward.yaml:2:14  dht.port: must be a port, 0 to 65535, not "x"',
      'doorward.yaml:3:19  mqtt.embedded: is false and there is no "url": name a broker, or switch MQTT off with "enabled: false"',
      'doorward.yaml:4:15  log.level: "loud" is not one of error, warn, notice, info, debug',
      '4 problems, nothing was started.',
    ]);
  });

  test('counts one problem as one', async () => {
    expect((await complaints('dht: 5\n')).at(-1)).toBe('1 problem, nothing was started.');
  });

  test('cuts long values short', async () => {
    const [line = ''] = await complaints(`node: ${'x'.repeat(5000)}\n`);
    expect(line.length).toBeLessThan(140);
  });

  test('is not silently replaced by defaults when it is named and missing', async () => {
    expect(await complaints(undefined, { file: '/nowhere/doorward.yaml' })).toEqual([
      '/nowhere/doorward.yaml  cannot be read: there is no such file',
      '1 problem, nothing was started.',
    ]);
  });
});

describe('wrong values from elsewhere', () => {
  test('a variable with a typo', async () => {
    expect(await complaints(undefined, { environment: { DOORWARD_DHT_PROT: '1' } })).toContain(
      'DOORWARD_DHT_PROT  unknown variable, did you mean "DOORWARD_DHT_PORT"?',
    );
  });

  test('a variable with a bad value', async () => {
    expect(await complaints(undefined, { environment: { DOORWARD_DHT_PORT: 'x' } })).toContain(
      'DOORWARD_DHT_PORT  dht.port: must be a port, 0 to 65535, not "x"',
    );
  });

  test('a contact in the environment', async () => {
    expect(await complaints(undefined, { environment: { DOORWARD_CONTACTS: '{}' } })).toContain(
      'DOORWARD_CONTACTS  is a structure and can only be written in the configuration file',
    );
  });

  test.each([
    ['dht.prot=1', '--set  dht.prot: unknown key, did you mean "dht.port"?'],
    ['dht.port', '--set  dht.port: needs a value: dht.port=…'],
    ['dht.port=-1', '--set  dht.port: must be a port, 0 to 65535, not "-1"'],
    ['mqtt.enabled=no', '--set  mqtt.enabled: must be true or false, not "no"'],
  ])('--set %s', async (setting, expected) => {
    expect(await complaints(undefined, { settings: [setting] })).toContain(expected);
  });

  test('a socket path that no socket can have', async () => {
    const control = `/${'x'.repeat(107)}`;
    expect(await complaints(undefined, { settings: [`control=${control}`] })).toContain(
      `${control}  control: is longer than the 107 bytes that the path of a socket may have`,
    );
  });
});
