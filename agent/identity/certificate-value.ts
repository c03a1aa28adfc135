import { utf8 } from '../base/bytes.ts';
import { InfoHash } from '../dht/infohash.ts';
import { MsgpackWriter } from '../dht/msgpack-writer.ts';
import { type PlainValue, VALUE_TYPE } from '../dht/value.ts';
import type { DeviceCertificate } from './certificate.ts';
import { CERTIFICATE_VALUE_ID } from './limits.ts';

/** Ids of a device's key, one or both. */
export interface DeviceKeyIds {
  readonly shortId?: InfoHash;
  /** 32 bytes. */
  readonly longId?: Uint8Array;
}

/** Under which two keys a device's certificate is published, and looked for (opendht.md 13.6). */
export function certificateKeys({ shortId, longId }: DeviceKeyIds): InfoHash[] {
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
