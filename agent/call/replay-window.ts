/** How far behind the newest a sequence number may come. A call has about ten signals. */
const WINDOW = 32;

/**
 * Takes each sequence number once, in any order within a window: the DHT delivers a signal again
 * and out of turn. (The idea is RFC 4303 section 3.4.3.)
 */
export class ReplayWindow {
  #highest = -1;
  /** Bit i: `#highest - i` was seen. */
  #seen = 0;

  /** @returns false for a number that was seen or is too old; true makes it seen */
  accept(sequence: number): boolean {
    const ahead = sequence - this.#highest;
    if (ahead > 0) {
      this.#seen = ahead >= WINDOW ? 1 : (this.#seen << ahead) | 1;
      this.#highest = sequence;
      return true;
    }
    const bit = 1 << -ahead;
    if (-ahead >= WINDOW || (this.#seen & bit) !== 0) return false;
    this.#seen |= bit;
    return true;
  }
}
