import * as v from 'valibot';
import { isRecord } from '../base/record.ts';
import { nearestWord } from '../base/suggest.ts';
import type { Place } from './file.ts';
import {
  allKeys,
  emptyTree,
  formatPath,
  type KeyPath,
  keyAt,
  namesBelow,
  type Tree,
} from './keys.ts';
import { brokenRules } from './rules.ts';
import { ConfigSchema, type Settings } from './schema.ts';

/** Layers of values → settings with their origins, or every problem at once. Pure. */

/** One source of values, weakest first: the file, the environment, the command line. */
export interface Layer {
  readonly values: Tree;
  /** Where a value, or a key, was written: `doorward.yaml:3:5`, `DOORWARD_DHT_PORT`. */
  readonly origin: (path: KeyPath, part: 'key' | 'value') => Origin;
}

export interface Origin {
  readonly source: string;
  readonly place?: Place;
}

export interface ConfigProblem extends Origin {
  /** `dht.port`; empty when it is about the whole source. */
  readonly path: string;
  readonly reason: string;
}

export interface EffectiveValue {
  readonly path: string;
  readonly value: unknown;
  /** `default`, `doorward.yaml:3`, `DOORWARD_DHT_PORT`, `--set dht.port`. */
  readonly origin: string;
}

export type CheckResult =
  | { readonly ok: true; readonly settings: Settings; readonly effective: EffectiveValue[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

const MAX_SHOWN_CHARS = 40;

export function checkLayers(layers: readonly Layer[]): CheckResult {
  const problems: ConfigProblem[] = [];
  const values = emptyTree();
  /** By `formatPath` of a key with a value: the layer that set it. */
  const setBy = new Map<string, Layer>();

  for (const layer of layers) {
    overlay(values, withoutUnknown(layer, layer.values, [], problems), [], layer, setBy);
  }
  const at = (path: KeyPath, part: 'key' | 'value'): Origin => {
    for (let length = path.length; length > 0; length--) {
      const layer = setBy.get(formatPath(path.slice(0, length)));
      if (layer !== undefined) return layer.origin(path, part);
    }
    return { source: 'default' };
  };
  const report = (path: KeyPath, part: 'key' | 'value', reason: string) => {
    problems.push({ ...at(path, part), path: formatPath(path), reason });
  };

  const first = v.safeParse(ConfigSchema, values, { abortPipeEarly: true });
  for (const issue of first.issues ?? []) {
    const path = (issue.path ?? []).map((item) => item.key as string | number);
    const value = issue.path?.at(-1)?.value;
    const isName = issue.path?.at(-1)?.origin === 'key' && issue.type === 'regex';
    if (isName) report(path, 'key', contactNameReason(path));
    else report(path, value === undefined ? 'key' : 'value', valueReason(path, value));
    remove(values, path);
  }
  // Rules look at what is left: a section with a wrong key is not judged as a whole yet.
  const second = first.success ? first : v.safeParse(ConfigSchema, values);
  if (second.success) {
    const damaged = new Set(problems.map(({ path }) => path.split('.')[0]));
    for (const { path, reason } of brokenRules(second.output)) {
      if (!damaged.has(String(path[0]))) report(path, 'value', reason);
    }
  }
  if (problems.length > 0 || !second.success) return { ok: false, problems };

  const settings = second.output;
  const effective = allKeys().map((path) => {
    const { source, place } = at(path, 'value');
    return {
      path: formatPath(path),
      value: path.reduce<unknown>((v, step) => (isRecord(v) ? v[step] : undefined), settings),
      origin: place === undefined ? source : `${source}:${place.line}`,
    };
  });
  return { ok: true, settings, effective };
}

/** A copy of `value` without the keys that the schema does not have; each of them becomes a problem. */
function withoutUnknown(
  layer: Layer,
  value: unknown,
  path: KeyPath,
  problems: ConfigProblem[],
): unknown {
  if (Array.isArray(value)) {
    return value.map((item, i) => withoutUnknown(layer, item, [...path, i], problems));
  }
  if (!isRecord(value)) return value;
  const names = namesBelow(path);
  const copy = emptyTree();
  for (const [name, item] of Object.entries(value)) {
    const here = [...path, name];
    if (names === undefined || names.includes(name)) {
      copy[name] = withoutUnknown(layer, item, here, problems);
    } else {
      const reason = unknownKeyReason(name, names);
      problems.push({ ...layer.origin(here, 'key'), path: formatPath(here), reason });
    }
  }
  return copy;
}

/** Sections merge key by key; anything else replaces what was there. */
function overlay(
  target: Tree,
  source: unknown,
  path: KeyPath,
  layer: Layer,
  setBy: Map<string, Layer>,
): void {
  if (!isRecord(source)) return;
  for (const [name, value] of Object.entries(source)) {
    const here = [...path, name];
    const old = target[name];
    if (isRecord(value) && namesBelow(here) !== undefined) {
      const section = isRecord(old) ? old : emptyTree();
      target[name] = section;
      overlay(section, value, here, layer, setBy);
    } else {
      target[name] = value;
      setBy.set(formatPath(here), layer);
    }
  }
}

function remove(tree: Tree, path: KeyPath): void {
  // Of a list or of contacts the whole goes: they are one value to every layer.
  const end = path.findIndex((_, i) => namesBelow(path.slice(0, i + 1)) === undefined);
  let section = tree;
  for (const step of path.slice(0, Math.max(0, end))) {
    const next = section[step];
    if (!isRecord(next)) break;
    section = next;
  }
  const last = path[Math.max(0, end)];
  if (last !== undefined) delete section[last];
}

function unknownKeyReason(name: string, names: readonly string[]): string {
  if (name === 'password') {
    return 'a secret does not belong here: put it into a file of its own and name that with "password_file"';
  }
  const near = nearestWord(name, names);
  if (near !== undefined) return `unknown key, did you mean "${near}"?`;
  // Right key, wrong section.
  const elsewhere = allKeys().find((path) => path.at(-1) === name);
  if (elsewhere !== undefined) return `unknown key, did you mean "${formatPath(elsewhere)}"?`;
  return `unknown key; here go ${names.join(', ')}`;
}

function contactNameReason(path: KeyPath): string {
  return `"${path.at(-1)}" is no name for a contact: 1 to 32 letters, digits, blanks, _ and -, not "unknown" and no id`;
}

function valueReason(path: KeyPath, value: unknown): string {
  const key = keyAt(path);
  const parent = keyAt(path.slice(0, -1));
  const words = key?.words;
  const expects = key?.notes.expects ?? parent?.notes.expects;
  if (words !== undefined && typeof value === 'string') {
    const near = nearestWord(value, words);
    const hint = near === undefined ? '' : `, did you mean "${near}"?`;
    return `${shown(value)} is not one of ${words.join(', ')}${hint}`;
  }
  if (expects === undefined) return `must be a section of keys, not ${shown(value)}`;
  if (value === undefined) return `is missing: ${expects}`;
  return key?.notes.hidden === true
    ? `must be ${expects}`
    : `must be ${expects}, not ${shown(value)}`;
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object' && value !== null) return 'a section';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length <= MAX_SHOWN_CHARS ? text : `${text.slice(0, MAX_SHOWN_CHARS)}…`;
}

/** By place in the file, then what has no place. */
export function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const rank = ({ place }: ConfigProblem) =>
    place === undefined ? Number.POSITIVE_INFINITY : place.line * 1e6 + place.column;
  return problems
    .map((problem, i) => ({ problem, i }))
    .sort((a, b) => rank(a.problem) - rank(b.problem) || a.i - b.i)
    .map(({ problem }) => problem);
}
