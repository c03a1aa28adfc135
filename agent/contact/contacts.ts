import { AgentError } from '../base/errors.ts';
import { nearestWord } from '../base/suggest.ts';
import type { Right } from '../events.ts';
import { MAX_CONTACTS } from './limits.ts';

/** Someone who may do something at this station. */
export interface Contact {
  /** CONTACT_NAME: what people type, and the alias on MQTT. */
  readonly name: string;
  /** 40 lower-case hex digits: the short id of their account's key. */
  readonly accountId: string;
  readonly rights: ReadonlySet<Right>;
  /** `config`: written in the configuration, so it cannot be changed from the command line. */
  readonly source: 'config' | 'added';
}

/** A contact as people write it, before it was checked. */
export interface ContactEntry {
  readonly name: string;
  readonly id: string;
  /**
   * Default: `ring`. An empty list is a contact that may do nothing, and whom we can still call.
   */
  readonly can?: readonly string[];
}

/** What someone wants to do here. Opening doors and the rest join with their features. */
export type Action = 'ring';

/** What is done about it. */
export type Decision = 'answer' | 'ring' | 'refuse';

/**
 * For each action the rights that allow it, first match wins. Whoever has none of them is refused.
 */
const RULES: Record<Action, readonly { readonly right: Right; readonly decision: Decision }[]> = {
  ring: [
    { right: 'auto_answer', decision: 'answer' },
    { right: 'ring', decision: 'ring' },
  ],
};

/** The one place that decides who may do what. Unknown people are denied. */
export function decide(contact: Contact | undefined, action: Action): Decision {
  if (contact === undefined) return 'refuse';
  return RULES[action].find(({ right }) => contact.rights.has(right))?.decision ?? 'refuse';
}

/** Exhaustive by its type: a right that is added to `Right` must be added here. */
const KNOWN_RIGHTS: Record<Right, true> = { ring: true, auto_answer: true };
const DEFAULT_RIGHTS: readonly Right[] = ['ring'];

/**
 * Letters and digits of any script, blank, `_` and `-` inside, at most 32. Not `unknown`, which stands for everybody else,
 * and nothing that reads as an id.
 */
export const CONTACT_NAME =
  /^(?!unknown$)(?![0-9a-fA-F]{40}$)[\p{L}\p{N}](?:[\p{L}\p{N} _-]{0,30}[\p{L}\p{N}_-])?$/u;
const ACCOUNT_ID = /^[0-9a-fA-F]{40}$/;

/** The table of contacts. No file, no network: contact-store.ts keeps what was added. */
export class Contacts {
  readonly #ownAccountId: string;
  readonly #byName = new Map<string, Contact>();
  readonly #byAccount = new Map<string, Contact>();

  /** @param ownAccountId 40 hex digits; nobody is a contact of himself */
  constructor(ownAccountId: string) {
    this.#ownAccountId = ownAccountId.toLowerCase();
  }

  /**
   * @throws {AgentError} `bad-name`, `bad-id`, `own-id`, `unknown-right`, `duplicate-name`, `duplicate-id`,
   * `too-many-contacts`
   */
  add(entry: ContactEntry, source: Contact['source']): Contact {
    const contact = { ...checkEntry(entry), source };
    const { name, accountId } = contact;
    if (accountId === this.#ownAccountId) {
      throw new AgentError('own-id', `${accountId} is this station's own id`);
    }
    if (this.#byName.has(name)) {
      throw new AgentError(
        'duplicate-name',
        `there is already a contact "${name}"`,
        `remove it first: doorward contact remove ${name}`,
      );
    }
    const same = this.#byAccount.get(accountId);
    if (same !== undefined) {
      throw new AgentError('duplicate-id', `${accountId} is already the contact "${same.name}"`);
    }
    if (this.#byName.size >= MAX_CONTACTS) {
      throw new AgentError('too-many-contacts', `a station keeps at most ${MAX_CONTACTS} contacts`);
    }
    this.#byName.set(name, contact);
    this.#byAccount.set(accountId, contact);
    return contact;
  }

  /** @throws {AgentError} `no-such-contact`, `contact-in-config` */
  remove(name: string): Contact {
    const contact = this.#byName.get(name);
    if (contact === undefined) {
      const near = nearestWord(name, this.#byName.keys());
      throw new AgentError(
        'no-such-contact',
        `there is no contact "${name}"`,
        near === undefined ? undefined : `did you mean "${near}"?`,
      );
    }
    if (contact.source === 'config') {
      throw new AgentError(
        'contact-in-config',
        `"${name}" is written in the configuration`,
        'remove it there, then restart the station',
      );
    }
    this.#byName.delete(name);
    this.#byAccount.delete(contact.accountId);
    return contact;
  }

  byName(name: string): Contact | undefined {
    return this.#byName.get(name);
  }

  byAccount(accountId: string): Contact | undefined {
    return this.#byAccount.get(accountId.toLowerCase());
  }

  /** Sorted by name. */
  list(): Contact[] {
    return [...this.#byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  stats(): { readonly contacts: number; readonly limit: number } {
    return { contacts: this.#byName.size, limit: MAX_CONTACTS };
  }
}

function checkEntry(entry: ContactEntry): Omit<Contact, 'source'> {
  const { name, id, can } = entry;
  if (!CONTACT_NAME.test(name)) {
    throw new AgentError(
      'bad-name',
      `"${name}" cannot be a contact's name`,
      'use 1 to 32 letters, digits, blanks, _ and -, not "unknown" and no id',
    );
  }
  if (!ACCOUNT_ID.test(id)) {
    throw new AgentError(
      'bad-id',
      `"${id}" is not a station's id`,
      'it has 40 hex digits; "doorward id" on the other station prints it',
    );
  }
  return {
    name,
    accountId: id.toLowerCase(),
    rights: new Set(can?.map(asRight) ?? DEFAULT_RIGHTS),
  };
}

function asRight(word: string): Right {
  const rights = Object.keys(KNOWN_RIGHTS);
  const right = rights.find((known) => known === word);
  if (right !== undefined) return right as Right;
  const near = nearestWord(word, rights);
  throw new AgentError(
    'unknown-right',
    `there is no right "${word}"`,
    near === undefined ? `there are: ${rights.join(', ')}` : `did you mean "${near}"?`,
  );
}
