import type { EndReason } from '../events.ts';
import type { Candidate } from './description.ts';
import { MAX_DEVICES } from './limits.ts';
import { ReplayWindow } from './replay-window.ts';
import type { RefuseReason } from './signal.ts';

/** A device of an account. Who it is was checked by whoever hands it in. */
export interface DeviceRef {
  /** 40 lower-case hex digits. */
  readonly accountId: string;
  /** 64 lower-case hex digits. */
  readonly deviceId: string;
}

/** The other end of a call, or one of several that ring. */
export interface PeerDevice {
  readonly ref: DeviceRef;
  readonly window: ReplayWindow;
  state: 'found' | 'offered' | 'ringing' | 'refused';
  /** With `refused`; `silent`: it never reacted. */
  refusal?: RefuseReason | 'silent';
  /** Candidates that came before its answer. */
  candidates: readonly Candidate[];
  repeatedReplies: number;
}

export function peerDevice(ref: DeviceRef): PeerDevice {
  return { ref, window: new ReplayWindow(), state: 'found', candidates: [], repeatedReplies: 0 };
}

/** When nobody took the call: what the caller is told, the most telling first. */
const OUTCOMES: readonly (readonly [RefuseReason | 'silent', EndReason])[] = [
  ['rejected', 'rejected'],
  ['busy', 'busy'],
  ['no_answer', 'no_answer'],
  ['denied', 'denied'],
  ['silent', 'unreachable'],
];

/** The devices of one contact that are rung in parallel. */
export class RingGroup {
  readonly #devices = new Map<string, PeerDevice>();
  /** No more devices will be found. */
  lookupDone = false;

  /** @returns undefined when it is known already, or MAX_DEVICES are */
  add(ref: DeviceRef): PeerDevice | undefined {
    if (this.#devices.has(ref.deviceId) || this.#devices.size >= MAX_DEVICES) return undefined;
    const device = peerDevice(ref);
    this.#devices.set(ref.deviceId, device);
    return device;
  }

  /** Only the very device: the account must be the one that was called, too. */
  get(ref: DeviceRef): PeerDevice | undefined {
    const device = this.#devices.get(ref.deviceId);
    return device?.ref.accountId === ref.accountId ? device : undefined;
  }

  in(...states: readonly PeerDevice['state'][]): PeerDevice[] {
    return [...this.#devices.values()].filter(({ state }) => states.includes(state));
  }

  /** Whoever has not reacted counts as refusing from now on. */
  giveUpOnSilent(): void {
    this.lookupDone = true;
    for (const device of this.in('found', 'offered')) {
      device.state = 'refused';
      device.refusal = 'silent';
    }
  }

  /** @returns why the call ends, or undefined while a device may still answer */
  outcome(): EndReason | undefined {
    const refusals = new Set(this.in('refused').map(({ refusal }) => refusal));
    if (refusals.has('rejected')) return 'rejected'; // a person said no, on whichever device
    if (!this.lookupDone || this.in('found', 'offered', 'ringing').length > 0) return undefined;
    return OUTCOMES.find(([refusal]) => refusals.has(refusal))?.[1] ?? 'unreachable';
  }
}
