import { isIPv4 } from 'node:net';
import { AgentError } from '../base/errors.ts';

/** Where the broker is, checked. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

const PROTOCOLS: Record<string, { readonly tls: boolean; readonly port: number }> = {
  'mqtt:': { tls: false, port: 1883 },
  'mqtts:': { tls: true, port: 8883 },
};

/**
 * `mqtt://host[:port]` or `mqtts://host[:port]`. Without TLS only to loopback, unless told otherwise: the broker may
 * ring, answer and send messages in the house's name.
 * @throws {AgentError} `mqtt-url`, `mqtt-plaintext`
 */
export function parseEndpoint(url: string, acceptPlaintext: boolean): Endpoint {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const protocol = parsed === undefined ? undefined : PROTOCOLS[parsed.protocol];
  if (parsed !== undefined && (parsed.username !== '' || parsed.password !== '')) {
    // Without the url: it holds a secret.
    throw new AgentError(
      'mqtt-url',
      'the url of the broker holds a user name or a password',
      'use mqtt.username and mqtt.password_file',
    );
  }
  if (
    parsed === undefined ||
    protocol === undefined ||
    parsed.hostname === '' ||
    !/^\/?$/.test(parsed.pathname) ||
    parsed.search !== '' ||
    parsed.hash !== '' ||
    parsed.port === '0'
  ) {
    throw new AgentError(
      'mqtt-url',
      `"${withoutCredentials(url)}" is not the url of a broker`,
      'write mqtts://broker.example:8883, or mqtt://127.0.0.1:1883 on this machine',
    );
  }
  const host = parsed.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const endpoint = {
    host,
    port: parsed.port === '' ? protocol.port : Number(parsed.port),
    tls: protocol.tls,
  };
  if (!endpoint.tls && !isLoopback(host) && !acceptPlaintext) {
    throw new AgentError(
      'mqtt-plaintext',
      `${host} would be reached without encryption`,
      'use mqtts:// with ca_file, or say mqtt.accept_plaintext: true if that network is yours alone',
    );
  }
  return endpoint;
}

/** A host that cannot be reached from outside this machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

// What is no url may still hold a password.
function withoutCredentials(url: string): string {
  return url.replace(/^.*@/, '…@');
}
