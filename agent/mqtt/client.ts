import { X509Certificate } from 'node:crypto';
import { type Clock, type Millis, type Moment, readClock, WakeUp } from '../base/clock.ts';
import { AgentError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { readNamedFile, readPasswordFile } from '../base/named-file.ts';
import type { Random } from '../base/random.ts';
import type { AgentCommand, AgentEvent, CommandResult } from '../events.ts';
import { type BridgeOutput, MqttBridge, willOf } from './bridge.ts';
import {
  type Connect,
  type Connection,
  type ConnectionOptions,
  loadConnect,
} from './connection.ts';
import { parseEndpoint } from './endpoint.ts';
import { Link, type LinkOutput, type LinkState, type ProtocolVersion } from './link.ts';
import type { ClockState, Privacy, StationInfo } from './payload.ts';
import { Quiet } from './quiet.ts';
import { createTopics } from './topics.ts';

export interface MqttConfig {
  /** `mqtt://host:port` or `mqtts://host:port`. */
  readonly url: string;
  /** `doorward`: what the topics begin with. */
  readonly base: string;
  readonly username?: string;
  /** A file with the password in its first line. */
  readonly passwordFile?: string;
  /** PEM of a private certificate authority; without it the system's are trusted. */
  readonly caFile?: string;
  /** Allow `mqtt://` to a host that is not this one. */
  readonly acceptPlaintext?: boolean;
}

export interface MqttOptions {
  readonly config: MqttConfig;
  readonly node: string;
  readonly info: StationInfo;
  readonly privacy: Privacy;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Carry out a command. What it rejects with becomes `internal`, and one line in the log. */
  readonly handle: (command: AgentCommand) => Promise<CommandResult>;
  /** What is known of the wall clock beyond its own plausibility. */
  readonly clockState?: (unixMs: Millis) => ClockState;
  /** Default: the `mqtt` package, loaded with the first attempt. */
  readonly loadConnect?: () => Promise<Connect>;
}

export interface Mqtt {
  /** Begin to connect, and go on for ever. */
  start(): void;
  /** Never fails: without a connection the event is kept, within bounds. */
  publish(event: AgentEvent): void;
  /** Say `offline`, wait for its acknowledgement, disconnect: 1 s at most. Idempotent, never rejects. */
  stop(): Promise<void>;
  state(): LinkState;
  stats(): Readonly<Record<string, number>>;
}

/**
 * The MQTT side of a station: one connection at a time, one timer, and the two engines that decide, MqttBridge and Link.
 * @throws {AgentError} `mqtt-url`, `mqtt-plaintext`, `mqtt-base`, `mqtt-node`, `named-file`, `mqtt-file` (no certificate)
 */
export function createMqtt(options: MqttOptions): Mqtt {
  const { url, acceptPlaintext, base, username, passwordFile, caFile } = options.config;
  const endpoint = parseEndpoint(url, acceptPlaintext ?? false);
  const topics = createTopics(base, options.node);
  const password =
    passwordFile === undefined ? undefined : readPasswordFile(passwordFile, 'mqtt.password_file');
  const ca = caFile === undefined ? undefined : readAuthority(caFile);
  return new MqttDriver(options, new MqttBridge({ ...options, topics }, readClock(options.clock)), {
    endpoint,
    // Not the node's name: of two stations that share one by mistake, neither shall throw the other out.
    clientId: `doorward-${options.info.stationId.slice(0, 8)}`,
    will: willOf(topics),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(ca !== undefined && { ca }),
  });
}

class MqttDriver implements Mqtt {
  readonly #options: MqttOptions;
  readonly #connectionOptions: Omit<ConnectionOptions, 'protocolVersion'>;
  readonly #bridge: MqttBridge;
  readonly #link: Link;
  readonly #wakeUp: WakeUp;
  readonly #logger: Logger;
  readonly #quiet = new Quiet();
  #connection: Connection | undefined;
  #stopping: Promise<void> | undefined;
  #onStopped: (clean: boolean) => void = () => {};

  constructor(
    options: MqttOptions,
    bridge: MqttBridge,
    connectionOptions: Omit<ConnectionOptions, 'protocolVersion'>,
  ) {
    this.#options = options;
    this.#connectionOptions = connectionOptions;
    this.#bridge = bridge;
    this.#link = new Link(options.random);
    this.#logger = options.logger;
    this.#wakeUp = new WakeUp(options.clock, () => {
      this.#turn((moment) => {
        this.#link.timeout(moment.now);
        this.#bridge.timeout(moment);
      });
    });
  }

  start(): void {
    if (this.#stopping === undefined) this.#turn(() => this.#link.start());
  }

  publish(event: AgentEvent): void {
    this.#turn((moment) => this.#bridge.publish(event, moment));
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  state(): LinkState {
    return this.#link.state();
  }

  stats(): Readonly<Record<string, number>> {
    return { ...this.#link.stats(), ...this.#bridge.stats() };
  }

  async #stop(): Promise<void> {
    const clean = await new Promise<boolean>((resolve) => {
      this.#onStopped = resolve;
      this.#turn((moment) => this.#bridge.stop(moment));
    });
    this.#link.stop();
    this.#wakeUp.disarm();
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.close(clean);
  }

  /** Feed the engines, carry out what they want, re-arm the timer. */
  #turn(feed: (moment: Moment) => void): void {
    feed(readClock(this.#options.clock));
    for (let out = this.#bridge.poll(); out !== undefined; out = this.#bridge.poll()) {
      this.#carryOut(out);
    }
    for (let out = this.#link.poll(); out !== undefined; out = this.#link.poll()) {
      this.#carryOutLink(out);
    }
    this.#wakeUp.arm(Math.min(this.#link.nextTimeout(), this.#bridge.nextTimeout()));
  }

  #carryOut(output: BridgeOutput): void {
    switch (output.type) {
      case 'publish':
        this.#connection?.publish(output.message, (accepted) => {
          this.#turn((moment) => this.#bridge.settled(output.token, accepted, moment));
        });
        break;
      case 'subscribe':
        this.#connection?.subscribe(output.filter, output.storedToo, (accepted) => {
          if (accepted) return;
          this.#logger.warn('the broker refused a subscription', { filter: output.filter });
        });
        break;
      case 'unsubscribe':
        this.#connection?.unsubscribe(output.filter);
        break;
      case 'run':
        void this.#run(output.ticket, output.command);
        break;
      case 'refused': {
        const suppressed = this.#quiet.pass(output.code, this.#options.clock.now());
        if (suppressed === undefined) break;
        const { topic, code } = output;
        this.#logger.notice('command refused', {
          topic,
          code,
          ...(suppressed > 0 && { suppressed }),
        });
        break;
      }
      case 'store_lost':
        this.#logger.notice('the broker did not keep what it was given, sent again');
        break;
      case 'stopped':
        this.#onStopped(output.clean);
        break;
      default:
        output satisfies never;
    }
  }

  #carryOutLink(output: LinkOutput): void {
    switch (output.type) {
      case 'connect':
        void this.#connect(output.protocolVersion);
        break;
      case 'log': {
        const { host, port } = this.#connectionOptions.endpoint;
        this.#logger[output.level](output.message, { broker: `${host}:${port}`, ...output.fields });
        break;
      }
      default:
        output satisfies never;
    }
  }

  /** Never rejects. */
  async #connect(protocolVersion: ProtocolVersion): Promise<void> {
    try {
      const connect = await (this.#options.loadConnect ?? loadConnect)();
      if (this.#stopping !== undefined) return;
      this.#connection = connect(
        { ...this.#connectionOptions, protocolVersion },
        {
          opened: (receiveMaximum) => {
            this.#turn((moment) => {
              this.#link.opened(moment.now);
              this.#bridge.connected(receiveMaximum, moment);
            });
          },
          received: (message) => {
            this.#turn((moment) => this.#bridge.received(message, moment));
          },
          closed: (failure) => {
            this.#connection = undefined;
            this.#turn((moment) => {
              this.#bridge.disconnected(moment);
              this.#link.closed(failure, moment.now);
            });
          },
        },
      );
    } catch (error) {
      if (this.#quiet.pass('unusable', this.#options.clock.now()) !== undefined) {
        this.#logger.error('the MQTT client cannot be used', { error: errorText(error) });
      }
      this.#turn((moment) => this.#link.closed({ code: 'unusable' }, moment.now));
    }
  }

  /** Never rejects. */
  async #run(ticket: number, command: AgentCommand): Promise<void> {
    let result: CommandResult;
    try {
      result = await this.#options.handle(command);
    } catch (error) {
      this.#logger.error('command failed', { command: command.type, error: errorText(error) });
      result = { code: 'internal', message: 'the station failed; its log tells why' };
    }
    this.#turn((moment) => this.#bridge.completed(ticket, result, moment));
  }
}

/** What is no certificate would only show as a broker that nobody trusts. */
function readAuthority(path: string): string {
  const pem = readNamedFile(path, 'mqtt.ca_file');
  try {
    new X509Certificate(pem);
  } catch (error) {
    throw new AgentError(
      'mqtt-file',
      `${path} holds no certificate`,
      "mqtt.ca_file names the PEM file of the authority that signed the broker's certificate",
      { cause: error },
    );
  }
  return pem;
}
