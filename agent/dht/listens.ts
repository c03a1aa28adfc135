import { toHex } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { InfoHash } from './infohash.ts';
import { LIMITS, PROTOCOL } from './limits.ts';
import { type Holder, ListenCache, nothingHeard } from './listen-cache.ts';
import type { UpdateQuery } from './message.ts';
import { MsgpackWriter } from './msgpack-writer.ts';
import type { Node } from './node.ts';
import { ListenOperation, type OperationId } from './operation.ts';
import { EVERYTHING, writeQuery } from './query.ts';
import type { Job, Scheduler } from './scheduler.ts';
import type { StorageChange } from './storage.ts';
import type { PlainValue, Query, Value } from './value.ts';

export interface ListensOptions {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly verify: (value: PlainValue) => boolean;
  /** What our own storage has for a new listen. */
  readonly stored: (listen: ListenOperation) => readonly Value[];
  /** Listen at the storing nodes, in every family. */
  readonly start: (listen: ListenOperation, now: Millis) => void;
  readonly stop: (listen: ListenOperation) => void;
  readonly report: (operation: OperationId, value: Value, expired: boolean) => void;
}

interface Socket {
  readonly listen: ListenOperation;
  readonly node: Node;
}

/**
 * Our own listens (opendht.md 9.4): who in the program wants to hear what, what was heard, and where pushes of storing
 * nodes belong. Listens on one key with one query share everything; what our own storage gets counts too.
 */
export class Listens {
  readonly #options: ListensOptions;
  /** By key, then by packed query. */
  readonly #listens = new Map<string, Map<string, ListenOperation>>();
  readonly #subscriptions = new Map<OperationId, ListenOperation>();
  /** Nobody wants them any more, but somebody may soon again. */
  readonly #lingering = new Map<ListenOperation, Job>();
  readonly #sweeps = new Map<ListenOperation, Job>();
  /** Where pushes go, by sid. */
  readonly #sockets = new Map<number, Socket>();
  readonly #heard = nothingHeard();
  /** Not opened, because too many were. */
  #socketsRefused = 0;

  constructor(options: ListensOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#subscriptions.size;
  }

  isOn(key: InfoHash): boolean {
    return this.#listens.has(key.key);
  }

  add(id: OperationId, key: InfoHash, query: Query | undefined, now: Millis): void {
    const listen = this.#listenOn(key, query, now);
    listen.subscribers.add(id);
    this.#subscriptions.set(id, listen);
    for (const value of listen.cache.values()) this.#options.report(id, value, false);
  }

  #listenOn(key: InfoHash, query: Query | undefined, now: Millis): ListenOperation {
    const filter = query === undefined ? undefined : { where: query.where, select: [] };
    const packed = new MsgpackWriter();
    writeQuery(packed, filter ?? EVERYTHING);
    const queryKey = toHex(packed.finish());
    const onKey = this.#listens.get(key.key) ?? new Map<string, ListenOperation>();
    const known = onKey.get(queryKey);
    if (known !== undefined) {
      this.#lingering.get(known)?.cancel();
      this.#lingering.delete(known);
      return known;
    }
    const listen = new ListenOperation(
      key,
      filter,
      new ListenCache(this.#options.verify, this.#heard),
    );
    onKey.set(queryKey, listen);
    this.#listens.set(key.key, onKey);
    for (const value of this.#options.stored(listen)) this.#hear(listen, value, 'self', now);
    this.#options.start(listen, now);
    return listen;
  }

  cancel(id: OperationId, now: Millis): void {
    const listen = this.#subscriptions.get(id);
    if (listen === undefined) return;
    this.#subscriptions.delete(id);
    listen.subscribers.delete(id);
    if (listen.subscribers.size > 0) return;
    // Nothing is sent to stop (opendht.md 9.6); for a while a new listener finds everything still running.
    const job = this.#options.scheduler.schedule(now + PROTOCOL.listenLingerMs, () =>
      this.#stop(listen),
    );
    this.#lingering.set(listen, job);
    // Too many: the one that nobody wants for longest ends now.
    const [first] = this.#lingering;
    if (this.#lingering.size <= LIMITS.lingeringListens || first === undefined) return;
    first[1].cancel();
    this.#stop(first[0]);
  }

  #stop(listen: ListenOperation): void {
    this.#lingering.delete(listen);
    this.#sweeps.get(listen)?.cancel();
    this.#sweeps.delete(listen);
    const onKey = this.#listens.get(listen.key.key);
    for (const [queryKey, other] of onKey ?? []) if (other === listen) onKey?.delete(queryKey);
    if (onKey?.size === 0) this.#listens.delete(listen.key.key);
    listen.cache.clear();
    this.#options.stop(listen);
  }

  /** @returns the sid by which `node` names this listen in its pushes; undefined when there are too many */
  openSocket(listen: ListenOperation, node: Node): number | undefined {
    if (this.#sockets.size >= LIMITS.sockets) {
      this.#socketsRefused++;
      return undefined;
    }
    for (;;) {
      const sid = this.#options.random.uint32();
      if (sid === 0 || this.#sockets.has(sid)) continue;
      this.#sockets.set(sid, { listen, node });
      return sid;
    }
  }

  closeSocket(sid: number): void {
    this.#sockets.delete(sid);
  }

  /** A push came. @returns the listen that it was for, if it is one that `node` knows of */
  onUpdate(
    message: UpdateQuery,
    values: readonly Value[],
    node: Node,
    now: Millis,
  ): ListenOperation | undefined {
    const socket = this.#sockets.get(message.sid);
    if (socket === undefined || !socket.node.id.equals(node.id)) return undefined;
    const { listen } = socket;
    for (const value of values) if (listen.wants(value)) this.#hear(listen, value, node, now);
    for (const id of message.refreshed ?? []) listen.cache.refresh(id, node, now);
    for (const id of message.expired ?? []) this.#unheard(listen, listen.cache.drop(id, node));
    return listen;
  }

  onStorageChange(change: StorageChange, key: InfoHash, value: Value, now: Millis): void {
    for (const listen of this.#listens.get(key.key)?.values() ?? []) {
      if (change === 'new' && listen.wants(value)) this.#hear(listen, value, 'self', now);
      else if (change === 'refreshed') listen.cache.refresh(value.id, 'self', now);
      else if (change === 'expired') this.#unheard(listen, listen.cache.drop(value.id, 'self'));
    }
  }

  #hear(listen: ListenOperation, value: Value, holder: Holder, now: Millis): void {
    if (!listen.cache.add(value, holder, now)) return;
    if (this.#heard.bytes > LIMITS.heardBytes) this.#shrink();
    this.#scheduleSweep(listen);
    for (const operation of listen.subscribers) this.#options.report(operation, value, false);
  }

  /** Over the bound of bytes the listen that heard most forgets, down to a 64th below it: the search for it shall pay. */
  #shrink(): void {
    let largest: ListenCache | undefined;
    for (const onKey of this.#listens.values()) {
      for (const { cache } of onKey.values())
        if (largest === undefined || cache.bytes > largest.bytes) largest = cache;
    }
    const enough = LIMITS.heardBytes * (1 - 1 / 64);
    while (largest !== undefined && largest.bytes > 0 && this.#heard.bytes > enough)
      largest.evictOldest();
  }

  #unheard(listen: ListenOperation, values: readonly Value[]): void {
    for (const value of values)
      for (const operation of listen.subscribers) this.#options.report(operation, value, true);
  }

  #scheduleSweep(listen: ListenOperation): void {
    const at = listen.cache.nextExpiry();
    const job = this.#sweeps.get(listen);
    if (job !== undefined && job.at <= at) return;
    job?.cancel();
    this.#sweeps.delete(listen);
    if (at === Number.POSITIVE_INFINITY) return;
    const sweep = (now: Millis) => {
      this.#sweeps.delete(listen);
      this.#unheard(listen, listen.cache.sweep(now));
      this.#scheduleSweep(listen);
    };
    this.#sweeps.set(listen, this.#options.scheduler.schedule(at, sweep));
  }

  stats() {
    return {
      listens: this.#subscriptions.size,
      lingeringListens: this.#lingering.size,
      sockets: this.#sockets.size,
      socketsRefused: this.#socketsRefused,
      heardBytes: this.#heard.bytes,
      heardForgotten: this.#heard.evicted,
      holdersForgotten: this.#heard.holdersForgotten,
    };
  }
}
