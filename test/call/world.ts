import type { Clock, Millis } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import type { Random } from '../../agent/base/random.ts';
import type { CallPolicy } from '../../agent/call/admission.ts';
import { CallDriver } from '../../agent/call/call-driver.ts';
import { Calls } from '../../agent/call/calls.ts';
import { FakeMediaNetwork, type FakeMediaTransport } from '../../agent/call/fake-media.ts';
import type { DeviceRef } from '../../agent/call/ring-group.ts';
import type { CallEvent, CallPhase, EndReason, SecurityEvent } from '../../agent/events.ts';
import { seededRandom } from '../sim/seeded.ts';

/** How signals travel. Times in ms; shares 0 … 1. */
export interface Link {
  readonly delayMs: Millis;
  readonly jitterMs: Millis;
  readonly loss: number;
  readonly duplicate: number;
}

export const GOOD_LINK: Link = { delayMs: 50, jitterMs: 0, loss: 0, duplicate: 0 };

interface Item {
  readonly at: Millis;
  readonly order: number;
  readonly action: () => void;
}

/**
 * Stations, the link between their inboxes, and media, on one virtual clock that runs as fast as it
 * can.
 */
export class World {
  readonly random: Random;
  readonly media: FakeMediaNetwork;
  link: Link;
  #now: Millis = 1_000;
  #order = 0;
  #agenda: Item[] = [];
  readonly stations = new Map<string, Station>();
  /** The wall clock says this when the world begins; it is a station's own to be wrong. */
  readonly epochUnixMs = 1_700_000_000_000;

  constructor(seed = 1, link: Link = GOOD_LINK) {
    this.random = seededRandom(seed);
    this.link = link;
    this.media = new FakeMediaNetwork({
      random: this.random,
      schedule: (delayMs, action) => this.schedule(delayMs, action),
    });
  }

  get now(): Millis {
    return this.#now;
  }

  schedule(delayMs: Millis, action: () => void): () => void {
    const item = { at: this.#now + Math.max(0, delayMs), order: this.#order++, action };
    this.#agenda.push(item);
    return () => {
      this.#agenda = this.#agenda.filter((other) => other !== item);
    };
  }

  /** Let `durationMs` pass. */
  run(durationMs: Millis): void {
    const end = this.#now + durationMs;
    for (;;) {
      let next: Item | undefined;
      for (const item of this.#agenda) {
        const isEarlier =
          next === undefined ||
          item.at < next.at ||
          (item.at === next.at && item.order < next.order);
        if (item.at <= end && isEarlier) next = item;
      }
      if (next === undefined) break;
      const due = next;
      this.#agenda = this.#agenda.filter((item) => item !== due);
      this.#now = Math.max(this.#now, due.at);
      due.action();
    }
    this.#now = end;
  }

  /** Give `bytes` to the inbox of `to`, as the link would have it. */
  deliver(bytes: Uint8Array, from: DeviceRef, to: DeviceRef): void {
    const copies = this.random.fraction() < this.link.duplicate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.random.fraction() < this.link.loss) continue;
      const delayMs = this.link.delayMs + this.random.fraction() * this.link.jitterMs;
      this.schedule(delayMs, () => this.stations.get(to.deviceId)?.receive(bytes, from));
    }
  }

  /** @param name one letter per device; the account is `account`'s, default its own */
  add(name: string, options: StationOptions = {}): Station {
    const station = new Station(this, name, options);
    this.stations.set(station.ref.deviceId, station);
    return station;
  }
}

export interface StationOptions {
  /** Devices of one account have the same letter here. */
  readonly account?: string;
  /** Default: everybody rings. */
  readonly decide?: CallPolicy['decide'];
  readonly clockErrorMs?: Millis;
  readonly lateCandidates?: boolean;
}

type Happening = CallEvent | SecurityEvent;

export function accountIdOf(letter: string): string {
  return letter.charCodeAt(0).toString(16).padStart(2, '0').repeat(20);
}

export class Station {
  readonly name: string;
  readonly ref: DeviceRef;
  readonly calls: Calls;
  readonly driver: CallDriver;
  readonly transport: FakeMediaTransport;
  readonly events: Happening[] = [];
  /** What went to the voice, by call. */
  readonly voice: string[] = [];
  /** Every signal that was sent. */
  readonly sent: { readonly bytes: Uint8Array; readonly to: DeviceRef }[] = [];
  dead = false;

  constructor(world: World, name: string, options: StationOptions) {
    const { account = name, clockErrorMs = 0 } = options;
    const clock: Clock = {
      now: () => world.now,
      unixMs: () => Math.floor(world.epochUnixMs + world.now + clockErrorMs),
    };
    this.name = name;
    this.ref = {
      accountId: accountIdOf(account),
      deviceId: name.charCodeAt(0).toString(16).padStart(2, '0').repeat(32),
    };
    const policy: CallPolicy = {
      decide: options.decide ?? (() => 'ring'),
      nameOf: (id) => String.fromCharCode(Number.parseInt(id.slice(0, 2), 16)),
    };
    this.calls = new Calls(this.ref, policy, world.random);
    this.transport = world.media.transport({ lateCandidates: options.lateCandidates ?? false });
    this.driver = new CallDriver({
      calls: this.calls,
      transport: this.transport,
      clock,
      log: silentLogger,
      onEvent: (event) => this.events.push(event),
      voice: {
        start: (_callId, connection) => this.voice.push(`start ${connection.stats().path?.local}`),
        stop: () => this.voice.push('stop'),
        quality: () => ({ lossPct: 0, jitterMs: 1, delayMs: 2 }),
      },
      signalling: {
        send: (to, bytes) => {
          if (this.dead) return;
          this.sent.push({ bytes, to });
          world.deliver(bytes, this.ref, to);
        },
        findDevices: (accountId, onDevice, onDone) => {
          const cancels: (() => void)[] = [];
          for (const station of world.stations.values()) {
            if (station.ref.accountId !== accountId) continue;
            cancels.push(world.schedule(20, () => onDevice(station.ref)));
          }
          cancels.push(world.schedule(100, onDone));
          return {
            cancel: () => {
              for (const cancel of cancels) cancel();
            },
          };
        },
      },
      timer: (callback) => {
        let cancel = () => {};
        return {
          arm: (deadline) => {
            cancel();
            if (deadline === Number.POSITIVE_INFINITY) return;
            cancel = world.schedule(deadline - world.now, () => {
              if (!this.dead) callback();
            });
          },
          disarm: () => cancel(),
        };
      },
    });
  }

  dial(account: string): Promise<string> {
    return this.driver.place({ peer: account, accountId: accountIdOf(account) });
  }

  receive(bytes: Uint8Array, from: DeviceRef): void {
    if (!this.dead) this.driver.receiveSignal(bytes, from);
  }

  /** As if the process were killed: nothing gets out, nothing is done. */
  kill(): void {
    this.dead = true;
    this.transport.cut = true;
  }

  phases(callId: string): CallPhase[] {
    return this.events.flatMap((event) =>
      event.type === 'call.phase' && event.call.callId === callId ? [event.call.phase] : [],
    );
  }

  /** The last event of a call: its type and reason. */
  end(callId: string): readonly [string, EndReason] | undefined {
    const ends = this.events.flatMap((event) =>
      'reason' in event && event.call.callId === callId
        ? ([[event.type, event.reason]] as const)
        : [],
    );
    if (ends.length > 1) throw new Error(`call ${callId} ended ${ends.length} times`);
    return ends[0];
  }

  /** The ids of the calls that came in here. */
  incoming(): string[] {
    return this.events.flatMap((event) =>
      event.type === 'call.incoming' ? [event.call.callId] : [],
    );
  }
}
