import 'reflect-metadata';
import { type KeyObject, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { toHex } from '../base/bytes.ts';
import type { Random } from '../base/random.ts';
import { publicKeyDerOf, shortKeyId } from './keys.ts';
import { CERTIFICATE_LIFETIME_MS, CLOCK_TOLERANCE_MS } from './limits.ts';

/**
 * Certificates in the layout of Jami (jami.md 2; opendht.md 13.6). This file carries an X.509 library of 20 MB: only
 * keystore.ts imports it, and only when it makes an identity.
 */

/** userId, RFC 4519 2.39. */
const OID_UID = '0.9.2342.19200300.100.1.1';
const SIGNING = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384' };

export interface IdentityKeys {
  readonly ca: KeyObject;
  readonly account: KeyObject;
  /** Signs nothing here: its public half will do. */
  readonly device: KeyObject;
}

/** @returns PEM of device, account, CA in this order */
export async function issueChain(
  keys: IdentityKeys,
  unixMs: number,
  random: Random,
): Promise<string> {
  const ca = { name: nameOf('Jami CA', keys.ca), key: keys.ca };
  const account = { name: nameOf('Jami', keys.account), key: keys.account };
  const device = { name: nameOf('Jami device', keys.device), key: keys.device };
  const chain = [
    await issue(device, account, false, unixMs, random),
    await issue(account, ca, true, unixMs, random),
    await issue(ca, ca, true, unixMs, random),
  ];
  return chain.map((certificate) => `${certificate.toString('pem')}\n`).join('');
}

interface Party {
  readonly name: x509.Name;
  readonly key: KeyObject;
}

/** CN and UID, in this order; UID is the short key id. Both PrintableString, as GnuTLS writes them. */
function nameOf(commonName: string, key: KeyObject): x509.Name {
  return new x509.Name([
    { CN: [{ printableString: commonName }] },
    { [OID_UID]: [{ printableString: shortKeyId(publicKeyDerOf(key)).hex }] },
  ]);
}

async function issue(
  subject: Party,
  issuer: Party,
  isAuthority: boolean,
  unixMs: number,
  random: Random,
): Promise<x509.X509Certificate> {
  const { keyCertSign, cRLSign, digitalSignature, dataEncipherment } = x509.KeyUsageFlags;
  const notBefore = unixMs - CLOCK_TOLERANCE_MS;
  return x509.X509CertificateGenerator.create({
    serialNumber: toHex(serialNumber(random)),
    subject: subject.name,
    issuer: issuer.name,
    notBefore: new Date(notBefore),
    notAfter: new Date(notBefore + CERTIFICATE_LIFETIME_MS),
    publicKey: await publicCryptoKey(subject.key),
    signingKey: await privateCryptoKey(issuer.key),
    signingAlgorithm: SIGNING,
    extensions: [
      ...(isAuthority ? [new x509.BasicConstraintsExtension(true, undefined, true)] : []),
      new x509.KeyUsagesExtension(
        isAuthority ? keyCertSign | cRLSign : digitalSignature | dataEncipherment,
        true,
      ),
      // The short key id, not the hash that RFC 5280 4.2.1.2 suggests.
      new x509.SubjectKeyIdentifierExtension(shortKeyId(publicKeyDerOf(subject.key)).hex),
    ],
  });
}

/** 8 bytes, positive: the first one neither has the sign bit nor is zero. */
function serialNumber(random: Random): Uint8Array {
  const serial = random.bytes(8);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

function publicCryptoKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('spki', publicKeyDerOf(key), SIGNING, true, ['verify']);
}

function privateCryptoKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const der = key.export({ type: 'pkcs8', format: 'der' });
  return webcrypto.subtle.importKey('pkcs8', der, SIGNING, false, ['sign']);
}
