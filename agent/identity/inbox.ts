import { InfoHash } from '../dht/infohash.ts';

/**
 * Where sealed values for a device are put and listened to (jami.md 3).
 * @param deviceShortId 40 hex digits
 */
export function inboxKey(deviceShortId: string): InfoHash {
  return InfoHash.of(`inbox:${deviceShortId}`);
}
