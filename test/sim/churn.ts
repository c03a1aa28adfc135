import type { Millis } from '../../agent/base/clock.ts';
import type { NodeOptions, SimNode, World } from './world.ts';

export interface ChurnOptions {
  /** Of all nodes, how many are replaced in an hour: 0.5 is half of them. */
  readonly replacedPerHour: number;
  /** These stay. */
  readonly keep?: readonly SimNode[];
  /** What newcomers are. */
  readonly newcomer?: NodeOptions;
}

/**
 * Nodes come and go: at even intervals one dies without a word, and a new one with a new id joins through a node that is
 * there. Who dies is left to chance, so that an hour of one half leaves e^-0.5 of those that were there.
 */
export class Churn {
  readonly #world: World;
  readonly #options: ChurnOptions;
  readonly #intervalMs: Millis;
  #running = true;
  replaced = 0;

  constructor(world: World, options: ChurnOptions) {
    this.#world = world;
    this.#options = options;
    this.#intervalMs = 3_600_000 / (world.nodes.length * options.replacedPerHour);
    this.#next();
  }

  stop(): void {
    this.#running = false;
  }

  #next(): void {
    this.#world.schedule(this.#world.now + this.#intervalMs, () => {
      if (!this.#running) return;
      const { keep = [], newcomer } = this.#options;
      this.#world.pick(this.#world.nodes.filter((node) => !keep.includes(node))).kill();
      this.#world.addOne(newcomer);
      this.replaced++;
      this.#next();
    });
  }
}
