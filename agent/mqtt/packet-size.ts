import type { Socket } from 'node:net';

/**
 * Watches the lengths of MQTT packets in a stream, because the parser behind it would collect up to 256 MB of one before
 * it looks at it. Fixed header: one byte of type, then the remaining length in one to four bytes of seven bits, lowest
 * first, the top bit set on all but the last [MQTT 2.2].
 */
export class PacketSizeWatch {
  readonly #limit: number;
  #skip = 0;
  /** Bytes of the remaining length read so far; -1 before the type. */
  #lengthBytes = -1;
  #length = 0;

  /** @param limit largest remaining length in bytes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @returns false as soon as a packet says that it is larger than the limit, or its length cannot be */
  feed(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, chunk.length - at);
        this.#skip -= step;
        at += step;
        continue;
      }
      const byte = chunk[at++] ?? 0;
      if (this.#lengthBytes < 0) {
        this.#lengthBytes = 0;
        this.#length = 0;
        continue;
      }
      this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes++;
      if (byte >= 0x80) {
        if (this.#lengthBytes === 4) return false;
        continue;
      }
      if (this.#length > this.#limit) return false;
      this.#skip = this.#length;
      this.#lengthBytes = -1;
    }
    return true;
  }
}

/**
 * End `socket` when a packet in it is too large. To be called in the turn in which its reader is attached: it listens
 * beside the reader and sees each chunk before more is read.
 */
export function guardPacketSize(socket: Socket, limit: number, onTooLarge: () => void): void {
  const watch = new PacketSizeWatch(limit);
  socket.on('data', (chunk: Buffer) => {
    if (socket.destroyed || watch.feed(chunk)) return;
    onTooLarge();
    socket.destroy();
  });
}
