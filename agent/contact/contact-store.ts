import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import { JsonFile } from '../base/json-file.ts';
import { isRecord } from '../base/record.ts';
import type { ContactEntry, Contacts } from './contacts.ts';
import { MAX_CONTACTS, MAX_CONTACTS_FILE_BYTES } from './limits.ts';

/**
 * Driver: the contacts that were added by command, in `contacts.json` of the state folder:
 * `{"version": 1, "contacts": [{"name": "alice", "id": "…40 hex…", "can": ["ring"]}]}`.
 */

const VERSION = 1;

interface ContactFile {
  readonly version: number;
  readonly contacts: readonly ContactEntry[];
}

/**
 * What went wrong while loading; one sentence each for the log. Never fatal: a door works without
 * its phone book.
 */
export type LoadReport = readonly string[];

export class ContactStore {
  readonly #file: JsonFile<ContactFile>;
  /**
   * Entries that could not be used now are written back: a later configuration may make them usable
   * again.
   */
  #leftOut: readonly ContactEntry[] = [];

  /** @param folder the state folder, there and private (`openPrivateFolder`) */
  constructor(folder: string, clock: Clock) {
    this.#file = new JsonFile({
      path: join(folder, 'contacts.json'),
      maxBytes: MAX_CONTACTS_FILE_BYTES,
      parse: parseFile,
      unixMs: () => clock.unixMs(),
    });
  }

  /**
   * Put what the file holds into `contacts`, after those of the configuration: where both name
   * someone, the configuration wins. A file that cannot be understood is set aside whole.
   */
  async load(contacts: Contacts): Promise<LoadReport> {
    const { value, notice } = await this.#file.load();
    const report = notice === undefined ? [] : [notice];
    const leftOut: ContactEntry[] = [];
    for (const entry of value?.contacts ?? []) {
      try {
        contacts.add(entry, 'added');
      } catch (error) {
        leftOut.push(entry);
        report.push(`contacts.json: "${entry.name}" left out: ${errorText(error)}`);
      }
    }
    this.#leftOut = leftOut.slice(0, MAX_CONTACTS);
    return report;
  }

  /** @throws {AgentError} `store-write` */
  save(contacts: Contacts): Promise<void> {
    const added: ContactEntry[] = contacts
      .list()
      .filter(({ source }) => source === 'added')
      .map(({ name, accountId, rights }) => ({ name, id: accountId, can: [...rights] }));
    const names = new Set(added.map(({ name }) => name));
    const leftOut = this.#leftOut.filter(({ name }) => !names.has(name));
    return this.#file.save({ version: VERSION, contacts: [...added, ...leftOut] });
  }
}

function parseFile(json: unknown): ContactFile {
  if (!isRecord(json) || !Array.isArray(json['contacts'])) throw new Error('no list of contacts');
  if (json['version'] !== VERSION) throw new Error(`version ${String(json['version'])}`);
  const contacts: unknown[] = json['contacts'];
  if (!contacts.every(isEntry)) throw new Error('an entry without name, id and rights');
  return { version: VERSION, contacts };
}

function isEntry(value: unknown): value is ContactEntry {
  if (!isRecord(value)) return false;
  const { name, id, can } = value;
  return (
    typeof name === 'string' &&
    typeof id === 'string' &&
    Array.isArray(can) &&
    can.every((right) => typeof right === 'string')
  );
}
