import type { Address } from '../base/address.ts';
import { equalBytes } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { DecodeError } from '../base/errors.ts';
import { InfoHash } from './infohash.ts';
import { PROTOCOL } from './limits.ts';
import { MsgpackReader } from './msgpack-reader.ts';
import { MsgpackWriter } from './msgpack-writer.ts';
import { readSockaddr, readSockaddrPort, sockaddrBytes, writeSockaddr } from './sockaddr.ts';
import { type PlainValue, VALUE_TYPE, type Value } from './value.ts';
import { countedSize, packBody, storedType } from './value-codec.ts';

/** What a storing node keeps and for how long, by the type of the value (opendht.md 11). */

/** Ids of the key in a certificate. */
export interface CertificateKeyIds {
  /** SHA-1 of the SubjectPublicKeyInfo. */
  readonly short: InfoHash;
  /** SHA-256 of it. */
  readonly long: Uint8Array;
}

/** What the DHT cannot judge itself, because it knows nothing of keys. Both are synchronous and rate-limited by us. */
export interface ValuePolicy {
  /** Is the signature by the owner and over the body? */
  verifySignature(value: PlainValue): boolean;
  /** @param data of a value of type 8; undefined unless it holds a certificate */
  certificateKeyIds(data: Uint8Array): CertificateKeyIds | undefined;
}

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** How long a value lives on a storing node: of an unknown type 10 minutes. */
export function lifetimeMs(value: Value): Millis {
  switch (storedType(value)) {
    case VALUE_TYPE.dhtMessage:
    case VALUE_TYPE.imMessage:
      return 5 * MINUTE;
    case VALUE_TYPE.ipService:
      return 15 * MINUTE;
    case VALUE_TYPE.trustRequest:
    case VALUE_TYPE.certificate:
      return 7 * DAY;
    case VALUE_TYPE.iceCandidates:
      return MINUTE;
    default:
      return 10 * MINUTE;
  }
}

/** The types whose signatures storing nodes check. Nobody checks those of types that are not known. */
const CHECKED: ReadonlySet<number> = new Set([
  VALUE_TYPE.userData,
  VALUE_TYPE.dhtMessage,
  VALUE_TYPE.imMessage,
  VALUE_TYPE.trustRequest,
  VALUE_TYPE.iceCandidates,
]);

/** Does judging this value cost a signature check or the reading of a certificate? */
export function needsCheck(value: Value): boolean {
  if (value.kind === 'encrypted') return false;
  return value.type === VALUE_TYPE.certificate || isSigned(value);
}

function isSigned(value: Value): value is PlainValue & Required<Pick<PlainValue, 'signed'>> {
  return value.kind === 'plain' && value.signed !== undefined;
}

/** @returns the value as it is to be stored under `key`, undefined when it is refused */
export function admit(
  key: InfoHash,
  value: Value,
  from: Address,
  policy: ValuePolicy,
): Value | undefined {
  if (countedSize(value) > PROTOCOL.maxValueBytes) return undefined;
  if (value.kind === 'encrypted') return value;
  if (CHECKED.has(value.type) && isSigned(value))
    return policy.verifySignature(value) ? value : undefined;
  switch (value.type) {
    case VALUE_TYPE.dhtMessage:
      return hasEmptyService(value.data) ? undefined : value;
    case VALUE_TYPE.ipService:
      return announcedService(value, from);
    case VALUE_TYPE.certificate:
      return isCertificateOf(key, value, policy) ? value : undefined;
    default:
      return value;
  }
}

/** May `next` take the place of the stored value with its id? The rule is that of the stored type. */
export function mayReplace(stored: Value, next: Value, policy: ValuePolicy): boolean {
  if (stored.kind === 'encrypted') return false;
  if (stored.type === VALUE_TYPE.certificate) {
    const now = policy.certificateKeyIds(stored.data);
    const then =
      next.kind === 'plain' && next.type === VALUE_TYPE.certificate
        ? policy.certificateKeyIds(next.data)
        : undefined;
    return now !== undefined && then !== undefined && now.short.equals(then.short);
  }
  if (!CHECKED.has(stored.type) || !isSigned(stored) || !isSigned(next)) return false;
  if (!equalBytes(stored.signed.owner, next.signed.owner)) return false;
  if (next.signed.seq < stored.signed.seq) return false;
  if (next.signed.seq === stored.signed.seq && !equalBytes(packBody(stored), packBody(next)))
    return false;
  return policy.verifySignature(next);
}

function isCertificateOf(key: InfoHash, value: PlainValue, policy: ValuePolicy): boolean {
  const ids = policy.certificateKeyIds(value.data);
  // Kept at the short id by all, at the hash of the long one since 2.5.4 (opendht.md 13.6).
  return ids !== undefined && (key.equals(ids.short) || key.equals(InfoHash.of(ids.long)));
}

/** A DHT message is `[service, data]`; one that cannot be read as that is just data. */
function hasEmptyService(data: Uint8Array): boolean {
  try {
    const reader = new MsgpackReader(data);
    return reader.arrayHeader() >= 1 && reader.str() === '';
  } catch (error) {
    if (error instanceof DecodeError) return false;
    throw error;
  }
}

/**
 * An IP announcement is a bin with a raw Linux socket address. Only its port is believed: the address is where the put
 * came from.
 */
function announcedService(value: PlainValue, from: Address): PlainValue | undefined {
  const port = announcedPort(value);
  if (port === 0) return undefined;
  const sockaddr = new Uint8Array(sockaddrBytes(from.ip.length));
  writeSockaddr(sockaddr, 0, { ip: from.ip, port });
  const data = new MsgpackWriter().bin(sockaddr).finish();
  return { kind: 'plain', id: value.id, type: value.type, data };
}

function announcedPort(value: PlainValue): number {
  return readSockaddrPort(socketAddress(value), 0);
}

/** The address that an IP announcement names; undefined for any other value. */
export function announcedAddress(value: Value): Address | undefined {
  if (value.kind === 'encrypted' || value.type !== VALUE_TYPE.ipService) return undefined;
  return readSockaddr(socketAddress(value));
}

/** @returns no bytes for data that cannot be read */
function socketAddress({ data }: PlainValue): Uint8Array {
  try {
    return new MsgpackReader(data).blob();
  } catch (error) {
    if (error instanceof DecodeError) return new Uint8Array(0);
    throw error;
  }
}
