import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concatBytes, fromHex } from '../../agent/base/bytes.ts';
import { systemClock } from '../../agent/base/clock.ts';
import { createLogger } from '../../agent/base/log.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { LIMITS } from '../../agent/dht/limits.ts';
import { encodeState, type KeptValue, type StateToKeep } from '../../agent/dht/state-file.ts';
import { pauseAfter, StateKeeper, savedNodeId } from '../../agent/dht/state-keeper.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { addressOf, hash } from '../dht/lab.ts';
import { loadVectors } from '../dht/vectors.ts';

/** The driver of the state file, on a real file system. */

const UNIX_MS = 1_795_219_200_000;
let folder = '';
let path = '';
let lines: string[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'doorward-dht-state-'));
  path = join(folder, 'dht.state');
  lines = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function stateOf(values: number, nodes = 1): StateToKeep {
  const packed = packValue({ kind: 'plain', id: 1n, type: 0, data: new Uint8Array(100) });
  return {
    id: hash(1),
    nodes: Array.from({ length: nodes }, (_, i) => ({ id: hash(i + 2), address: addressOf(i) })),
    keys: values,
    values: Array.from({ length: values }, (_, i) => ({
      key: InfoHash.of(`${i}`),
      packed,
      source: addressOf(i).ip,
      createdUnixMs: UNIX_MS,
      expiresUnixMs: UNIX_MS + 600_000,
    })),
  };
}

/** A node of which only this is seen. */
class Bench {
  state = stateOf(0, 0);
  changes = 0;
  readonly restored: KeptValue[] = [];
  readonly keeper = new StateKeeper({
    path,
    clock: systemClock,
    log: createLogger({
      level: 'info',
      journal: true,
      unixMs: () => 0,
      write: (line) => lines.push(line),
    }),
    keep: () => this.state,
    changes: () => this.changes,
    restore: (value) => {
      this.changes++;
      return this.restored.push(value) > 0;
    },
  });

  async start() {
    const kept = await this.keeper.load();
    await this.keeper.start(kept);
    return kept;
  }
}

const write = (state: StateToKeep) => writeFile(path, concatBytes(...encodeState(state)));

describe('the state file', () => {
  test('what one node saves the next one gets', async () => {
    const first = new Bench();
    expect(await first.start()).toBeUndefined();
    first.state = stateOf(3, 2);
    first.changes = 3;
    await first.keeper.stop();
    expect((await stat(path)).mode & 0o777).toBe(0o600);

    const second = new Bench();
    const kept = await second.start();
    expect(kept?.nodes.map(({ address }) => address)).toEqual([addressOf(0), addressOf(1)]);
    expect(second.restored.map(({ key }) => key.hex)).toEqual(
      ['0', '1', '2'].map((text) => InfoHash.of(text).hex),
    );
    expect((await savedNodeId(path))?.hex).toBe(hash(1).hex);
    await second.keeper.stop();
  });

  test('is written when something changed, and only then', async () => {
    await write(stateOf(2, 2));
    const same = new Bench();
    await same.start();
    same.state = stateOf(2, 1); // a node less is no news
    await same.keeper.stop();
    expect(same.keeper.stats().saves).toBe(0);

    const newNode = new Bench();
    await newNode.start();
    newNode.state = stateOf(2, 3);
    await newNode.keeper.stop();
    expect(newNode.keeper.stats()).toMatchObject({
      saves: 1,
      lastSaveBytes: (await stat(path)).size,
    });

    const newValue = new Bench();
    await newValue.start();
    newValue.state = stateOf(3, 3);
    newValue.changes++;
    await newValue.keeper.stop();
    expect(newValue.keeper.stats().saves).toBe(1);
  });

  test('large, it is written less often: never more than 1 MiB in ten minutes', () => {
    expect(pauseAfter(0)).toBe(600_000);
    expect(pauseAfter(2 ** 20)).toBe(600_000);
    expect(pauseAfter(LIMITS.stateBytes)).toBe(18 * 600_000);
  });

  test('before all was restored, the file has more than we have and is left', async () => {
    await write(stateOf(3000));
    const bench = new Bench();
    let now = 0;
    const keeper = new StateKeeper({
      path,
      // Each look at the clock finds 1 ms gone: restoring takes many turns.
      clock: { now: () => now++, unixMs: () => UNIX_MS },
      log: createLogger({ level: 'error', journal: true, unixMs: () => 0, write: () => {} }),
      keep: () => stateOf(0, 5),
      changes: () => -1,
      restore: (value) => bench.restored.push(value) > 0,
    });
    const before = await readFile(path);
    const restoring = keeper.start(await keeper.load());
    expect(bench.restored.length).toBeLessThan(100);
    await keeper.stop();
    await restoring;
    expect(bench.restored.length).toBeLessThan(3000);
    expect(await readFile(path)).toEqual(before);
  });

  test('of dhtnode is read', async () => {
    const { file } = loadVectors<{ file: string }>('release-4.3.1/state_file.json');
    await writeFile(path, fromHex(file));
    const bench = new Bench();
    expect((await bench.start())?.nodes).toHaveLength(1);
    expect(bench.restored).toHaveLength(2);
    await bench.keeper.stop();
  });

  test('what a cut off save left is removed', async () => {
    await writeFile(`${path}.0123456789ab.tmp`, 'half');
    const bench = new Bench();
    await bench.start();
    await bench.keeper.stop();
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('one that cannot be used is set aside and told of', () => {
  const sound = concatBytes(...encodeState(stateOf(2)));
  test.each<[string, Uint8Array, RegExp]>([
    ['damaged', sound.map((byte, i) => (i === 60 ? byte ^ 1 : byte)), /cannot be used/],
    ['cut off', sound.slice(0, -10), /cannot be used \(truncated\)/],
    ['empty', new Uint8Array(0), /cannot be used \(truncated\)/],
    ['of another program', new TextEncoder().encode('[settings]\n'), /cannot be used/],
    ['too large', new Uint8Array(LIMITS.stateBytes + 1), /larger than 18874368 bytes/],
  ])('%s', async (_, bytes, reason) => {
    await writeFile(path, bytes);
    expect(await savedNodeId(path)).toBeUndefined();
    const bench = new Bench();
    expect(await bench.start()).toBeUndefined();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(reason);
    const [aside = ''] = await readdir(folder);
    expect(aside).toMatch(/^dht\.state\.damaged-\d+$/);
    expect((await readFile(join(folder, aside))).equals(bytes)).toBe(true);
    // And from then on there is a new one.
    bench.state = stateOf(1);
    await bench.keeper.stop();
    expect((await savedNodeId(path))?.hex).toBe(hash(1).hex);
  });

  test('what can be neither read nor replaced is told once and left alone', async () => {
    await mkdir(path);
    const bench = new Bench();
    await bench.start();
    bench.state = stateOf(1);
    await bench.keeper.stop();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(`${path} cannot be read`);
    expect(await readdir(folder)).toEqual(['dht.state']);
  });

  test('a folder that is gone costs the save, not the node', async () => {
    const bench = new Bench();
    await bench.start();
    await rm(folder, { recursive: true });
    bench.state = stateOf(1);
    await bench.keeper.stop();
    expect(bench.keeper.stats()).toMatchObject({ saves: 0, failedSaves: 1 });
    expect(lines).toEqual([expect.stringContaining('is not kept over a restart')]);
  });
});
