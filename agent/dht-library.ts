import { systemRandom } from './base/random.ts';
import type { DhtClient } from './dht/client.ts';
import { INFOHASH_BYTES, InfoHash } from './dht/infohash.ts';
import { DhtNode, type DhtNodeOptions } from './dht/udp.ts';
import type { PlainValue, Query, Value } from './dht/value.ts';
import type { ValuePolicy } from './dht/value-types.ts';
import { SignatureVerifier } from './identity/signature.ts';
import { createValuePolicy } from './identity/value-policy.ts';

/**
 * `doorward/dht`: the OpenDHT network from TypeScript and JavaScript. This is the whole public interface; an example is in
 * dht/README.md, and what each name does is told where it is defined.
 *
 * Left out: signing and encrypting. The checks that a storing node owes its neighbours are in `signaturePolicy`.
 */

export type { Address, HostPort } from './base/address.ts';
export { AgentError, DecodeError } from './base/errors.ts';
export type { DhtClient, DhtOperation, PutOptions, PutResult } from './dht/client.ts';
export type { ConnectionState, DhtState, PingAnswer } from './dht/events.ts';
export { InfoHash } from './dht/infohash.ts';
export { parseWhere } from './dht/query-text.ts';
export type { TableEntry } from './dht/routing-table.ts';
export { savedNodeId } from './dht/state-keeper.ts';
export { DhtNode, type DhtNodeOptions } from './dht/udp.ts';
export type { EncryptedValue, Filter, PlainValue, Query, SignedPart, Value } from './dht/value.ts';
export { VALUE_TYPE } from './dht/value.ts';
export type { CertificateKeyIds, ValuePolicy } from './dht/value-types.ts';

/** Signatures of values and keys in certificates, checked with node:crypto as the reference does (opendht.md 11, 13). */
export function signaturePolicy(): ValuePolicy {
  return createValuePolicy(new SignatureVerifier());
}

/**
 * A node with what most want: a random id, any free port of every IPv4 address, `signaturePolicy`. `start` binds it.
 * @throws {AgentError} `bad-address` when `bind` is no IP address
 */
export function createNode(options: Partial<DhtNodeOptions> = {}): DhtNode {
  return new DhtNode({
    id: new InfoHash(systemRandom.bytes(INFOHASH_BYTES)),
    bind: ['0.0.0.0'],
    port: 0,
    policy: signaturePolicy(),
    ...options,
  });
}

/**
 * A value that is neither signed nor encrypted, ready for `put`.
 * @param options without an `id` each put draws a random one; `type` is VALUE_TYPE or any other 16-bit number, default 0
 */
export function plainValue(
  data: string | Uint8Array,
  options: Partial<Pick<PlainValue, 'id' | 'type' | 'userType'>> = {},
): PlainValue {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
  return { kind: 'plain', id: 0n, type: 0, data: bytes, ...options };
}

/** The content of a value as text; undefined for an encrypted one. */
export function textOf(value: Value): string | undefined {
  return value.kind === 'plain' ? new TextDecoder().decode(value.data) : undefined;
}

/** All values under `key`, when the search is over. */
export async function getAll(dht: DhtClient, key: InfoHash, query?: Query): Promise<Value[]> {
  const values: Value[] = [];
  await new Promise<void>((resolve) => {
    dht.get(key, query, (value) => values.push(value), resolve);
  });
  return values;
}
