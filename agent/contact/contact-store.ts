import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { AgentError, errorText } from '../base/errors.ts';
import { readPrivateFile, setAside, writePrivateFile } from '../base/store.ts';
import type { Contact, ContactEntry, Contacts } from './contacts.ts';
import { MAX_CONTACTS, MAX_CONTACTS_FILE_BYTES } from './limits.ts';

/**
 * Driver: the contacts that were added by command, in `contacts.json` of the state folder:
 * `{"version": 1, "contacts": [{"name": "alice", "id": "…40 hex…", "can": ["ring"]}]}`.
 */

const VERSION = 1;

/** What went wrong while loading; one sentence each for the log. Never fatal: a door works without its phone book. */
export type LoadReport = readonly string[];

export class ContactStore {
  readonly #path: string;
  readonly #clock: Clock;
  /** Saves go one after the other, so that the newest table is the one that stays. */
  #saving: Promise<void> = Promise.resolve();
  /** Entries that could not be used now are written back: a later configuration may make them usable again. */
  #leftOut: readonly ContactEntry[] = [];
  /** A file that could neither be read nor set aside must not be overwritten. */
  #keepFile = false;

  /** @param folder the state folder, there and private (`openPrivateFolder`) */
  constructor(folder: string, clock: Clock) {
    this.#path = join(folder, 'contacts.json');
    this.#clock = clock;
  }

  /**
   * Put what the file holds into `contacts`, after those of the configuration: where both name someone, the
   * configuration wins. A file that cannot be understood is set aside whole.
   */
  async load(contacts: Contacts): Promise<LoadReport> {
    let data: Uint8Array | undefined;
    try {
      data = await readPrivateFile(this.#path);
    } catch (error) {
      this.#keepFile = true;
      return [errorText(error)];
    }
    if (data === undefined) return [];
    try {
      return this.#addAll(parseFile(data), contacts);
    } catch (error) {
      return [await this.#setAside(errorText(error))];
    }
  }

  #addAll(entries: readonly ContactEntry[], contacts: Contacts): string[] {
    const report: string[] = [];
    const leftOut: ContactEntry[] = [];
    for (const entry of entries) {
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
    const save = this.#saving.then(() => this.#write(contacts.list()));
    this.#saving = save.catch(() => {}); // told to the caller of this save; the next one starts fresh
    return save;
  }

  async #write(list: readonly Contact[]): Promise<void> {
    if (this.#keepFile) {
      throw new AgentError(
        'store-write',
        `${this.#path} could be neither read nor set aside, so it is not overwritten`,
        'move it away, then restart the station',
      );
    }
    const added: ContactEntry[] = list
      .filter(({ source }) => source === 'added')
      .map(({ name, accountId, rights }) => ({ name, id: accountId, can: [...rights] }));
    const names = new Set(added.map(({ name }) => name));
    const contacts = [...added, ...this.#leftOut.filter(({ name }) => !names.has(name))];
    await writePrivateFile(
      this.#path,
      `${JSON.stringify({ version: VERSION, contacts }, null, 2)}\n`,
    );
  }

  async #setAside(reason: string): Promise<string> {
    try {
      const aside = await setAside(this.#path, this.#clock.unixMs());
      return `contacts.json cannot be used (${reason}); kept as ${aside}`;
    } catch (error) {
      this.#keepFile = true;
      return `contacts.json cannot be used (${reason}), nor set aside: ${errorText(error)}`;
    }
  }
}

/** @throws {Error} in words for the log, when the file is not what `save` writes */
function parseFile(data: Uint8Array): ContactEntry[] {
  if (data.length > MAX_CONTACTS_FILE_BYTES)
    throw new Error(`larger than ${MAX_CONTACTS_FILE_BYTES} bytes`);
  const file: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
  if (!isRecord(file) || !Array.isArray(file['contacts'])) throw new Error('no list of contacts');
  if (file['version'] !== VERSION) throw new Error(`version ${String(file['version'])}`);
  const entries: unknown[] = file['contacts'];
  if (!entries.every(isEntry)) throw new Error('an entry without name, id and rights');
  return entries;
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

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
