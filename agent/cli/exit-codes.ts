import { type AgentError, errorCode } from '../base/errors.ts';
import type { EndReason, ResultCode } from '../events.ts';

/**
 * Exit codes of every command: part of what we promise, as scripts and systemd rest on them. Those from 69 are the BSD
 * ones of sysexits.h.
 */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  /** By the other side, or by a rule of this one. */
  refused: 3,
  /** The peer cannot be reached, or nobody answered. */
  noAnswer: 4,
  timedOut: 5,
  notFound: 6,
  /** EX_UNAVAILABLE: no station runs. */
  notRunning: 69,
  /** EX_CANTCREAT */
  cannotWrite: 73,
  /** EX_TEMPFAIL: a port in use, too much at once. */
  tryLater: 75,
  /** EX_NOPERM */
  noPermission: 77,
  /** EX_CONFIG: a person must mend something; systemd does not start the station again. */
  config: 78,
  /** 128 + SIGINT: interrupted a second time, nothing was cleaned up. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Codes of AgentError that mean more than "failed". */
const OF_ERROR = new Map<string, ExitCode>(
  Object.entries({
    usage: EXIT.usage,
    'bad-address': EXIT.usage,
    'rpc-32602': EXIT.usage,
    'message-empty': EXIT.usage,
    'message-too-long': EXIT.usage,
    'bad-name': EXIT.usage,
    'bad-id': EXIT.usage,
    'own-id': EXIT.usage,
    'unknown-right': EXIT.usage,
    'duplicate-name': EXIT.usage,
    'duplicate-id': EXIT.usage,
    'bad-query': EXIT.usage,
    'content-too-large': EXIT.usage,
    'one-id': EXIT.usage,
    'contact-in-config': EXIT.refused,
    // Of what runs with --dht-only.
    'no-identity': EXIT.refused,
    'not-offered': EXIT.refused,
    'no-address': EXIT.noAnswer,
    'no-answer': EXIT.noAnswer,
    'not-stored': EXIT.noAnswer,
    timeout: EXIT.timedOut,
    'not-found': EXIT.notFound,
    'no-such-contact': EXIT.notFound,
    'no-such-device': EXIT.notFound,
    'no-such-put': EXIT.notFound,
    'not-running': EXIT.notRunning,
    'station-lost': EXIT.notRunning,
    'store-unusable': EXIT.cannotWrite,
    'store-write': EXIT.cannotWrite,
    'store-read': EXIT.cannotWrite,
    'control-unusable': EXIT.cannotWrite,
    'cannot-write': EXIT.cannotWrite,
    starting: EXIT.tryLater,
    'port-in-use': EXIT.tryLater,
    // Of an address that the network has not brought yet, too: no reason for systemd to give up.
    'bind-failed': EXIT.tryLater,
    'already-running': EXIT.tryLater,
    'too-many-requests': EXIT.tryLater,
    'too-many-messages': EXIT.tryLater,
    'too-many-contacts': EXIT.tryLater,
    'too-many-streams': EXIT.tryLater,
    'too-many-puts': EXIT.tryLater,
    'control-denied': EXIT.noPermission,
    'bind-denied': EXIT.noPermission,
    'config-invalid': EXIT.config,
    'audio-unusable': EXIT.config,
    'mqtt-url': EXIT.config,
    'mqtt-plaintext': EXIT.config,
    'mqtt-base': EXIT.config,
    'mqtt-node': EXIT.config,
    'mqtt-file': EXIT.config,
    'named-file': EXIT.config,
    'identity-damaged': EXIT.config,
    'identity-mismatch': EXIT.config,
  }),
);

/** A file system that says no counts as "no permission" whatever was tried. */
export function exitOfError(error: AgentError): ExitCode {
  const cause = errorCode(error.cause);
  if (cause === 'EACCES' || cause === 'EPERM') return EXIT.noPermission;
  // A station that was started for a command failed for a reason of its own, and said which.
  const child = /^exit-(\d+)$/.exec(error.code)?.[1];
  const known = Object.values(EXIT).find((code) => code === Number(child) && code !== EXIT.done);
  return known ?? OF_ERROR.get(error.code) ?? EXIT.failed;
}

export function exitOfResult(code: ResultCode): ExitCode {
  switch (code) {
    case 'ok':
    case 'accepted':
      return EXIT.done;
    case 'bad_request':
    case 'unknown_verb':
      return EXIT.usage;
    case 'denied':
    case 'locked_out':
      return EXIT.refused;
    case 'unreachable':
    case 'no_answer':
      return EXIT.noAnswer;
    case 'not_found':
      return EXIT.notFound;
    case 'busy':
    case 'rate_limited':
    case 'unavailable':
      return EXIT.tryLater;
    case 'stale':
    case 'replayed':
    case 'retained':
    case 'internal':
      return EXIT.failed;
    default:
      return code satisfies never;
  }
}

/** @param wasAnswered whether the two talked before it ended */
export function exitOfCall(reason: EndReason, wasAnswered: boolean): ExitCode {
  switch (reason) {
    case 'hangup':
    case 'remote_hangup':
      return wasAnswered ? EXIT.done : EXIT.failed;
    case 'rejected':
    case 'denied':
      return EXIT.refused;
    case 'busy':
    case 'no_answer':
    case 'unreachable':
    case 'no_path':
      return EXIT.noAnswer;
    case 'cancelled':
    case 'lost':
    case 'shutdown':
    case 'error':
      return EXIT.failed;
    default:
      return reason satisfies never;
  }
}
