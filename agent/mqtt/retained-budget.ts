import { utf8 } from '../base/bytes.ts';

/** What the embedded broker may keep: so many retained topics, so many bytes of names and payloads. */
export class RetainedBudget {
  readonly #maxTopics: number;
  readonly #maxBytes: number;
  readonly #sizes = new Map<string, number>();
  #bytes = 0;
  refused = 0;

  constructor(maxTopics: number, maxBytes: number) {
    this.#maxTopics = maxTopics;
    this.#maxBytes = maxBytes;
  }

  get topics(): number {
    return this.#sizes.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * A retained publish came. An empty payload removes its topic [MQTT-3.3.1-10].
   * @returns false when there is no room: the broker must not store it
   */
  admit(topic: string, payloadBytes: number): boolean {
    const before = this.#sizes.get(topic) ?? 0;
    if (payloadBytes === 0) {
      this.#sizes.delete(topic);
      this.#bytes -= before;
      return true;
    }
    const after = utf8(topic).length + payloadBytes;
    const isFull = before === 0 && this.#sizes.size >= this.#maxTopics;
    if (isFull || this.#bytes - before + after > this.#maxBytes) {
      this.refused++;
      return false;
    }
    this.#sizes.set(topic, after);
    this.#bytes += after - before;
    return true;
  }
}
