import yargs from 'yargs/yargs';
import { AgentError, errorText } from '../base/errors.ts';
import { RIGHTS, type Right } from '../events.ts';
import { type CallArguments, callCommand } from './call.ts';
import {
  answerCommand,
  contactAddCommand,
  contactListCommand,
  contactRemoveCommand,
  eventsCommand,
  hangupCommand,
  idCommand,
  messagesCommand,
  statusCommand,
  versionCommand,
} from './commands.ts';
import { checkConfigCommand, initCommand } from './config.ts';
import { dhtCommands } from './dht-commands.ts';
import { EXIT, type ExitCode, exitOfError } from './exit-codes.ts';
import { Output } from './output.ts';
import { sendCommand } from './send.ts';
import { asWord, markWords, parseTime } from './words.ts';
import type { World } from './world.ts';

/**
 * The command line: arguments in, one command chosen, its exit code out. A short process of its own, so it may load yargs
 * (13 MB of memory, which is why `run` does not come through here: run.ts).
 */

/** Where the words of yargs are for programmers. */
const PLAIN_WORDS = {
  'Not enough non-option arguments: got %s, need at least %s': {
    one: 'too few words: got %s, need at least %s',
    other: 'too few words: got %s, need at least %s',
  },
  'Unknown argument: %s': {
    one: 'there is no such command or option: %s',
    other: 'there are no such commands or options: %s',
  },
  'Not enough arguments following: %s': 'a value is missing after: %s',
};

/** A command with its arguments, ready to go. */
export type Chosen = (output: Output) => Promise<ExitCode>;

export async function runCli(argv: readonly string[], world: World): Promise<ExitCode> {
  const parsed = await parse(argv, world);
  const output = new Output(world, parsed);
  if (parsed.help !== undefined) {
    world.stdout(`${parsed.help}\n`);
    return EXIT.done;
  }
  try {
    if (parsed.error !== undefined) throw parsed.error;
    return await parsed.chosen(output);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    output.error(error);
    return exitOfError(error);
  }
}

interface Parsed {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly help?: string;
  readonly error?: AgentError;
  readonly chosen: Chosen;
}

const EXIT_HELP =
  'Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused, 4 unreachable or no answer, 5 timed out, 6 not found, ' +
  '69 no station runs, 73 cannot write, 75 try again later, 77 no permission, 78 configuration invalid.';

async function parse(argv: readonly string[], world: World): Promise<Parsed> {
  let chosen: Chosen | undefined;
  const choose = (command: Chosen) => {
    chosen = command;
  };
  const parser = commands(world, choose);
  // What the parser itself cannot tell when it fails.
  const json = argv.includes('--json');
  const quiet = argv.includes('--quiet') || argv.includes('-q');
  const usage = (message: string): Parsed => ({
    json,
    quiet,
    error: new AgentError('usage', asWord(message), '"doorward --help" lists the commands'),
    chosen: nothing,
  });
  let text = '';
  try {
    const args = await parser.parseAsync(markWords(argv), {}, (_error, _argv, output) => {
      text = output;
    });
    if (text !== '') return { json, quiet, help: text, chosen: nothing };
    if (chosen === undefined) return usage('say what to do');
    return { json: args.json, quiet: args.quiet, chosen };
  } catch (error) {
    return usage(errorText(error));
  }
}

async function nothing(): Promise<ExitCode> {
  return EXIT.done;
}

function commands(world: World, choose: (command: Chosen) => void) {
  const state = {
    type: 'string',
    requiresArg: true,
    describe: 'use a station of our own with its identity in this folder, made if missing',
  } as const;
  const bootstrap = {
    type: 'string',
    array: true,
    nargs: 1,
    requiresArg: true,
    describe: 'host:port to enter the network through, for a station of our own',
  } as const;
  const callId = {
    type: 'string',
    coerce: asWord,
    describe: 'which call, where there are several',
  } as const;

  return (
    yargs()
      .scriptName('doorward')
      .locale('en')
      // Its types do not know plurals.
      .updateStrings(PLAIN_WORDS as unknown as Record<string, string>)
      .usage('$0 COMMAND: door station and home intercom without a server')
      .exitProcess(false)
      .strict()
      .recommendCommands()
      .showHelpOnFail(false)
      .fail((message: string | null, error: Error | undefined) => {
        throw error ?? new Error(message ?? 'wrong usage');
      })
      .version(false)
      .help()
      .alias('help', 'h')
      .wrap(100)
      .parserConfiguration({
        'parse-numbers': false,
        'parse-positional-numbers': false,
        'boolean-negation': false,
        'dot-notation': false,
        'camel-case-expansion': false,
      })
      .option('config', {
        alias: 'c',
        type: 'string',
        requiresArg: true,
        describe: 'configuration file, to find the station',
      })
      .option('json', { type: 'boolean', default: false, describe: 'print one JSON object' })
      .option('quiet', {
        alias: 'q',
        type: 'boolean',
        default: false,
        describe: 'print nothing, the exit code tells',
      })
      .command(
        'init',
        'make identity and state folder ahead of the first start; with -c a new configuration, too',
        (y) => y.option('state', { ...state, describe: 'state folder' }),
        ({ config, state }) => choose((output) => initCommand(world, { config, state }, output)),
      )
      .command(
        'run',
        'run the station in the foreground; --set key=value overrides the configuration',
        (y) =>
          y
            .option('set', { type: 'string', array: true, nargs: 1, describe: 'key=value' })
            .option('dht-only', {
              type: 'boolean',
              describe: 'be a node of the DHT and nothing else: no identity, no calls',
            }),
        // Never reached: main.ts starts it without this file.
      )
      .command(
        'id',
        'print the id of the station, 40 hex digits',
        (y) =>
          y.option('state', {
            ...state,
            describe: 'of the identity in this folder, made if missing',
          }),
        ({ config, state }) => choose((output) => idCommand(world, { config, state }, output)),
      )
      .command('contact', 'who may call', (y) =>
        y
          .demandCommand(1, 'say what to do: contact add, contact list or contact remove')
          .command(
            'add <name> <id>',
            'let a station call',
            (z) =>
              z
                .positional('name', { type: 'string', coerce: asWord, demandOption: true })
                .positional('id', { type: 'string', coerce: asWord, demandOption: true })
                .option('can', {
                  type: 'string',
                  requiresArg: true,
                  describe: `rights, separated by commas: ${RIGHTS.join(', ')}; default ring`,
                  coerce: parseRights,
                }),
            ({ config, name, id, can }) =>
              choose((output) => contactAddCommand(world, { config, name, id, can }, output)),
          )
          .command(
            'list',
            'list contacts',
            (z) => z,
            ({ config }) => choose((output) => contactListCommand(world, { config }, output)),
          )
          .command(
            'remove <name>',
            'forget a contact',
            (z) => z.positional('name', { type: 'string', coerce: asWord, demandOption: true }),
            ({ config, name }) =>
              choose((output) => contactRemoveCommand(world, { config, name }, output)),
          ),
      )
      .command(
        'call <to>',
        'call a contact or an id, until the call ends',
        (y) =>
          y
            .positional('to', {
              type: 'string',
              coerce: asWord,
              demandOption: true,
              describe: 'name or 40-digit id',
            })
            .option('play', { type: 'string', requiresArg: true, describe: 'WAV file to say' })
            .option('record', { type: 'string', requiresArg: true, describe: 'WAV file to write' })
            .option('for', {
              type: 'string',
              requiresArg: true,
              describe: 'hang up that long after it was answered: 10s, 5m',
              coerce: parseTime('--for'),
            })
            .option('bootstrap', bootstrap)
            .option('state', state),
        ({ config, to, play, record, for: forMs, bootstrap, state }) => {
          const args: CallArguments = { config, to, play, record, forMs, bootstrap, state };
          choose((output) => callCommand(world, args, output));
        },
      )
      .command(
        'answer [call]',
        'answer the call that rings',
        (y) => y.positional('call', callId),
        ({ config, call }) =>
          choose((output) => answerCommand(world, { config, callId: call }, output)),
      )
      .command(
        'hangup [call]',
        'end the call, or every call',
        (y) => y.positional('call', callId),
        ({ config, call }) =>
          choose((output) => hangupCommand(world, { config, callId: call }, output)),
      )
      .command(
        'send <to> <text>',
        'send a text message; - reads it from standard input',
        (y) =>
          y
            .positional('to', {
              type: 'string',
              coerce: asWord,
              demandOption: true,
              describe: 'name or 40-digit id',
            })
            .positional('text', { type: 'string', coerce: asWord, demandOption: true })
            .option('bootstrap', bootstrap)
            .option('state', state),
        ({ config, to, text, bootstrap, state }) =>
          choose((output) => sendCommand(world, { config, to, text, bootstrap, state }, output)),
      )
      .command('dht', 'the DHT by hand', (y) => dhtCommands(y, world, choose, { bootstrap, state }))
      .command(
        'messages',
        'list the last messages',
        (y) =>
          y.option('limit', {
            type: 'string',
            requiresArg: true,
            describe: 'how many',
            coerce: parseLimit,
          }),
        ({ config, limit }) =>
          choose((output) => messagesCommand(world, { config, limit }, output)),
      )
      .command(
        'status',
        'show the running station',
        (y) => y,
        ({ config }) => choose((output) => statusCommand(world, { config }, output)),
      )
      .command(
        'events',
        'print what happens, one JSON object per line, until Ctrl-C',
        (y) =>
          y
            .option('follow', {
              type: 'boolean',
              describe: 'the only way there is, and the default',
            })
            .option('type', {
              type: 'string',
              requiresArg: true,
              describe: 'only these, separated by commas: call, call.answered, message …',
            }),
        ({ config, type }) => {
          const types = type?.split(',');
          choose((output) => eventsCommand(world, { config, types }, output));
        },
      )
      .command(
        'check-config [file]',
        'tell what is wrong with a configuration; nothing is started',
        (y) =>
          y
            .positional('file', { type: 'string', coerce: asWord })
            .option('print-effective', {
              type: 'boolean',
              default: false,
              describe: 'print every key with its value and where that comes from',
            })
            .option('set', { type: 'string', array: true, nargs: 1, describe: 'key=value' }),
        ({ config, file, set, 'print-effective': printEffective }) => {
          const args = { file: file ?? config, settings: set, printEffective };
          choose((output) => checkConfigCommand(world, args, output));
        },
      )
      .command(
        'version',
        'print the version',
        (y) => y,
        () => choose((output) => versionCommand(world, {}, output)),
      )
      .check(onceEach)
      .epilogue(EXIT_HELP)
  );
}

const REPEATABLE = new Set(['_', 'bootstrap', 'can', 'select', 'set']);

/** Of two values for one option neither is taken. */
function onceEach(args: Readonly<Record<string, unknown>>): true {
  const twice = Object.keys(args).filter((k) => Array.isArray(args[k]) && !REPEATABLE.has(k));
  if (twice.length === 0) return true;
  // An option comes under its short name, too.
  const name = twice.reduce((a, b) => (b.length > a.length ? b : a));
  throw new Error(`--${name} is given twice`);
}

function parseLimit(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Error(`--limit: "${text}" is not a number from 1`);
  return Number(text);
}

function parseRights(text: string | readonly string[]): Right[] {
  const words = [text].flat().flatMap((part) => part.split(','));
  return words.map((word) => {
    const right = RIGHTS.find((known) => known === word.trim());
    if (right === undefined) {
      throw new Error(`--can: "${word.trim()}" is not one of ${RIGHTS.join(', ')}`);
    }
    return right;
  });
}
