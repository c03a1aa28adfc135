import * as v from 'valibot';
import { ConfigSchema, type KeyNotes } from './schema.ts';

/** The schema as a tree of sections and keys: what errors, the environment, the example file and the docs walk over. */

export type KeyPath = readonly (string | number)[];

/** A plain value as it comes out of YAML. Mappings have no prototype, so that no key is special. */
export type Tree = { [key: string]: unknown };

/** How a text, from the environment or the command line, becomes a value. */
export type KeyKind = 'text' | 'number' | 'boolean' | 'list' | 'other';

export interface KeySchema {
  readonly schema: v.GenericSchema;
  readonly kind: KeyKind;
  readonly description: string;
  readonly notes: Partial<KeyNotes>;
  /** The fixed default, if there is one. */
  readonly fallback: unknown;
  /** Words that are allowed, where only some are. */
  readonly words: readonly string[] | undefined;
}

interface Inside {
  readonly type: string;
  readonly wrapped?: v.GenericSchema;
  readonly entries?: Readonly<Record<string, v.GenericSchema>>;
  readonly value?: v.GenericSchema;
  readonly item?: v.GenericSchema;
  readonly options?: readonly string[];
}

/** Valibot's generic type hides what each kind of schema carries; every one we use has these fields. */
const inside = (schema: v.GenericSchema) => schema as unknown as Inside;

function unwrap(schema: v.GenericSchema): v.GenericSchema {
  const { type, wrapped } = inside(schema);
  const wraps = (type === 'optional' || type === 'nullable') && wrapped !== undefined;
  return wraps ? unwrap(wrapped) : schema;
}

const KINDS: Readonly<Record<string, KeyKind>> = {
  string: 'text',
  picklist: 'text',
  number: 'number',
  literal: 'number',
  boolean: 'boolean',
  array: 'list',
};

function describe(schema: v.GenericSchema): KeySchema {
  const bare = unwrap(schema);
  // Notes sit on the pipe around a nullable, below the optional.
  const { type, wrapped } = inside(schema);
  const noted = type === 'optional' && wrapped !== undefined ? wrapped : schema;
  return {
    schema: bare,
    kind: KINDS[inside(bare).type] ?? 'other',
    description: v.getDescription(noted as Parameters<typeof v.getDescription>[0]) ?? '',
    notes: v.getMetadata(noted as Parameters<typeof v.getMetadata>[0]) as Partial<KeyNotes>,
    fallback: v.getDefault(schema as Parameters<typeof v.getDefault>[0]),
    words: inside(bare).options,
  };
}

function child(schema: v.GenericSchema, step: string | number): v.GenericSchema | undefined {
  const { type, entries, value, item } = inside(unwrap(schema));
  if (type === 'strict_object') {
    return entries !== undefined && Object.hasOwn(entries, step) ? entries[step] : undefined;
  }
  if (type === 'record') return value;
  return type === 'array' ? item : undefined;
}

/** What the schema says about `path`; undefined where there is no such key. */
export function keyAt(path: KeyPath): KeySchema | undefined {
  let schema: v.GenericSchema | undefined = ConfigSchema;
  for (const step of path) {
    if (schema === undefined) return undefined;
    schema = child(schema, step);
  }
  return schema === undefined ? undefined : describe(schema);
}

/** The keys right below `path`, or undefined where any name goes (contacts) or nothing is below. */
export function namesBelow(path: KeyPath): readonly string[] | undefined {
  const key = keyAt(path);
  if (key === undefined || inside(key.schema).type !== 'strict_object') return undefined;
  return Object.keys(inside(key.schema).entries ?? {});
}

/** Every key that holds a value, in the order of the file: `['version']`, `['dht', 'bind']`, …, `['contacts']`. */
export function allKeys(path: KeyPath = []): string[][] {
  const names = namesBelow(path);
  if (names === undefined) return [path.map(String)];
  return names.flatMap((name) => allKeys([...path, name]));
}

/** `contacts.alice.can[1]` */
export function formatPath(path: KeyPath): string {
  return path
    .map((step, i) => (typeof step === 'number' ? `[${step}]` : i === 0 ? step : `.${step}`))
    .join('');
}

export function emptyTree(): Tree {
  return Object.create(null) as Tree;
}
