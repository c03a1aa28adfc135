import type { Argv, Options } from 'yargs';
import type { Chosen } from './cli.ts';
import {
  cancelCommand,
  getCommand,
  listenCommand,
  nodesCommand,
  type PutMethod,
  pingCommand,
  putCommand,
  statsCommand,
} from './dht.ts';
import { SELECTABLE, type Selected } from './dht-text.ts';
import { asWord, parseTime } from './words.ts';
import type { World } from './world.ts';

/** The arguments of `doorward dht …`. */

type Shared = Argv<{ config: string | undefined; json: boolean; quiet: boolean }>;

const KEY = {
  type: 'string',
  coerce: asWord,
  demandOption: true,
  describe: '40 hex digits, or any text, which is hashed',
} as const;
const VALUE = {
  type: 'string',
  coerce: asWord,
  demandOption: true,
  describe: 'text; - reads it from standard input, as it is',
} as const;
const TIMEOUT = {
  type: 'string',
  requiresArg: true,
  describe: 'give up after: 5s, 1m',
  coerce: parseTime('--timeout'),
} as const;
const WHERE = {
  type: 'string',
  requiresArg: true,
  describe: 'only these: id=5,value_type=3,owner_pk=<40 hex digits>,user_type=text',
} as const;
const UNVERIFIED = {
  type: 'boolean',
  default: false,
  describe: 'show values with a bad signature as well, marked as such',
} as const;
const SELECT = {
  type: 'string',
  requiresArg: true,
  describe: `print only these fields, separated by commas: ${SELECTABLE.join(', ')}`,
  coerce: parseSelect,
} as const;

export function dhtCommands(
  yargs: Shared,
  world: World,
  choose: (command: Chosen) => void,
  own: {
    readonly bootstrap: Options & { array: true };
    readonly state: Options & { type: 'string' };
  },
) {
  const putOptions = <T>(y: Argv<T>) =>
    y
      .positional('key', KEY)
      .positional('value', VALUE)
      .option('id', {
        type: 'string',
        requiresArg: true,
        describe: 'id of the value, a number; default: random',
        coerce: parseId,
      })
      .option('type', {
        type: 'string',
        requiresArg: true,
        describe: 'type of the value, 0 to 65535; default 0',
        coerce: parseType,
      })
      .option('user-type', { type: 'string', requiresArg: true, describe: 'such as text/plain' })
      .option('permanent', {
        type: 'boolean',
        default: false,
        describe: 'keep it alive while the node runs, or until "dht cancel"',
      })
      .option('timeout', TIMEOUT);
  const node = <T>(y: Argv<T>) =>
    y
      .option('bootstrap', {
        type: 'string',
        array: true,
        nargs: 1,
        requiresArg: true,
        describe: 'host:port: a node for this command alone enters the network there',
      })
      .option('state', own.state);

  const put = (method: PutMethod, args: PutWords) =>
    choose((output) =>
      putCommand(
        world,
        method,
        {
          config: args.config,
          bootstrap: args.bootstrap,
          state: args.state,
          key: args.key,
          value: args.value,
          ...(args.to !== undefined && { to: args.to }),
          id: args.id,
          type: args.type,
          userType: args['user-type'],
          permanent: args.permanent,
          timeoutMs: args.timeout,
        },
        output,
      ),
    );

  return yargs
    .demandCommand(1, 'say what to do: "doorward dht --help" lists it')
    .command(
      'get <key>',
      'print the values under a key; exit code 6 when there is none',
      (y) =>
        node(y)
          .positional('key', KEY)
          .option('where', WHERE)
          .option('select', SELECT)
          .option('unverified', UNVERIFIED)
          .option('raw', {
            type: 'boolean',
            default: false,
            describe: 'write the bytes of one value to standard output, and nothing else',
          })
          .option('timeout', TIMEOUT),
      ({ config, bootstrap, state, key, where, select, unverified, raw, timeout }) => {
        const args = {
          config,
          bootstrap,
          state,
          key,
          where,
          select,
          unverified,
          raw,
          timeoutMs: timeout,
        };
        choose((output) => getCommand(world, args, output));
      },
    )
    .command(
      'listen <key>',
      'print what is under a key, comes and goes, until Ctrl-C',
      (y) =>
        node(y)
          .positional('key', KEY)
          .option('where', WHERE)
          .option('select', SELECT)
          .option('unverified', UNVERIFIED)
          .option('for', {
            type: 'string',
            requiresArg: true,
            describe: 'end after: 10s, 5m',
            coerce: parseTime('--for'),
          }),
      ({ config, bootstrap, state, key, where, select, unverified, for: forMs }) => {
        const args = { config, bootstrap, state, key, where, select, unverified, forMs };
        choose((output) => listenCommand(world, args, output));
      },
    )
    .command(
      'put <key> <value>',
      'store a value; it lives some minutes, as its type says',
      (y) => putOptions(node(y)),
      (args) => put('dht.put', args),
    )
    .command(
      'put-signed <key> <value>',
      'store a value signed by the station; with --id it replaces the one that it signed before',
      (y) => putOptions(node(y)),
      (args) => put('dht.put_signed', args),
    )
    .command(
      'put-encrypted <key> <to> <value>',
      'store a value that only the devices of one can read: id of a device, or a contact',
      (y) =>
        putOptions(
          node(y).positional('to', {
            type: 'string',
            coerce: asWord,
            demandOption: true,
            describe: 'name or id of a contact, short or long id of a device',
          }),
        ),
      (args) => put('dht.put_encrypted', args),
    )
    .command(
      'cancel <key> <id>',
      'keep a permanent value alive no longer',
      (y) =>
        y.positional('key', KEY).positional('id', {
          type: 'string',
          coerce: (text: string) => parseId(asWord(text)),
          demandOption: true,
          describe: 'as "dht put" printed it',
        }),
      ({ config, key, id }) =>
        choose((output) => cancelCommand(world, { config, key, id }, output)),
    )
    .command(
      'ping <address>',
      'ask the node at host:port for its id',
      (y) =>
        node(y)
          .positional('address', {
            type: 'string',
            coerce: asWord,
            demandOption: true,
            describe: 'host:port; 4222 where no port is given',
          })
          .option('timeout', TIMEOUT),
      ({ config, bootstrap, state, address, timeout }) => {
        const args = { config, bootstrap, state, address, timeoutMs: timeout };
        choose((output) => pingCommand(world, args, output));
      },
    )
    .command(
      'nodes',
      'list the nodes in the routing tables',
      (y) => node(y),
      ({ config, bootstrap, state }) =>
        choose((output) => nodesCommand(world, { config, bootstrap, state }, output)),
    )
    .command(
      'stats',
      'sizes beside their limits, and counters',
      (y) => node(y),
      ({ config, bootstrap, state }) =>
        choose((output) => statsCommand(world, { config, bootstrap, state }, output)),
    );
}

interface PutWords {
  readonly config?: string | undefined;
  readonly bootstrap?: string[] | undefined;
  readonly state?: string | undefined;
  readonly key: string;
  readonly to?: string;
  readonly value: string;
  readonly id?: string | undefined;
  readonly type?: number | undefined;
  readonly 'user-type'?: string | undefined;
  readonly permanent: boolean;
  readonly timeout?: number | undefined;
}

function parseId(text: string): string {
  if (/^[1-9]\d{0,19}$/.test(text) && BigInt(text) < 1n << 64n) return text;
  throw new Error(`"${text}" is no id of a value: a number from 1, below 2^64`);
}

function parseType(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 0xffff) return Number(text);
  throw new Error(`--type: "${text}" is not a number from 0 to 65535`);
}

function parseSelect(text: string | readonly string[]): Selected[] {
  const words = [text].flat().flatMap((part) => part.split(','));
  return words.map((word) => {
    const field = SELECTABLE.find((known) => known === word.trim());
    if (field !== undefined) return field;
    throw new Error(`--select: "${word.trim()}" is not one of ${SELECTABLE.join(', ')}`);
  });
}
