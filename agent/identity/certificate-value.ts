import type { X509Certificate } from 'node:crypto';
import { utf8 } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { InfoHash } from '../dht/infohash.ts';
import { MsgpackWriter } from '../dht/msgpack-writer.ts';
import { type PlainValue, type Query, VALUE_TYPE, type Value } from '../dht/value.ts';
import { certificateKey, type DeviceCertificate, parseChain } from './certificate.ts';
import { fitsKeyIds, type KeyIds } from './keys.ts';
import { CERTIFICATE_VALUE_ID } from './limits.ts';

/** Under which keys the certificate of a key is published, and looked for (opendht.md 13.6). */
export function certificateKeys({ shortId, longId }: KeyIds): InfoHash[] {
  return [
    ...(shortId === undefined ? [] : [shortId]),
    ...(longId === undefined ? [] : [InfoHash.of(longId)]),
  ];
}

/** The certificate as a value: type 8, id 1, unsigned; the PEM chain in a msgpack `bin`. */
export function certificateValue(device: DeviceCertificate): PlainValue {
  const data = new MsgpackWriter().bin(utf8(device.chainPem)).finish();
  return { kind: 'plain', id: CERTIFICATE_VALUE_ID, type: VALUE_TYPE.certificate, data };
}

/** Gets the certificates under a key, and nothing else that lies there. */
export const CERTIFICATES: Query = {
  where: [{ field: 'type', value: VALUE_TYPE.certificate }],
  select: [],
};

/**
 * The chain in a certificate value, leaf first. That its key has the wanted ids is checked before any signature; nothing else
 * is checked here.
 * @throws {DecodeError}
 */
export function certificateChainOf(value: Value, ids: KeyIds): readonly X509Certificate[] {
  if (value.kind !== 'plain' || value.type !== VALUE_TYPE.certificate)
    throw new DecodeError('not a certificate');
  const chain = parseChain(value.data);
  const [leaf] = chain;
  if (leaf === undefined || !fitsKeyIds(certificateKey(leaf), ids))
    throw new DecodeError('a certificate for another key');
  return chain;
}
