import { basename } from 'node:path';
import { AgentError, errorText } from './errors.ts';
import { readPrivateFile, setAside, writePrivateFile } from './store.ts';

export interface JsonFileOptions<T> {
  readonly path: string;
  readonly maxBytes: number;
  /** Checks what was read. @throws {Error} in words for the log when the file is not what `save` writes */
  readonly parse: (json: unknown) => T;
  readonly unixMs: () => number;
}

export interface LoadedFile<T> {
  /** Undefined: there is no file, or none that can be used. */
  readonly value: T | undefined;
  /** One sentence for the log when something is wrong. */
  readonly notice?: string;
}

/**
 * Driver: one private file of JSON. A file that cannot be understood is set aside whole, one that could neither be read nor set
 * aside is never overwritten: nothing is lost, and nothing is fatal.
 */
export class JsonFile<T> {
  readonly #options: JsonFileOptions<T>;
  /** Saves go one after the other, so that the newest state is the one that stays. */
  #saving: Promise<void> = Promise.resolve();
  #keep = false;

  constructor(options: JsonFileOptions<T>) {
    this.#options = options;
  }

  async load(): Promise<LoadedFile<T>> {
    const { path, maxBytes, parse } = this.#options;
    let data: Uint8Array | undefined;
    try {
      data = await readPrivateFile(path);
    } catch (error) {
      this.#keep = true;
      return { value: undefined, notice: errorText(error) };
    }
    if (data === undefined) return { value: undefined };
    try {
      if (data.length > maxBytes) throw new Error(`larger than ${maxBytes} bytes`);
      return { value: parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data))) };
    } catch (error) {
      return { value: undefined, notice: await this.#setAside(errorText(error)) };
    }
  }

  /** @throws {AgentError} `store-write` */
  save(value: T): Promise<void> {
    const save = this.#saving.then(() => this.#write(value));
    this.#saving = save.catch(() => {}); // told to the caller of this save; the next one starts fresh
    return save;
  }

  async #write(value: T): Promise<void> {
    const { path } = this.#options;
    if (this.#keep) {
      throw new AgentError(
        'store-write',
        `${path} could be neither read nor set aside, so it is not overwritten`,
        'move it away, then restart the station',
      );
    }
    await writePrivateFile(path, `${JSON.stringify(value, null, 2)}\n`);
  }

  async #setAside(reason: string): Promise<string> {
    const { path, unixMs } = this.#options;
    const name = basename(path);
    try {
      return `${name} cannot be used (${reason}); kept as ${await setAside(path, unixMs())}`;
    } catch (error) {
      this.#keep = true;
      return `${name} cannot be used (${reason}), nor set aside: ${errorText(error)}`;
    }
  }
}
