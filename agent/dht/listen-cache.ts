import { equalBytes } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { LIMITS } from './limits.ts';
import type { Node } from './node.ts';
import type { PlainValue, Value } from './value.ts';
import { contentKey, packValue } from './value-codec.ts';
import { lifetimeMs } from './value-types.ts';

/** Who keeps a value: a storing node, or our own storage. */
export type Holder = Node | 'self';

/** What keeping one value costs beside its bytes, roughly. */
const VALUE_OVERHEAD = 400;

/** What all listens of a node remember together. */
export interface Heard {
  bytes: number;
  /** Values that were forgotten before their end, for want of place: told of again when they are heard again. */
  evicted: number;
  /** Storing nodes that a value is expected of no longer, because too many others have it. */
  holdersForgotten: number;
}

export const nothingHeard = (): Heard => ({ bytes: 0, evicted: 0, holdersForgotten: 0 });

interface Variant {
  readonly value: Value;
  readonly content: string;
  readonly bytes: number;
  /** Until when each holder has it, if it does not refresh. */
  readonly holders: Map<Holder, Millis>;
}

/**
 * What one listen has heard (opendht.md 9.4): each value counts until its last holder dropped it.
 *
 * The reference goes by value id alone, so that whoever comes first with a forged value under an id hides the good one.
 * Here contents are told apart: another content under a known id is reported too, unless it is an older version by the
 * same signer; a newer one by the same signer takes the place of the older.
 */
export class ListenCache {
  readonly #verify: (value: PlainValue) => boolean;
  readonly #heard: Heard;
  readonly #values = new Map<bigint, Variant[]>();
  #count = 0;
  #bytes = 0;

  constructor(verify: (value: PlainValue) => boolean, heard: Heard) {
    this.#verify = verify;
    this.#heard = heard;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#count;
  }

  /** @returns true when `value` is news */
  add(value: Value, holder: Holder, now: Millis): boolean {
    const expiresAt = now + lifetimeMs(value);
    const variants = this.#values.get(value.id) ?? [];
    const content = contentKey(value);
    const same = variants.find((variant) => variant.content === content);
    if (same !== undefined) {
      this.#setHolder(same, holder, expiresAt);
      return false;
    }
    const older = variants.findIndex((variant) => versionsOfOne(variant.value, value));
    if (older >= 0) {
      if (!this.#supersedes(value, (variants[older] as Variant).value)) return false;
      this.#uncount(variants.splice(older, 1));
    }
    if (variants.length >= LIMITS.variantsPerValue) return false;
    const bytes = packValue(value).length + VALUE_OVERHEAD;
    variants.push({ value, content, bytes, holders: new Map([[holder, expiresAt]]) });
    this.#values.set(value.id, variants);
    this.#count++;
    this.#weigh(bytes);
    while (this.#count > LIMITS.valuesPerOperation) this.evictOldest();
    return true;
  }

  /** One more has it. Of too many the one whose word ends first is forgotten. */
  #setHolder({ holders }: Variant, holder: Holder, expiresAt: Millis): void {
    holders.set(holder, expiresAt);
    if (holders.size <= LIMITS.holdersPerValue) return;
    let first = holder;
    for (const [other, at] of holders) if (at < (holders.get(first) as Millis)) first = other;
    holders.delete(first);
    this.#heard.holdersForgotten++;
  }

  #weigh(bytes: number): void {
    this.#bytes += bytes;
    this.#heard.bytes += bytes;
  }

  #uncount(variants: readonly Variant[]): void {
    this.#count -= variants.length;
    for (const { bytes } of variants) this.#weigh(-bytes);
  }

  /** A forged higher seq must not push a good value out, so this one is checked here already. */
  #supersedes(next: Value, old: Value): boolean {
    if (next.kind !== 'plain' || old.kind !== 'plain') return false;
    return (next.signed?.seq ?? 0) > (old.signed?.seq ?? 0) && this.#verify(next);
  }

  /** Forget the value that was heard first. */
  evictOldest(): void {
    for (const [id, variants] of this.#values) {
      this.#heard.evicted += variants.length;
      this.#uncount(variants);
      this.#values.delete(id);
      return;
    }
  }

  clear(): void {
    for (const variants of this.#values.values()) this.#uncount(variants);
    this.#values.clear();
  }

  /** `holder` will keep the value for another lifetime. */
  refresh(id: bigint, holder: Holder, now: Millis): void {
    for (const { value, holders } of this.#values.get(id) ?? [])
      if (holders.has(holder)) holders.set(holder, now + lifetimeMs(value));
  }

  /** `holder` dropped it. @returns what nobody has any more */
  drop(id: bigint, holder: Holder): Value[] {
    for (const { holders } of this.#values.get(id) ?? []) holders.delete(holder);
    return this.#removeUnheld(id);
  }

  /** @returns what outlived its holders' last word */
  sweep(now: Millis): Value[] {
    const gone: Value[] = [];
    for (const [id, variants] of this.#values) {
      for (const { holders } of variants) {
        for (const [holder, expiresAt] of holders) if (expiresAt <= now) holders.delete(holder);
      }
      gone.push(...this.#removeUnheld(id));
    }
    return gone;
  }

  #removeUnheld(id: bigint): Value[] {
    const variants = this.#values.get(id);
    if (variants === undefined) return [];
    const gone = variants.filter(({ holders }) => holders.size === 0);
    if (gone.length === 0) return [];
    this.#uncount(gone);
    const left = variants.filter(({ holders }) => holders.size > 0);
    if (left.length === 0) this.#values.delete(id);
    else this.#values.set(id, left);
    return gone.map(({ value }) => value);
  }

  /** When `sweep` has something to do; Infinity when empty. */
  nextExpiry(): Millis {
    let next = Number.POSITIVE_INFINITY;
    for (const variants of this.#values.values()) {
      for (const { holders } of variants)
        for (const at of holders.values()) next = Math.min(next, at);
    }
    return next;
  }

  /** All that is there now, for one more listener. */
  *values(): Generator<Value> {
    for (const variants of this.#values.values()) for (const { value } of variants) yield value;
  }
}

/** Both signed by the same key under one id. */
function versionsOfOne(a: Value, b: Value): boolean {
  if (a.kind !== 'plain' || b.kind !== 'plain') return false;
  if (a.signed === undefined || b.signed === undefined) return false;
  return equalBytes(a.signed.owner, b.signed.owner);
}
