import { basename } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type Clock, type Millis, WakeUp } from '../base/clock.ts';
import { DecodeError, errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { readPrivateFile, removeLeftovers, setAside, writePrivateFile } from '../base/store.ts';
import { addressKey, type ListedNode } from './addresses.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS } from './limits.ts';
import {
  decodeState,
  encodeState,
  type KeptState,
  type KeptValue,
  type StateToKeep,
} from './state-file.ts';

/** Restoring lets other work run after so long: an audio packet is due every 20 ms. */
const SLICE_MS: Millis = 5;

export interface StateKeeperOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** What is to be kept, as of now. */
  readonly keep: () => StateToKeep;
  /** Another number as soon as `keep` would give other values: one more for each that is new, restored ones included. */
  readonly changes: () => number;
  /** @returns whether it is stored now */
  readonly restore: (value: KeptValue) => boolean;
}

/**
 * Driver of the state file: read at the start, written at the end and now and then, when something changed. A file that
 * cannot be used is set aside, one that could be neither read nor set aside is never overwritten, and nothing is fatal.
 */
export class StateKeeper {
  readonly #options: StateKeeperOptions;
  readonly #wakeUp: WakeUp;
  #saving: Promise<void> = Promise.resolve();
  #running = false;
  #isRestored = false;
  /** There is a file of somebody's that we could not set aside. */
  #leaveAlone = false;
  #savedChanges = 0;
  #savedNodes: ReadonlySet<string> = new Set();
  readonly #stats = { saves: 0, failedSaves: 0, bytesWritten: 0, lastSaveBytes: 0 };

  constructor(options: StateKeeperOptions) {
    this.#options = options;
    this.#wakeUp = new WakeUp(options.clock, () => {
      void this.#saveAndRearm();
    });
  }

  /** @returns what was kept, or undefined when there is no file or none that can be used, which is logged */
  async load(): Promise<KeptState | undefined> {
    const { path, log } = this.#options;
    let bytes: Uint8Array | undefined;
    try {
      await removeLeftovers(path);
      bytes = await readPrivateFile(path, LIMITS.stateBytes);
      return bytes === undefined ? undefined : decodeState(bytes);
    } catch (error) {
      if (error instanceof DecodeError || errorCode(error) === 'store-too-large') {
        log.warn(await this.#setAside(errorText(error)));
      } else {
        this.#leaveAlone = true;
        log.warn(errorText(error));
      }
      return undefined;
    }
  }

  async #setAside(reason: string): Promise<string> {
    const { path, clock } = this.#options;
    const name = basename(path);
    try {
      return `${name} cannot be used (${reason}); kept as ${await setAside(path, clock.unixMs())}`;
    } catch (error) {
      this.#leaveAlone = true;
      return `${name} cannot be used (${reason}), nor set aside: ${errorText(error)}`;
    }
  }

  /** Restore the values of `kept`, some at a time, so that other work runs in between; then begin to save. */
  async start(kept: KeptState | undefined): Promise<void> {
    const { clock, log, restore } = this.#options;
    this.#running = true;
    let [restored, refused] = [0, 0];
    let end = clock.now() + SLICE_MS;
    for (const value of kept?.values ?? []) {
      if (restore(value)) restored++;
      else refused++;
      if (clock.now() < end) continue;
      await setImmediate();
      if (!this.#running) return;
      end = clock.now() + SLICE_MS;
    }
    if (kept !== undefined)
      log.info('state restored', { nodes: kept.nodes.length, values: restored, refused });
    this.#isRestored = true;
    this.#savedChanges = restored;
    this.#savedNodes = nameEach(kept?.nodes ?? []);
    this.#arm(LIMITS.stateFirstSaveMs);
  }

  /** Save once more, if anything changed. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    this.#wakeUp.disarm();
    await this.#saving;
    // Before all was restored the file has more than we have.
    if (this.#isRestored) await this.#save();
  }

  #arm(pause: Millis): void {
    this.#wakeUp.arm(this.#options.clock.now() + pause);
  }

  async #saveAndRearm(): Promise<void> {
    this.#saving = this.#save();
    await this.#saving;
    if (this.#running) this.#arm(pauseAfter(this.#stats.lastSaveBytes));
  }

  async #save(): Promise<void> {
    if (this.#leaveAlone) return;
    const { path, log } = this.#options;
    const changes = this.#options.changes();
    const state = this.#options.keep();
    const nodes = nameEach(state.nodes);
    // Nodes that went away do no harm in the file: those that came are what counts.
    const hasNews = [...nodes].some((node) => !this.#savedNodes.has(node));
    if (!hasNews && changes === this.#savedChanges) return;
    try {
      await writePrivateFile(path, this.#counted(encodeState(state)));
    } catch (error) {
      // Once: a full or read-only disk stays so for long.
      if (this.#stats.failedSaves++ === 0)
        log.warn('what the DHT node stores is not kept over a restart', { why: errorText(error) });
      return;
    }
    this.#savedChanges = changes;
    this.#savedNodes = nodes;
    this.#stats.saves++;
  }

  *#counted(pieces: Iterable<Uint8Array>): Generator<Uint8Array> {
    this.#stats.lastSaveBytes = 0;
    for (const piece of pieces) {
      this.#stats.lastSaveBytes += piece.length;
      this.#stats.bytesWritten += piece.length;
      yield piece;
    }
  }

  stats() {
    return { ...this.#stats };
  }
}

/** Until the next save after one of so many bytes: memory cards wear out by what is written, not by how often. */
export function pauseAfter(bytes: number): Millis {
  return LIMITS.stateSaveMs * Math.max(1, bytes / LIMITS.stateBytesPerSave);
}

function nameEach(nodes: readonly ListedNode[]): ReadonlySet<string> {
  return new Set(nodes.map(({ id, address }) => `${id.key}${addressKey(address)}`));
}

/**
 * The id in the state file at `path`: that of a node without an identity, whose id should stay (opendht.md 2). It says
 * nothing of a file that cannot be used; the node that is started with the file does.
 */
export async function savedNodeId(path: string): Promise<InfoHash | undefined> {
  try {
    const bytes = await readPrivateFile(path, LIMITS.stateBytes);
    return bytes === undefined ? undefined : decodeState(bytes).id;
  } catch {
    return undefined;
  }
}
