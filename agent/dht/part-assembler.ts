import type { Address } from '../base/address.ts';
import type { Millis } from '../base/clock.ts';
import { type AddressKey, addressKey, sourceKey } from './addresses.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import type { PartMessage, PartPiece, WireValue } from './message.ts';
import type { Job, Scheduler } from './scheduler.ts';

/** What keeping one part costs beside its bytes, and what one announced size costs, roughly. */
const PIECE_OVERHEAD = 128;
const SIZE_OVERHEAD = 64;

interface Assembly<Header> {
  readonly key: string;
  readonly source: AddressKey;
  readonly startedAt: Millis;
  lastAt: Millis;
  header: Header | undefined;
  /** Announced sizes by position in `values`; those that are skipped are missing. */
  sizes: Map<number, number>;
  readonly pieces: Map<number, PieceList>;
  bytes: number;
  job: Job | undefined;
}

/** The parts of one value that are here, in the order of their offsets, not overlapping. */
interface PieceList {
  readonly items: PartPiece[];
  bytes: number;
}

/**
 * Puts messages together whose values come in parts (opendht.md 6.3, as 4.3.1 does it): kept under address and tid, parts
 * in any order, also before their header. Given up 10 s after the first datagram, or 3 s after the last.
 *
 * `Header` is whatever the caller wants back with the whole values.
 */
export class PartAssembler<Header> {
  readonly #scheduler: Scheduler;
  readonly #onWhole: (header: Header, values: readonly Uint8Array[], now: Millis) => void;
  readonly #assemblies = new Map<string, Assembly<Header>>();
  readonly #perSource = new Map<AddressKey, number>();
  #bytes = 0;
  /** Given up: too late, or pushed out by others. */
  abandoned = 0;
  evicted = 0;

  constructor(
    scheduler: Scheduler,
    onWhole: (header: Header, values: readonly Uint8Array[], now: Millis) => void,
  ) {
    this.#scheduler = scheduler;
    this.#onWhole = onWhole;
  }

  get size(): number {
    return this.#assemblies.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * A message arrived that announces sizes.
   * @param weight bytes that `header` holds on to
   */
  start(
    header: Header,
    tid: number,
    values: readonly WireValue[],
    weight: number,
    from: Address,
    now: Millis,
  ): void {
    const sizes = announced(values);
    // With nothing left to wait for there is nothing to say either: an announced value that is too large is lost.
    if (sizes.size === 0 && !values.some((value) => typeof value !== 'number')) return;
    const assembly = this.#open(from, tid, now);
    if (assembly === undefined || assembly.header !== undefined) return;
    assembly.header = header;
    assembly.sizes = sizes;
    this.#weigh(assembly, weight + sizes.size * SIZE_OVERHEAD);
    for (const [index, list] of assembly.pieces) {
      const size = sizes.get(index);
      if (size === undefined || list.items.some((piece) => piece.offset + piece.data.length > size))
        this.#forgetPieces(assembly, index);
    }
    this.#shrink(assembly);
    this.#finishIfWhole(assembly, now);
  }

  /** @returns false when the parts were of no use */
  part(message: PartMessage, from: Address, now: Millis): boolean {
    if (message.pieces.every((piece) => piece.data.length === 0)) return false;
    const assembly = this.#open(from, message.tid, now);
    if (assembly === undefined) return false;
    let useful = false;
    for (const piece of message.pieces) if (this.#keep(assembly, piece)) useful = true;
    if (!useful) {
      if (assembly.header === undefined && assembly.pieces.size === 0) this.#close(assembly);
      return false;
    }
    assembly.lastAt = now;
    this.#shrink(assembly);
    this.#finishIfWhole(assembly, now);
    return true;
  }

  #open(from: Address, tid: number, now: Millis): Assembly<Header> | undefined {
    const key = `${addressKey(from)}/${tid}`;
    const known = this.#assemblies.get(key);
    if (known !== undefined) return known;
    const source = sourceKey(from.ip);
    const own = this.#perSource.get(source) ?? 0;
    if (own >= LIMITS.assembliesPerSource) {
      this.evicted++;
      return undefined;
    }
    if (this.#assemblies.size >= LIMITS.assemblies) this.#evictOldest();
    const assembly: Assembly<Header> = {
      key,
      source,
      startedAt: now,
      lastAt: now,
      header: undefined,
      sizes: new Map(),
      pieces: new Map(),
      bytes: 0,
      job: undefined,
    };
    this.#assemblies.set(key, assembly);
    this.#perSource.set(source, own + 1);
    this.#watch(assembly);
    return assembly;
  }

  #watch(assembly: Assembly<Header>): void {
    const deadline = () =>
      Math.min(
        assembly.startedAt + PROTOCOL.partsTotalMs,
        assembly.lastAt + PROTOCOL.partsSilentMs,
      );
    assembly.job = this.#scheduler.schedule(deadline(), (now) => {
      if (deadline() > now) {
        this.#watch(assembly);
        return;
      }
      this.abandoned++;
      this.#close(assembly);
    });
  }

  #keep(assembly: Assembly<Header>, piece: PartPiece): boolean {
    const { index, offset, data } = piece;
    const end = offset + data.length;
    if (data.length === 0) return false;
    if (assembly.header !== undefined) {
      const size = assembly.sizes.get(index);
      if (size === undefined || end > size) return false;
    } else if (
      end > PROTOCOL.maxPackedBytes ||
      assembly.bytes + data.length > PROTOCOL.pushBytes + PROTOCOL.maxPackedBytes
    ) {
      return false;
    }
    const list = assembly.pieces.get(index) ?? { items: [], bytes: 0 };
    const { items } = list;
    if (items.length >= LIMITS.partsPerValue) return false;
    let at = items.length;
    while (at > 0 && (items[at - 1] as PartPiece).offset > offset) at--;
    const before = items[at - 1];
    const after = items[at];
    if (before !== undefined && before.offset + before.data.length > offset) return false;
    if (after !== undefined && end > after.offset) return false;
    items.splice(at, 0, piece);
    list.bytes += data.length;
    assembly.pieces.set(index, list);
    this.#weigh(assembly, data.length + PIECE_OVERHEAD);
    return true;
  }

  #weigh(assembly: Assembly<Header>, bytes: number): void {
    assembly.bytes += bytes;
    this.#bytes += bytes;
  }

  #forgetPieces(assembly: Assembly<Header>, index: number): void {
    const list = assembly.pieces.get(index);
    if (list === undefined) return;
    assembly.pieces.delete(index);
    this.#weigh(assembly, -(list.bytes + list.items.length * PIECE_OVERHEAD));
  }

  #finishIfWhole(assembly: Assembly<Header>, now: Millis): void {
    const { header, sizes, pieces } = assembly;
    if (header === undefined) return;
    for (const [index, size] of sizes) if ((pieces.get(index)?.bytes ?? 0) < size) return;
    this.#close(assembly);
    const values: Uint8Array[] = [];
    for (const index of sizes.keys()) values.push(joined(pieces.get(index)));
    this.#onWhole(header, values, now);
  }

  /** Over the bound of bytes the others go, oldest first. */
  #shrink(current: Assembly<Header>): void {
    for (const assembly of this.#assemblies.values()) {
      if (this.#bytes <= LIMITS.assemblyBytes) return;
      if (assembly === current) continue;
      this.evicted++;
      this.#close(assembly);
    }
  }

  #evictOldest(): void {
    for (const assembly of this.#assemblies.values()) {
      this.evicted++;
      this.#close(assembly);
      return;
    }
  }

  #close(assembly: Assembly<Header>): void {
    assembly.job?.cancel();
    if (!this.#assemblies.delete(assembly.key)) return;
    this.#bytes -= assembly.bytes;
    const left = (this.#perSource.get(assembly.source) ?? 1) - 1;
    if (left === 0) this.#perSource.delete(assembly.source);
    else this.#perSource.set(assembly.source, left);
  }
}

/** The sizes that are waited for: what is too large, or too much in all, is skipped as if it were not in the list. */
function announced(values: readonly WireValue[]): Map<number, number> {
  const sizes = new Map<number, number>();
  let sum = 0;
  for (const [index, size] of values.entries()) {
    if (typeof size !== 'number' || size === 0 || size > PROTOCOL.maxPackedBytes) continue;
    if (sum + size > LIMITS.messageBytes || sizes.size >= LIMITS.valuesPerOperation) continue;
    sum += size;
    sizes.set(index, size);
  }
  return sizes;
}

function joined(list: PieceList | undefined): Uint8Array {
  const whole = new Uint8Array(list?.bytes ?? 0);
  for (const { offset, data } of list?.items ?? []) whole.set(data, offset);
  return whole;
}
