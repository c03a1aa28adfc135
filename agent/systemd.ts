import { type Clock, type Millis, WakeUp } from './base/clock.ts';
import { errorText } from './base/errors.ts';
import { lastErrorName, openLibrary } from './base/native.ts';
import { SOCKADDR_UN, SOCKET_CONSTANTS } from './base/socket-abi.ts';

/** What systemd tells a service of Type=notify in its environment: sd_notify(3), sd_watchdog_enabled(3). */
export interface SystemdEnvironment {
  readonly NOTIFY_SOCKET?: string | undefined;
  readonly WATCHDOG_USEC?: string | undefined;
  readonly WATCHDOG_PID?: string | undefined;
}

/** Hand one datagram of `KEY=value` lines to systemd. Must not throw and must not block. */
export type SendState = (state: string) => void;

/**
 * The service's side of sd_notify(3). Outside systemd every method is silent. Nothing in here can fail the station.
 */
export class SystemdNotifier {
  readonly #send: SendState;
  /** How often `feed` is due: half of what systemd allows, as sd_watchdog_enabled(3) asks. Undefined: no watchdog. */
  readonly feedEveryMs: Millis | undefined;

  constructor(send: SendState, watchdogMs: Millis | undefined) {
    this.#send = send;
    this.feedEveryMs = watchdogMs === undefined ? undefined : watchdogMs / 2;
  }

  /** Up: control socket, devices and config are there. Not the DHT, not the broker: a dead router must not stop a door. */
  ready(status: string): void {
    this.#send(`READY=1\nSTATUS=${oneLine(status)}`);
  }

  /** The line that `systemctl status` shows. */
  status(text: string): void {
    this.#send(`STATUS=${oneLine(text)}`);
  }

  stopping(): void {
    this.#send('STOPPING=1');
  }

  /**
   * Tell the watchdog that the station lives, if it does.
   * @param healthy since the last call everything that must move has moved. False: systemd is left to restart us.
   */
  feed(healthy: boolean): void {
    if (healthy && this.feedEveryMs !== undefined) this.#send('WATCHDOG=1');
  }

  /**
   * Ask `isHealthy` and feed, twice per watchdog time, until the returned function is called. Without a watchdog it does
   * nothing.
   */
  runWatchdog(clock: Clock, isHealthy: () => boolean): () => void {
    const everyMs = this.feedEveryMs;
    if (everyMs === undefined) return () => {};
    let due = clock.now() + everyMs;
    const wakeUp = new WakeUp(clock, () => {
      const now = clock.now();
      if (now >= due) {
        this.feed(isHealthy());
        due = now + everyMs;
      }
      wakeUp.arm(due);
    });
    wakeUp.arm(due);
    return () => wakeUp.disarm();
  }
}

/**
 * The notifier for this process.
 * @param environment `process.env`
 * @param pid         `process.pid`; a watchdog that is meant for another process is not ours to feed
 * @param onFailure   called once, with a sentence, when systemd cannot be told
 */
export function systemdNotifier(
  environment: SystemdEnvironment,
  pid: number,
  onFailure: (sentence: string) => void,
): SystemdNotifier {
  const socketName = environment.NOTIFY_SOCKET;
  if (socketName === undefined || socketName === '') {
    return new SystemdNotifier(() => {}, undefined);
  }
  return new SystemdNotifier(
    sendTo(notifyAddress(socketName), onFailure),
    watchdogMs(environment, pid),
  );
}

/** @returns the watchdog's time, or undefined when there is none for us */
export function watchdogMs(environment: SystemdEnvironment, pid: number): Millis | undefined {
  const { WATCHDOG_USEC: usec, WATCHDOG_PID: forPid } = environment;
  if (forPid !== undefined && forPid !== String(pid)) return undefined;
  if (usec === undefined || !/^[0-9]{1,15}$/.test(usec)) return undefined;
  const us = Number(usec);
  return us > 0 ? us / 1000 : undefined;
}

/**
 * The struct sockaddr_un of a NOTIFY_SOCKET: a path, or an abstract name whose `@` stands for a zero byte (unix(7)).
 * @returns undefined for anything else, such as a vsock address or a name that is too long
 */
export function notifyAddress(name: string): Uint8Array | undefined {
  const path = new TextEncoder().encode(name);
  const isAbstract = name.startsWith('@');
  if (!isAbstract && !name.startsWith('/')) return undefined;
  // A path ends with a zero byte, which must fit as well. An abstract name is as long as the address says.
  const length = isAbstract ? path.length : path.length + 1;
  if (length > SOCKADDR_UN.size - SOCKADDR_UN.sun_path) return undefined;
  const address = new Uint8Array(SOCKADDR_UN.sun_path + length);
  new Uint16Array(address.buffer, 0, 1)[0] = SOCKET_CONSTANTS.AF_UNIX;
  address.set(path, SOCKADDR_UN.sun_path);
  if (isAbstract) address[SOCKADDR_UN.sun_path] = 0;
  return address;
}

/** Node has no Unix datagram socket: three calls of libc, with nothing kept open between two messages. */
function sendTo(address: Uint8Array | undefined, onFailure: (sentence: string) => void): SendState {
  let libc: Libc | undefined;
  let hasFailed = false;
  const fail = (reason: string) => {
    if (!hasFailed) onFailure(`systemd cannot be told how the station is: ${reason}`);
    hasFailed = true;
  };
  return (state) => {
    if (address === undefined) {
      fail('NOTIFY_SOCKET is neither a path nor an abstract name');
      return;
    }
    try {
      libc ??= loadLibc();
      const error = sendUnixDatagram(libc, address, new TextEncoder().encode(state));
      if (error !== undefined) fail(error);
    } catch (error) {
      fail(errorText(error));
    }
  };
}

interface Libc {
  readonly socket: (family: number, type: number, protocol: number) => number;
  readonly sendto: (
    fd: number,
    data: Uint8Array,
    dataBytes: number,
    flags: number,
    address: Uint8Array,
    addressBytes: number,
  ) => number;
  readonly close: (fd: number) => number;
}

/** @throws {AgentError} `native-unavailable` */
function loadLibc(): Libc {
  const library = openLibrary('libc');
  return {
    socket: library.func('int socket(int, int, int)'),
    sendto: library.func('long sendto(int, const void *, ulong, int, const void *, uint)'),
    close: library.func('int close(int)'),
  };
}

/** @returns the name of the errno, or undefined when it was sent */
function sendUnixDatagram(libc: Libc, address: Uint8Array, data: Uint8Array): string | undefined {
  const { AF_UNIX, SOCK_DGRAM, SOCK_CLOEXEC, MSG_DONTWAIT, MSG_NOSIGNAL } = SOCKET_CONSTANTS;
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return lastErrorName();
  const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  const sent = libc.sendto(fd, data, data.length, flags, address, address.length);
  const error = sent < 0 ? lastErrorName() : undefined;
  libc.close(fd);
  return error;
}

// Lines are what separates assignments: text must not add one (`MAINPID=…`).
function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}
