import { dirname, resolve } from 'node:path';
import { isRecord } from '../base/record.ts';
import { nearestWord } from '../base/suggest.ts';
import type { ConfigProblem, Layer } from './check.ts';
import type { FileTree } from './file.ts';
import { allKeys, emptyTree, formatPath, keyAt, type Tree } from './keys.ts';
import type { Environment } from './paths.ts';

/** The sources of values, each made into a Layer. Pure. */

const PREFIX = 'DOORWARD_';
const FILE_ONLY = 'is a structure and can only be written in the configuration file';

/** Keys that name a file or folder: relative ones count from where they were written. */
const PATH_KEYS = new Set(['state', 'control', 'input', 'output', 'password_file', 'ca_file']);

/**
 * @param file as given by the user, for messages; relative paths in it count from its folder
 * @param folder where a relative `file` counts from
 */
export function fileLayer(file: string, folder: string, tree: FileTree): Layer {
  return {
    values: absolutePaths(tree.values, dirname(resolve(folder, file))),
    origin: (path, part) => {
      const { keyPlaces, valuePlaces } = tree;
      const exact = (part === 'key' ? keyPlaces : valuePlaces).get(formatPath(path));
      if (exact !== undefined) return { source: file, place: exact };
      // What is missing has no place of its own: the nearest thing around it has.
      for (let length = path.length; length > 0; length--) {
        const around = formatPath(path.slice(0, length));
        const place = keyPlaces.get(around) ?? valuePlaces.get(around);
        if (place !== undefined) return { source: file, place };
      }
      return { source: file };
    },
  };
}

export interface TextLayer {
  readonly layer: Layer;
  readonly problems: readonly ConfigProblem[];
}

/** `DOORWARD_DHT_PORT=4300`. The whole prefix is ours: a name that is no key is an error, as in the file. */
export function environmentLayer(environment: Environment, folder: string): TextLayer {
  const variable = (path: readonly (string | number)[]) =>
    `${PREFIX}${path.join('_').toUpperCase()}`;
  const keys = new Map(settable().map((path) => [variable(path), path]));
  const inFile = new Set(allKeys().map(variable));
  const values = emptyTree();
  const problems: ConfigProblem[] = [];
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith(PREFIX) || text === undefined) continue;
    const path = keys.get(name);
    if (path !== undefined) {
      setText(values, path, text);
    } else {
      const reason = inFile.has(name) ? FILE_ONLY : unknown('variable', name, keys.keys(), PREFIX);
      problems.push({ source: name, path: '', reason });
    }
  }
  return {
    layer: {
      values: absolutePaths(values, folder),
      origin: (path) => ({ source: variable(path.filter((step) => typeof step === 'string')) }),
    },
    problems,
  };
}

/** `--set dht.port=4300` */
export function commandLineLayer(settings: readonly string[], folder: string): TextLayer {
  const keys = new Map(settable().map((path) => [formatPath(path), path]));
  const inFile = new Set(allKeys().map(formatPath));
  const values = emptyTree();
  const problems: ConfigProblem[] = [];
  for (const setting of settings) {
    const [name = '', ...rest] = setting.split('=');
    const path = keys.get(name);
    if (path === undefined) {
      const reason = inFile.has(name) ? FILE_ONLY : unknown('key', name, keys.keys());
      problems.push({ source: '--set', path: name, reason });
    } else if (rest.length === 0) {
      problems.push({ source: '--set', path: name, reason: `needs a value: ${name}=…` });
    } else {
      setText(values, path, rest.join('='));
    }
  }
  return {
    layer: { values: absolutePaths(values, folder), origin: () => ({ source: '--set' }) },
    problems,
  };
}

/** Contacts and TURN servers are structures: they belong in the file. */
function settable(): string[][] {
  return allKeys().filter((path) => {
    const kind = keyAt(path)?.kind;
    const isListOfSections = kind === 'list' && keyAt([...path, 0])?.kind === 'other';
    return kind !== 'other' && !isListOfSections;
  });
}

/** @param prefix begins every name, and so does not count as likeness */
function unknown(what: string, name: string, names: Iterable<string>, prefix = ''): string {
  const rests = Array.from(names, (known) => known.slice(prefix.length));
  const near = nearestWord(name.slice(prefix.length), rests);
  const hint = near === undefined ? '' : `, did you mean "${prefix}${near}"?`;
  return `unknown ${what}${hint}`;
}

/** What cannot be read as the key's kind stays text: the check then says what was expected. */
function setText(values: Tree, path: readonly string[], text: string): void {
  let section = values;
  for (const step of path.slice(0, -1)) {
    const next = section[step];
    const inner = isRecord(next) ? next : emptyTree();
    section[step] = inner;
    section = inner;
  }
  const last = path.at(-1);
  if (last !== undefined) section[last] = fromText(text, keyAt(path)?.kind);
}

function fromText(text: string, kind: string | undefined): unknown {
  if (kind === 'number' && /^\d{1,15}$/.test(text)) return Number(text);
  if (kind === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  if (kind === 'list') return text === '' ? [] : text.split(',').map((item) => item.trim());
  return text;
}

function absolutePaths(value: Tree, folder: string): Tree {
  const absolute = (item: unknown): unknown => {
    if (Array.isArray(item)) return item.map(absolute);
    return isRecord(item) ? absolutePaths(item, folder) : item;
  };
  const copy = emptyTree();
  for (const [name, item] of Object.entries(value)) {
    const isPath = PATH_KEYS.has(name) && typeof item === 'string' && item !== '';
    copy[name] = isPath ? resolve(folder, item) : absolute(item);
  }
  return copy;
}
