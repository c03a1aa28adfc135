import type { CallDirection, CallEvent, EndReason } from '../events.ts';
import type { HangupReason } from './signal.ts';

/** The four last events, exactly one per call. */
export type EndType = Extract<CallEvent, { reason: EndReason }>['type'];

/** Which event ends a call that was never answered. An answered one always ends as `call.ended`. */
const UNANSWERED: Record<CallDirection, Record<EndReason, EndType>> = {
  outgoing: {
    hangup: 'call.ended',
    remote_hangup: 'call.ended',
    cancelled: 'call.ended',
    shutdown: 'call.ended',
    rejected: 'call.rejected',
    busy: 'call.rejected',
    denied: 'call.rejected',
    no_answer: 'call.failed',
    unreachable: 'call.failed',
    no_path: 'call.failed',
    lost: 'call.failed',
    error: 'call.failed',
  },
  incoming: {
    hangup: 'call.ended',
    remote_hangup: 'call.ended',
    cancelled: 'call.missed',
    shutdown: 'call.missed',
    rejected: 'call.rejected',
    busy: 'call.missed',
    denied: 'call.rejected',
    no_answer: 'call.missed',
    unreachable: 'call.failed',
    no_path: 'call.failed',
    lost: 'call.failed',
    error: 'call.failed',
  },
};

export function endType(direction: CallDirection, answered: boolean, reason: EndReason): EndType {
  return answered ? 'call.ended' : UNANSWERED[direction][reason];
}

/** What it means here when the other side says this. */
export const ENDED_BY_PEER: Record<HangupReason, EndReason> = {
  hangup: 'remote_hangup',
  shutdown: 'remote_hangup',
  cancelled: 'cancelled',
  answered_elsewhere: 'cancelled',
  no_path: 'no_path',
  lost: 'lost',
  error: 'error',
};
