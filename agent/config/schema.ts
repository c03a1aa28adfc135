import { isIP } from 'node:net';
import * as v from 'valibot';
import { LOG_LEVELS } from '../base/log.ts';
import { CONTACT_NAME } from '../contact/contacts.ts';
import { RIGHTS } from '../events.ts';

/**
 * THE schema of the configuration: validation, defaults, `config/doorward.yaml` and `config/doorward.schema.json` all come
 * from here. Keys are spelled as in the file. What two keys say together is checked in `rules.ts`.
 */

/** What we keep about a key beside its type. */
export interface KeyNotes {
  /** Completes "must be …". */
  readonly expects: string;
  /** Shown commented out in the example file where there is no fixed default. */
  readonly example?: unknown;
  /** What is there may hold a secret: never repeat it in an error. */
  readonly hidden?: boolean;
}

function key<const S extends v.GenericSchema>(schema: S, description: string, notes: KeyNotes) {
  return v.pipe(schema, v.description(description), v.metadata({ ...notes }));
}

function section<const E extends v.ObjectEntries>(description: string, entries: E) {
  const keys = v.pipe(v.strictObject(entries), v.description(description));
  // Every key of a section has a default, which TypeScript cannot see for a general E.
  return v.optional(keys, {} as never);
}

const path = v.pipe(v.string(), v.minLength(1), v.maxLength(4096));

/** `host`, `host:port`, `[v6]:port`. The range of the port is checked after it. */
const hostPort = v.pipe(
  v.string(),
  v.regex(/^(?:\[[0-9a-fA-F:.]+\]|[^\s:[\]@/]+)(?::\d{1,5})?$/),
  v.check((text) => {
    const port = /:(\d+)$/.exec(text)?.[1];
    return port === undefined || text.endsWith(']') || (Number(port) >= 1 && Number(port) <= 65535);
  }),
);

const server = key(hostPort, 'host:port', { expects: 'host:port' });

/** `mqtt://host:port`, without user, password, path or query. */
const brokerUrl = v.pipe(
  v.string(),
  v.regex(/^mqtts?:\/\/(?:\[[0-9a-fA-F:.]+\]|[^\s:[\]@/?#]+)(?::\d{1,5})?\/?$/),
  v.check((text) => URL.canParse(text) && new URL(text).port !== '0'),
);

/** Bounds of the lists, so that a file cannot ask for unbounded work. */
export const MAX_BOOTSTRAP = 32;
export const MAX_ICE_SERVERS = 8;

const turnServer = v.strictObject({
  host: key(hostPort, 'Address of the TURN server (UDP); 3478 where no port is given.', {
    expects: 'host:port',
    example: 'turn.example.org:3478',
  }),
  username: key(v.pipe(v.string(), v.minLength(1)), 'User on the TURN server.', {
    expects: 'a user name',
    example: 'front',
  }),
  password_file: key(path, 'File with the password in its first line.', {
    expects: 'the path of a file',
    example: '/etc/doorward/credentials/turn-password',
  }),
});

const contact = v.strictObject({
  id: key(
    v.pipe(v.string(), v.regex(/^[0-9a-fA-F]{40}$/)),
    'Id of the contact: the 40 hex digits that `doorward id` prints over there.',
    {
      expects: 'the 40 hex digits that "doorward id" prints over there',
      example: '0123456789abcdef0123456789abcdef01234567',
    },
  ),
  can: v.optional(
    key(
      v.array(v.picklist(RIGHTS)),
      'What the contact may do. `ring`: call, and be answered by hand. `auto_answer`: be answered at once.',
      { expects: `a list of ${RIGHTS.join(', ')}` },
    ),
    ['ring'],
  ),
});

export const ConfigSchema = v.pipe(
  v.strictObject({
    version: v.optional(
      key(v.literal(1), 'Version of this file’s format.', {
        expects: '1, the only version of the format there is',
      }),
      1,
    ),
    node: v.optional(
      key(
        v.pipe(v.string(), v.regex(/^[a-z0-9_-]{1,32}$/)),
        'Name of this station: its level in MQTT topics and what people see.',
        { expects: '1 to 32 of a-z, 0-9, _ and -' },
      ),
      'front',
    ),
    state: v.optional(
      key(
        path,
        'Folder for identity, contacts and stored values; made with mode 0700. Default: $STATE_DIRECTORY (set by systemd), ' +
          'else $XDG_STATE_HOME/doorward, else ~/.local/state/doorward.',
        { expects: 'the path of a folder', example: '/var/lib/doorward' },
      ),
    ),
    control: v.optional(
      key(
        path,
        'Socket through which the command line talks to the station. Default: control.sock in $RUNTIME_DIRECTORY (set by ' +
          'systemd), else in $XDG_RUNTIME_DIR/doorward, else in the state folder.',
        { expects: 'the path of a socket', example: '/run/doorward/control.sock' },
      ),
    ),
    dht: section('The distributed hash table: how stations find and signal each other.', {
      bind: v.optional(
        key(
          v.pipe(
            v.string(),
            v.check((text) => isIP(text) !== 0),
          ),
          'Address to listen on. 127.0.0.1: this station is reached from this machine only. 0.0.0.0: from everywhere.',
          { expects: 'an IP address' },
        ),
        '127.0.0.1',
      ),
      bind6: v.optional(
        key(
          v.pipe(
            v.string(),
            v.check((text) => isIP(text) === 6),
          ),
          'IPv6 address to listen on as well, on the same port: the IPv6 network is a table of its own. `::` is everywhere. ' +
            'Default: none.',
          { expects: 'an IPv6 address', example: '::' },
        ),
      ),
      port: v.optional(
        key(
          v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65535)),
          'UDP port. 0: any free one.',
          {
            expects: 'a port, 0 to 65535',
          },
        ),
        4222,
      ),
      network: v.optional(
        key(
          v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff)),
          'Network id. Nodes of other networks are not heard; 0 is the public one.',
          { expects: 'a whole number, 0 to 4294967295' },
        ),
        0,
      ),
      bootstrap: v.optional(
        key(
          v.pipe(v.array(server), v.maxLength(MAX_BOOTSTRAP)),
          'Nodes to enter the network through; 4222 where no port is given. Empty: wait to be found.',
          {
            expects: `a list of at most ${MAX_BOOTSTRAP} host:port`,
            example: ['bootstrap.example.org:4222'],
          },
        ),
        [],
      ),
      rate_limit: v.optional(
        key(
          v.picklist(['on', 'off']),
          'on: at most 1024 queries a second are answered for one address, 8192 in all. off: every one, for benchmarks and ' +
            'networks whose members are trusted.',
          { expects: 'on or off' },
        ),
        'on',
      ),
      peer_discovery: v.optional(
        key(
          v.picklist(['on', 'off']),
          'on: find the nodes of the local network by multicast (UDP port 8888) and be found by them, without "bootstrap". ' +
            'Needs a "bind" that they can reach.',
          { expects: 'on or off' },
        ),
        'off',
      ),
      republish: v.optional(
        key(
          v.picklist(['on', 'off']),
          'on: hand values that are kept for others to nodes that are closer or new near their keys, every 10 minutes, and all of ' +
            'them when this node stops, which then takes up to 5 s longer. off: let their publishers do it.',
          { expects: 'on or off' },
        ),
        'off',
      ),
      client: v.optional(
        key(
          v.picklist(['on', 'off']),
          'on: only use the network: other nodes are asked not to count on this one, for devices that come and go or whose ' +
            'line is dear. off: be a full node of it.',
          { expects: 'on or off' },
        ),
        'off',
      ),
    }),
    audio: section('Sound.', {
      device: v.optional(
        key(
          v.nullable(v.picklist(['alsa', 'file', 'tone', 'null'])),
          'alsa: the sound card (a stand-in that greets callers where there is none). file: `input` is played to callers and ' +
            'what they say is written to `output`. tone: a test tone. null: silence.',
          { expects: 'one of alsa, file, tone, null' },
        ),
        'alsa',
      ),
      card: v.optional(
        key(v.pipe(v.string(), v.minLength(1), v.maxLength(256)), 'ALSA name of the card.', {
          expects: 'an ALSA device name, such as default or plughw:1',
        }),
        'default',
      ),
      input: v.optional(
        key(path, 'WAV file that `device: file` plays to callers.', {
          expects: 'the path of a WAV file',
          example: 'hello.wav',
        }),
      ),
      output: v.optional(
        key(path, 'WAV file that `device: file` writes what it hears to.', {
          expects: 'the path of a WAV file',
          example: 'heard.wav',
        }),
      ),
    }),
    mqtt: section('MQTT: states, events and commands for the house.', {
      enabled: v.optional(
        key(v.boolean(), 'false: no MQTT at all.', { expects: 'true or false' }),
        true,
      ),
      url: v.optional(
        key(
          brokerUrl,
          'The broker: mqtt://host:1883, or mqtts://host:8883 for TLS. Where none is given the station starts a broker of its ' +
            'own on mqtt://127.0.0.1:1883.',
          {
            expects:
              'mqtt://host:port or mqtts://host:port; user and password go into "username" and "password_file"',
            example: 'mqtts://broker.example.org:8883',
            hidden: true,
          },
        ),
      ),
      embedded: v.optional(
        key(
          v.boolean(),
          'true: start a broker in the station, listening at `url`, on this machine only. Default: true without a `url`, ' +
            'false with one.',
          { expects: 'true or false', example: false },
        ),
      ),
      base: v.optional(
        key(
          v.pipe(v.string(), v.maxLength(64), v.regex(/^[A-Za-z0-9_-]+(?:\/[A-Za-z0-9_-]+)*$/)),
          'First levels of every topic: <base>/<node>/….',
          { expects: 'topic levels of letters, digits, _ and - without a slash at either end' },
        ),
        'doorward',
      ),
      username: v.optional(
        key(v.pipe(v.string(), v.minLength(1), v.maxLength(256)), 'User at the broker.', {
          expects: 'a user name',
          example: 'front',
        }),
      ),
      password_file: v.optional(
        key(path, 'File with the broker password in its first line.', {
          expects: 'the path of a file',
          example: '/etc/doorward/credentials/mqtt-password',
        }),
      ),
      ca_file: v.optional(
        key(
          path,
          'PEM file of the authority that signed the broker’s certificate. Default: the system’s.',
          { expects: 'the path of a PEM file', example: '/etc/doorward/broker-ca.pem' },
        ),
      ),
      accept_plaintext: v.optional(
        key(
          v.boolean(),
          'true: allow mqtt:// (no TLS) to another machine. Whoever listens on the way reads and forges everything.',
          { expects: 'true or false' },
        ),
        false,
      ),
    }),
    ice: section(
      'Servers that help two stations to reach each other through routers. None by default.',
      {
        stun: v.optional(
          key(
            v.pipe(v.array(server), v.maxLength(MAX_ICE_SERVERS)),
            'STUN servers; 3478 where no port is given. Each of them learns the address of this station.',
            {
              expects: `a list of at most ${MAX_ICE_SERVERS} host:port`,
              example: ['stun.example.org:3478'],
            },
          ),
          [],
        ),
        turn: v.optional(
          key(
            v.pipe(v.array(turnServer), v.maxLength(MAX_ICE_SERVERS)),
            'TURN servers, for when both routers are in the way.',
            {
              expects: `a list of at most ${MAX_ICE_SERVERS} servers, each with host, username and password_file`,
              example: [
                {
                  host: 'turn.example.org:3478',
                  username: 'front',
                  password_file: '/etc/doorward/credentials/turn-password',
                },
              ],
            },
          ),
          [],
        ),
      },
    ),
    contacts: v.optional(
      key(
        v.record(v.pipe(v.string(), v.regex(CONTACT_NAME)), contact),
        'People and stations that may call, by name; `doorward contact add` adds more without this file. Everybody else is ' +
          'refused without a ring.',
        {
          expects: 'names, each with an id',
          example: {
            alice: {
              id: '0123456789abcdef0123456789abcdef01234567',
              can: ['ring', 'auto_answer'],
            },
          },
        },
      ),
      {},
    ),
    log: section('The log, on standard error.', {
      level: v.optional(
        key(v.picklist(LOG_LEVELS), 'How much is told: error, warn, notice, info or debug.', {
          expects: `one of ${LOG_LEVELS.join(', ')}`,
        }),
        'info',
      ),
    }),
    privacy: section('What leaves the station.', {
      publish_message_text: v.optional(
        key(
          v.boolean(),
          'true: the text of messages is published over MQTT. false: only that one came, and from whom.',
          { expects: 'true or false' },
        ),
        false,
      ),
    }),
  }),
  v.title('Doorward configuration'),
);

/** Every key with its default filled in, spelled as in the file. */
export type Settings = v.InferOutput<typeof ConfigSchema>;
