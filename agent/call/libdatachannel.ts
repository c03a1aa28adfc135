import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { AgentError, errorText } from '../base/errors.ts';
import type { IceServer } from './ice-server.ts';

/**
 * Loading and unloading of node-datachannel. It is loaded with the first call, so that an idle
 * station does not carry its 7 MB (webrtc-sip.md 1).
 */

export type Library = typeof import('node-datachannel').default;

let loading: Promise<Library> | undefined;
let loaded: Library | undefined;

/** @throws {AgentError} `media-unavailable` where there is no binary for this machine */
export function loadLibrary(): Promise<Library> {
  loading ??= import('node-datachannel').then(
    (module) => {
      loaded = module.default;
      return loaded;
    },
    (error: unknown) => {
      throw new AgentError(
        'media-unavailable',
        `there is no WebRTC for this machine (${process.platform} ${process.arch}): ${errorText(error)}`,
        'calls need a 64-bit system: Raspberry Pi OS Lite (64-bit) runs on a Pi 3, 4, 5 and Zero 2',
        { cause: error },
      );
    },
  );
  return loading;
}

/**
 * Try what the library will do next: open a UDP socket. Where it cannot (an address that is not
 * ours, no file descriptor left) it throws through `setLocalDescription` in a way that ends the
 * process.
 * @throws {Error} a system error, in words for the log
 */
export function requireUdpSocket(bindAddress = '0.0.0.0'): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(bindAddress) ? 'udp6' : 'udp4');
    socket.once('error', (error) => {
      socket.close();
      reject(error);
    });
    socket.bind(0, bindAddress, () => socket.close(() => resolve()));
  });
}

/**
 * Close everything the library has open, in the whole process, and stop its threads: without it the
 * process lingers for seconds (webrtc-sip.md 3). At the end of the program only. Does nothing when
 * there was no call.
 */
export function shutdownMedia(): void {
  loaded?.cleanup();
}

/**
 * An object with a relay type is a TURN server, one without a STUN server. As URLs, IPv6 addresses
 * are refused.
 */
export function iceServerForLibrary({ kind, host, port, username = '', password = '' }: IceServer) {
  const address = { hostname: host, port };
  if (kind === 'stun') return address;
  return { ...address, username, password, relayType: 'TurnUdp' as const };
}
