import { CST, isMap, isScalar, isSeq, Lexer, LineCounter, type Node, parseDocument } from 'yaml';
import { emptyTree, formatPath, type KeyPath, keyAt, type Tree } from './keys.ts';

/** YAML text → plain values that know their places. Pure; the one file that loads `yaml`. */

/** 1-based. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Something that is wrong at one place of the file. `path` is empty for what is no YAML. */
export interface FileProblem {
  readonly place: Place;
  readonly path: string;
  readonly reason: string;
}

export interface FileTree {
  readonly values: Tree;
  /** By `formatPath`: where the key is written. */
  readonly keyPlaces: ReadonlyMap<string, Place>;
  /** By `formatPath`: where the value is written. */
  readonly valuePlaces: ReadonlyMap<string, Place>;
  readonly problems: readonly FileProblem[];
}

/** Over a thousand contacts. Also bounds how deep indentation alone can nest: depth costs its square in blanks. */
export const MAX_FILE_CHARS = 1 << 18;
/** Brackets within brackets, and dashes in one line. The schema is four deep. */
const MAX_DEPTH = 16;
/** A file that is no YAML at all gives an error per line: the first few say it. */
const MAX_SYNTAX_PROBLEMS = 5;

/**
 * YAML 1.2 core schema, one document. Refused where they stand: duplicate keys, keys that are no text, anchors, aliases,
 * tags and directives (nothing here needs them, and aliases can blow up a small file). A key with nothing behind it is a
 * key not given.
 */
export function readConfigText(text: string): FileTree {
  const keyPlaces = new Map<string, Place>();
  const valuePlaces = new Map<string, Place>();
  const problems: FileProblem[] = [];
  const lines = new LineCounter();
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const problem = (offset: number, path: KeyPath, reason: string) => {
    problems.push({ place: placeAt(offset), path: formatPath(path), reason });
  };
  const result = (values: Tree): FileTree => ({ values, keyPlaces, valuePlaces, problems });

  if (text.length > MAX_FILE_CHARS) {
    problem(0, [], `is longer than ${MAX_FILE_CHARS} characters`);
    return result(emptyTree());
  }
  lines.lineStarts.push(0);
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) {
    lines.lineStarts.push(at + 1);
  }
  for (const { offset, reason } of refusedTokens(text)) problem(offset, [], reason);
  if (problems.length > 0) return result(emptyTree());

  const document = parseDocument(text, {
    version: '1.2',
    schema: 'core',
    prettyErrors: false,
    uniqueKeys: false, // reported below, with the name of the key
  });
  for (const error of document.errors.slice(0, MAX_SYNTAX_PROBLEMS)) {
    const reason = error.code === 'MULTIPLE_DOCS' ? 'a second document begins' : error.message;
    problem(error.pos[0], [], `is not valid YAML: ${reason.replace(/\s+/g, ' ')}`);
  }
  if (problems.length > 0) return result(emptyTree());

  function convert(node: Node | null, path: KeyPath): unknown {
    valuePlaces.set(formatPath(path), placeAt(node?.range?.[0] ?? 0));
    if (isMap(node)) return convertMap(node.items, path);
    if (isSeq(node)) return node.items.map((item, i) => convert(asNode(item), [...path, i]));
    if (!isScalar(node)) return undefined;
    if (node.value === null && node.source !== 'null') return undefined;
    // An id of 40 decimal digits, or 12e4…, reads as a number; where text belongs, what was written counts.
    const wantsText = keyAt(path)?.kind === 'text';
    return wantsText && typeof node.value === 'number' ? node.source : node.value;
  }

  function convertMap(items: readonly { key: unknown; value: unknown }[], path: KeyPath): Tree {
    const tree = emptyTree();
    for (const { key, value } of items) {
      const offset = asNode(key)?.range?.[0] ?? 0;
      // As written: `on:` and `2:` are words here.
      const name = isScalar(key) && typeof key.source === 'string' ? key.source : '';
      if (name === '') {
        problem(offset, path, 'a key must be a word');
        continue;
      }
      const at = [...path, name];
      const first = keyPlaces.get(formatPath(at));
      if (first !== undefined) {
        problem(offset, at, `is given twice, first in line ${first.line}`);
        continue;
      }
      keyPlaces.set(formatPath(at), placeAt(offset));
      const converted = convert(asNode(value), at);
      if (converted !== undefined) tree[name] = converted;
    }
    return tree;
  }

  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null)) return result(emptyTree());
  if (!isMap(root)) {
    problem(root.range[0], [], 'must be a mapping of keys, such as "node: front"');
    return result(emptyTree());
  }
  return result(convertMap(root.items, []));
}

/** Pairs of a parsed document hold nodes or nothing. */
function asNode(value: unknown): Node | null {
  return (value ?? null) as Node | null;
}

const REFUSED: Readonly<Record<string, string>> = {
  anchor: 'anchors (&name) are not used here',
  alias: 'aliases (*name) are not used here: write the value out',
  tag: 'tags (!name) are not used here',
  'directive-line': 'directives (%YAML) are not used here',
};

/**
 * What is refused before the parser sees it, at most MAX_SYNTAX_PROBLEMS. The depth is checked here because the parser
 * recurses: thousands of brackets make it exhaust the memory of the process, which no catch survives.
 */
function refusedTokens(text: string): { offset: number; reason: string }[] {
  const found: { offset: number; reason: string }[] = [];
  let offset = 0;
  let brackets = 0;
  let dashes = 0;
  let nextIsContent = false;
  for (const token of new Lexer().lex(text)) {
    const type: string | null = nextIsContent ? 'content' : CST.tokenType(token);
    nextIsContent = type === 'scalar';
    if (type === 'flow-map-start' || type === 'flow-seq-start') brackets++;
    else if (type === 'flow-map-end' || type === 'flow-seq-end') brackets--;
    else if (type === 'seq-item-ind' || type === 'explicit-key-ind') dashes++;
    else if (type === 'newline') dashes = 0;
    const reason = REFUSED[type ?? ''] ?? '';
    if (reason !== '') found.push({ offset, reason });
    if (brackets > MAX_DEPTH || dashes > MAX_DEPTH) {
      found.push({ offset, reason: 'is nested too deeply' });
      break;
    }
    if (found.length >= MAX_SYNTAX_PROBLEMS) break;
    // The lexer marks the start of documents and scalars with characters that are not in the text.
    if (type !== 'scalar' && type !== 'doc-mode' && type !== 'flow-error-end')
      offset += token.length;
  }
  return found;
}
