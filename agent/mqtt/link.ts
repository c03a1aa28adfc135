import { backoffMs } from '../base/backoff.ts';
import type { Millis } from '../base/clock.ts';
import type { LogFields } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { RECONNECT_FIRST_MS, RECONNECT_MAX_MS, STABLE_CONNECTION_MS } from './limits.ts';
import { Quiet } from './quiet.ts';

/** 5, and 4 which the standard calls 3.1.1. */
export type ProtocolVersion = 4 | 5;

export type LinkState = 'connecting' | 'connected' | 'offline';

/** Why an attempt failed or a connection ended. */
export interface LinkFailure {
  /** For the log and for telling kinds apart: `ECONNREFUSED`, `bad_login`, a TLS code, … */
  readonly code: string;
  /**
   * Only of an attempt: `refused` when the broker named the protocol version as the reason, `maybe` when it hung up on
   * our CONNECT without a word, as old brokers do.
   */
  readonly versionRefused?: 'refused' | 'maybe';
}

export type LinkOutput =
  | { readonly type: 'connect'; readonly protocolVersion: ProtocolVersion }
  | {
      readonly type: 'log';
      readonly level: 'warn' | 'notice';
      readonly message: string;
      readonly fields: LogFields;
    };

/**
 * When to connect, and how: for ever, 1 s to 60 s apart, MQTT 5 first and 3.1.1 where that is refused. A broker that is
 * away is no error of the station, so it is logged once and then rarely. No socket, timer or clock; after every call
 * drain `poll`, then arm one timer for `nextTimeout`.
 */
export class Link {
  readonly #random: Random;
  readonly #quiet = new Quiet();
  readonly #outputs: LinkOutput[] = [];
  #phase: 'idle' | 'waiting' | 'connecting' | 'connected' = 'idle';
  #version: ProtocolVersion = 5;
  /** What the next connection begins with; changes for good only when the broker itself refused 5. */
  #firstVersion: ProtocolVersion = 5;
  #failures = 0;
  #retryAt: Millis = Number.POSITIVE_INFINITY;
  #connectedAt: Millis = 0;
  #lostAt: Millis | undefined;
  /** A log reader last read that there is no connection, or nothing at all. */
  #newsToTell = true;
  #connections = 0;
  #attempts = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  start(): void {
    if (this.#phase === 'idle') this.#attempt();
  }

  /** No more attempts. */
  stop(): void {
    this.#phase = 'idle';
    this.#retryAt = Number.POSITIVE_INFINITY;
  }

  /** CONNACK says yes. */
  opened(now: Millis): void {
    if (this.#phase !== 'connecting') return;
    this.#phase = 'connected';
    this.#connectedAt = now;
    this.#connections++;
    const away = this.#lostAt;
    this.#lostAt = undefined;
    if (!this.#newsToTell) return;
    this.#newsToTell = false;
    this.#log('notice', 'connected to the broker', {
      mqtt: this.#version === 5 ? '5' : '3.1.1',
      away_s: away === undefined ? undefined : Math.round((now - away) / 1000),
    });
  }

  /** The attempt failed, or the connection ended. */
  closed(failure: LinkFailure, now: Millis): void {
    if (this.#phase !== 'connecting' && this.#phase !== 'connected') return;
    if (this.#phase === 'connected') {
      if (now - this.#connectedAt >= STABLE_CONNECTION_MS) this.#failures = 0;
      this.#version = this.#firstVersion;
    } else if (this.#fallBack(failure)) {
      return;
    }
    this.#lostAt ??= now;
    const retryMs = backoffMs(this.#failures++, RECONNECT_FIRST_MS, RECONNECT_MAX_MS, this.#random);
    this.#phase = 'waiting';
    this.#retryAt = now + retryMs;
    const suppressed = this.#quiet.pass(failure.code, now);
    if (suppressed === undefined) return;
    this.#newsToTell = true;
    this.#log('warn', 'no connection to the broker, trying on', {
      code: failure.code,
      retry_ms: Math.round(retryMs),
      suppressed: suppressed === 0 ? undefined : suppressed,
    });
  }

  timeout(now: Millis): void {
    if (this.#phase === 'waiting' && now >= this.#retryAt) this.#attempt();
  }

  nextTimeout(): Millis {
    return this.#retryAt;
  }

  poll(): LinkOutput | undefined {
    return this.#outputs.shift();
  }

  state(): LinkState {
    switch (this.#phase) {
      case 'connecting':
      case 'connected':
        return this.#phase;
      case 'idle':
      case 'waiting':
        return 'offline';
      default:
        return this.#phase satisfies never;
    }
  }

  stats(): Readonly<Record<string, number>> {
    return {
      attempts: this.#attempts,
      connections: this.#connections,
      protocolVersion: this.#version,
    };
  }

  /** Try 3.1.1 at once where 5 was refused; back to 5 when that fails as well. */
  #fallBack(failure: LinkFailure): boolean {
    const refusedFive = this.#version === 5 && failure.versionRefused !== undefined;
    this.#version = refusedFive ? 4 : this.#firstVersion;
    if (!refusedFive) return false;
    if (failure.versionRefused === 'refused') this.#firstVersion = 4;
    this.#attempt();
    return true;
  }

  #attempt(): void {
    this.#phase = 'connecting';
    this.#retryAt = Number.POSITIVE_INFINITY;
    this.#attempts++;
    this.#outputs.push({ type: 'connect', protocolVersion: this.#version });
  }

  #log(level: 'warn' | 'notice', message: string, fields: LogFields): void {
    this.#outputs.push({ type: 'log', level, message, fields });
  }
}
