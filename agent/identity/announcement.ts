import { DecodeError } from '../base/errors.ts';
import { INFOHASH_BYTES, InfoHash } from '../dht/infohash.ts';
import { MsgpackReader, textCode } from '../dht/msgpack-reader.ts';
import { MsgpackWriter } from '../dht/msgpack-writer.ts';
import { type PlainValue, VALUE_TYPE } from '../dht/value.ts';
import { signValue } from './envelope.ts';
import { shortKeyId } from './keys.ts';
import type { PrivateKey } from './private-key.ts';

/**
 * "This account has this device" (jami.md 3.1): a value at the account's id, signed by the account's key, holding the map
 * `{dev: bin20, pk: bin}`. That at least one is alive is all that makes an account appear online.
 */
export interface Announcement {
  readonly deviceShortId: InfoHash;
  /** DER SubjectPublicKeyInfo; old writers leave it out. */
  readonly devicePublicKey?: Uint8Array;
}

const DEV = textCode('dev');
const PK = textCode('pk');

export function encodeAnnouncement(announcement: Announcement): Uint8Array {
  const { deviceShortId, devicePublicKey } = announcement;
  const out = new MsgpackWriter().map(devicePublicKey === undefined ? 1 : 2);
  out.str('dev').bin(deviceShortId.bytes);
  if (devicePublicKey !== undefined) out.str('pk').bin(devicePublicKey);
  return out.finish();
}

/** @throws {DecodeError} also when `pk` is not the key of `dev` */
export function decodeAnnouncement(data: Uint8Array): Announcement {
  const reader = new MsgpackReader(data);
  let deviceShortId: InfoHash | undefined;
  let devicePublicKey: Uint8Array | undefined;
  for (let entries = reader.mapHeader(); entries > 0; entries--) {
    const key = reader.textCode();
    if (key === DEV) deviceShortId = new InfoHash(reader.binOf(INFOHASH_BYTES));
    else if (key === PK) devicePublicKey = reader.blob();
    else reader.skip();
  }
  if (deviceShortId === undefined) throw new DecodeError('an announcement of no device');
  if (devicePublicKey === undefined) return { deviceShortId };
  if (!shortKeyId(devicePublicKey).equals(deviceShortId))
    throw new DecodeError('an announcement of two different devices');
  return { deviceShortId, devicePublicKey };
}

/** Normal priority: an announcement wakes nobody's phone. */
const PRIORITY_NORMAL = 1;

/** @param id of the value; the same as long as the device lives, so that a restart replaces instead of adding */
export async function announceDevice(
  devicePublicKey: Uint8Array,
  accountKey: PrivateKey,
  id: bigint,
): Promise<PlainValue> {
  const data = encodeAnnouncement({ deviceShortId: shortKeyId(devicePublicKey), devicePublicKey });
  const signed = await signValue({ type: VALUE_TYPE.userData, data }, accountKey, { id, seq: 0 });
  return { ...signed, priority: PRIORITY_NORMAL };
}
