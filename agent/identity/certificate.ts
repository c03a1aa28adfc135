import { X509Certificate } from 'node:crypto';
import { equalBytes, toHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import type { InfoHash } from '../dht/infohash.ts';
import { longKeyId, publicKeyDerOf, shortKeyId } from './keys.ts';
import {
  CLOCK_TOLERANCE_MS,
  MAX_CHAIN_BYTES,
  MAX_CHAIN_LENGTH,
  MAX_RSA_BITS,
  MAX_RSA_EXPONENT,
  MIN_TRUSTED_RSA_BITS,
} from './limits.ts';

/** A device whose chain was verified. */
export interface DeviceCertificate {
  /** 40 hex digits: short id of the key that issued the device's certificate. What people exchange and trust. */
  readonly accountId: string;
  /** 64 hex digits: long id of the device's key. */
  readonly deviceId: string;
  /** Short id of the device's key. */
  readonly shortId: InfoHash;
  /** DER SubjectPublicKeyInfo of the device's key. */
  readonly publicKeyDer: Uint8Array;
  /** Device, account, CA. */
  readonly chainPem: string;
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/**
 * The certificates in `bytes`, leaf first, each followed by its issuer (opendht.md 13.6): PEM with anything before and
 * after, which the msgpack header of a certificate value makes use of, or exactly one in DER. Nothing is verified.
 * @throws {DecodeError}
 */
export function parseChain(bytes: Uint8Array): X509Certificate[] {
  if (bytes.length > MAX_CHAIN_BYTES) throw new DecodeError('a certificate chain of that size');
  // latin1: junk around the PEM need not be UTF-8.
  const pems = Buffer.from(bytes).toString('latin1').match(PEM_CERTIFICATE);
  if (pems === null) return [parseDer(bytes)];
  if (pems.length > MAX_CHAIN_LENGTH) throw new DecodeError('a certificate chain of that length');
  const chain = pems.map(parseCertificate);
  for (const [i, certificate] of chain.entries()) {
    const issuer = chain[i + 1];
    if (issuer !== undefined && !certificate.checkIssued(issuer))
      throw new DecodeError('certificates out of order');
  }
  return chain;
}

function parseDer(bytes: Uint8Array): X509Certificate {
  const certificate = parseCertificate(Buffer.from(bytes));
  if (certificate.raw.length !== bytes.length) throw new DecodeError('more than one certificate');
  return certificate;
}

function parseCertificate(encoded: string | Buffer): X509Certificate {
  try {
    return new X509Certificate(encoded);
  } catch {
    throw new DecodeError('not a certificate');
  }
}

/** DER SubjectPublicKeyInfo. @throws {DecodeError} when the key is of a kind that cannot be read */
export function certificateKey(certificate: X509Certificate): Uint8Array {
  try {
    return publicKeyDerOf(certificate.publicKey);
  } catch {
    throw new DecodeError('a certificate with an unreadable key');
  }
}

/**
 * Check a device's chain the way its peers check ours (jami.md 2): every certificate is issued and signed by the next, all
 * issuers are authorities, the top signed itself and is not the device. The account is the *key* that issued the
 * device's certificate, whatever the names say.
 * @param unixMs wall clock; undefined while it cannot be trusted, then dates are not looked at
 * @throws {DecodeError} saying what is wrong
 */
export function verifyDeviceChain(
  chain: readonly X509Certificate[],
  unixMs: number | undefined,
): DeviceCertificate {
  const [device, account] = chain;
  const top = chain.at(-1);
  if (device === undefined || account === undefined || top === undefined)
    throw new DecodeError('a device certificate without its issuer');
  const keys = chain.map(usableKey);
  for (const [i, certificate] of chain.entries()) {
    const issuer = chain[i + 1] ?? top;
    if (!certificate.checkIssued(issuer) || !certificate.verify(issuer.publicKey))
      throw new DecodeError('a certificate that its issuer did not sign');
    if (i > 0 && !certificate.ca) throw new DecodeError('an issuer that is no authority');
    if (unixMs !== undefined) checkDates(certificate, unixMs);
  }
  const [deviceKey, accountKey] = keys as [Uint8Array, Uint8Array];
  if (equalBytes(deviceKey, accountKey)) throw new DecodeError('a device that is its own account');
  return {
    accountId: shortKeyId(accountKey).hex,
    deviceId: toHex(longKeyId(deviceKey)),
    shortId: shortKeyId(deviceKey),
    publicKeyDer: deviceKey,
    chainPem: chain.map((certificate) => certificate.toString()).join(''),
  };
}

function usableKey(certificate: X509Certificate): Uint8Array {
  const der = certificateKey(certificate);
  const { asymmetricKeyType, asymmetricKeyDetails = {} } = certificate.publicKey;
  const { modulusLength = 0, publicExponent = 0n } = asymmetricKeyDetails;
  if (
    asymmetricKeyType !== 'rsa' ||
    modulusLength < MIN_TRUSTED_RSA_BITS ||
    modulusLength > MAX_RSA_BITS ||
    publicExponent > MAX_RSA_EXPONENT
  )
    throw new DecodeError('a chain with a key that is not RSA of a sound size');
  return der;
}

function checkDates(certificate: X509Certificate, unixMs: number): void {
  const from = Date.parse(certificate.validFrom);
  const to = Date.parse(certificate.validTo);
  if (!(unixMs >= from - CLOCK_TOLERANCE_MS)) throw new DecodeError('a certificate of the future');
  if (!(unixMs <= to + CLOCK_TOLERANCE_MS)) throw new DecodeError('a certificate that has expired');
}
