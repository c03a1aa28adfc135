import type { DhtNodesResult, DhtStatsResult, DhtValue } from '../control/dht-protocol.ts';
import { formatSeconds, printable, table } from './output.ts';

/** What comes from the DHT as text for people. Anybody wrote it: nothing of it reaches the terminal as it is. */

/** Fields that `--select` prints, by their names in the reference's text form (opendht.md 12). */
export const SELECTABLE = ['id', 'value_type', 'owner_pk', 'seq', 'user_type'] as const;
export type Selected = (typeof SELECTABLE)[number];

/** Two lines: what is known of the value, and what is in it. */
export function valueText(value: DhtValue): string {
  const facts = [`id ${value.id}`];
  if (value.type !== undefined) facts.push(`type ${value.type}`);
  if (value.user_type !== undefined) facts.push(`user type "${printable(value.user_type)}"`);
  if (value.data !== undefined) facts.push(`${bytesOf(value).length} bytes`);
  return `${[...facts, ...authorship(value)].join(', ')}\n  ${contentText(value)}`;
}

function authorship({ signed, encrypted }: DhtValue): string[] {
  const facts: string[] = [];
  if (encrypted === 'opened') facts.push('encrypted to us');
  if (signed?.to !== undefined && encrypted === undefined) facts.push(`for ${signed.to}`);
  if (signed === undefined) return encrypted === undefined ? ['not signed'] : facts;
  const { by, seq, signature } = signed;
  const verdict =
    signature === 'good' ? `signed by ${by}` : `BAD SIGNATURE, claims to be signed by ${by}`;
  return [...facts, verdict, `seq ${seq}`];
}

const UNREADABLE = {
  'not-for-us': '(encrypted, not to us)',
  broken: '(encrypted to us, but what is inside is damaged or not signed for us)',
  'not-tried': '(encrypted; not tried to open)',
} as const;

function contentText(value: DhtValue): string {
  if (value.encrypted !== undefined && value.encrypted !== 'opened') {
    return UNREADABLE[value.encrypted];
  }
  const bytes = bytesOf(value);
  const text = asText(bytes);
  return text === undefined ? `0x${Buffer.from(bytes).toString('hex')}` : printable(text);
}

/** @returns undefined when the bytes are no text: not UTF-8, or with control characters that texts do not have */
function asText(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
    return /[\0-\x08\x0e-\x1f\x7f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

export function bytesOf({ data = '' }: DhtValue): Uint8Array {
  return Buffer.from(data, 'base64');
}

/** The chosen fields, and what tells whether they are true. */
export function selectedText(value: DhtValue, fields: readonly Selected[]): string {
  return fields.map((field) => `${field}=${fieldText(value, field)}`).join(',');
}

function fieldText({ id, type, user_type, signed }: DhtValue, field: Selected): string {
  switch (field) {
    case 'id':
      return id;
    case 'value_type':
      return String(type ?? '');
    case 'owner_pk':
      return signed === undefined ? '' : `${signed.by}${signed.signature === 'bad' ? '(bad)' : ''}`;
    case 'seq':
      return String(signed?.seq ?? '');
    case 'user_type':
      return printable(user_type ?? '');
    default:
      return field satisfies never;
  }
}

/** The same as an object, for `--json`. */
export function selectedJson(value: DhtValue, fields: readonly Selected[]): object {
  const { id, type, user_type, signed } = value;
  return {
    ...(fields.includes('id') && { id }),
    ...(fields.includes('value_type') && type !== undefined && { type }),
    ...(fields.includes('user_type') && user_type !== undefined && { user_type }),
    ...(signed !== undefined && {
      ...(fields.includes('owner_pk') && { by: signed.by, signature: signed.signature }),
      ...(fields.includes('seq') && { seq: signed.seq }),
    }),
  };
}

export function nodesText({ id, nodes }: DhtNodesResult): string {
  if (nodes.length === 0) return `${id} is alone: its routing tables are empty`;
  const rows = nodes.map((node) => [
    node.id,
    node.address,
    node.state,
    node.heard_s === undefined ? 'never' : `${formatSeconds(node.heard_s)} ago`,
    String(node.bucket),
  ]);
  return table([['ID', 'ADDRESS', 'STATE', 'HEARD', 'BUCKET'], ...rows]);
}

export function statsText({ id, sizes, counters }: DhtStatsResult): string {
  const number = (n: number) => n.toLocaleString('en');
  return [
    `node ${id}`,
    '',
    table([
      ['SIZE', 'NOW', 'AT MOST'],
      ...sizes.map(({ name, size, cap }) => [name, number(size), number(cap)]),
    ]),
    '',
    table([
      ['COUNTER', 'VALUE'],
      ...Object.entries(counters).map(([name, value]) => [name, number(value)]),
    ]),
  ].join('\n');
}
