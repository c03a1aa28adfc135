import { AgentError } from '../base/errors.ts';
import { InfoHash } from './infohash.ts';
import type { Filter, Query } from './value.ts';

/** The text form of filters in the reference's tools (opendht.md 12): `id=5,value_type=3,owner_pk=<hex>,user_type=x`. */

const EXPECTED = 'write it as id=5,value_type=3,owner_pk=<40 hex digits>,user_type=text';
/** One of each kind makes sense; more can match nothing. */
const MAX_FILTERS = 8;

/**
 * A query for whole values that pass all filters.
 * @param text with or without `WHERE` in front; empty: every value
 * @throws {AgentError} `bad-query`
 */
export function parseWhere(text: string): Query {
  const list = text.trim().replace(/^WHERE\b\s*/i, '');
  const parts = list === '' ? [] : list.split(',');
  if (parts.length > MAX_FILTERS) throw badQuery(`there are more than ${MAX_FILTERS} filters`);
  return { where: parts.map(parseFilter), select: [] };
}

function parseFilter(text: string): Filter {
  const [, name, value = ''] = /^\s*(\w+)\s*=\s*(.*?)\s*$/.exec(text) ?? [];
  switch (name) {
    case 'id':
      if (/^\d{1,20}$/.test(value) && BigInt(value) < 1n << 64n)
        return { field: 'id', value: BigInt(value) };
      throw badQuery(`"${value}" is no id of a value`);
    case 'value_type':
      if (/^\d{1,5}$/.test(value) && Number(value) <= 0xffff)
        return { field: 'type', value: Number(value) };
      throw badQuery(`"${value}" is no type of a value`);
    case 'owner_pk':
      if (/^[0-9a-fA-F]{40}$/.test(value))
        return { field: 'owner', value: InfoHash.fromHex(value) };
      throw badQuery(`"${value}" is not the 40 hex digits of a key's id`);
    case 'user_type':
      return { field: 'userType', value };
    case 'seq':
      throw badQuery('values cannot be filtered by their sequence number');
    default:
      throw badQuery(`"${text.trim()}" is no filter`);
  }
}

function badQuery(message: string): AgentError {
  return new AgentError('bad-query', message, EXPECTED);
}
