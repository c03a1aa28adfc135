import { describe, expect, test } from 'vitest';
import { utf8 } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import { MsgpackWriter } from '../../agent/dht/msgpack-writer.ts';
import {
  announceDevice,
  decodeAnnouncement,
  encodeAnnouncement,
} from '../../agent/identity/announcement.ts';
import { shortKeyId } from '../../agent/identity/keys.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import { decodeStoredValue, encodeStoredValue } from '../../agent/identity/stored-value.ts';
import { vectorKey } from './fixtures.ts';

const device = vectorKey('bob').publicKeyDer;
const deviceShortId = InfoHash.fromHex(shortKeyId(device).hex);

describe('device announcement', () => {
  test('reads what it wrote, with and without the key', () => {
    for (const announcement of [{ deviceShortId }, { deviceShortId, devicePublicKey: device }])
      expect(decodeAnnouncement(encodeAnnouncement(announcement))).toEqual(announcement);
  });

  test('ignores entries that it does not know', () => {
    const packed = new MsgpackWriter().map(3).str('new').array(2).int(1).int(2);
    packed.str('dev').bin(deviceShortId.bytes).int(7).str('x');
    expect(decodeAnnouncement(packed.finish())).toEqual({ deviceShortId });
  });

  test('refuses a key of another device, a missing device, and nonsense', () => {
    const { publicKeyDer } = vectorKey('alice');
    const mixed = encodeAnnouncement({ deviceShortId, devicePublicKey: publicKeyDer });
    for (const bytes of [mixed, new MsgpackWriter().map(0).finish(), new Uint8Array(0), utf8('{}')])
      expect(() => decodeAnnouncement(bytes)).toThrow(DecodeError);
  });

  test('is signed by the account, of normal priority, and survives a file', async () => {
    const account = vectorKey('alice');
    const value = await announceDevice(device, account, 5n);
    expect(value).toMatchObject({ id: 5n, type: 0, priority: 1 });
    expect(value.signed?.owner).toEqual(account.publicKeyDer);
    expect(new SignatureVerifier().verify(value)).toBe(true);
    expect(decodeStoredValue(utf8(encodeStoredValue(value)))).toEqual(value);
  });

  test('a stored value that is damaged is refused', () => {
    for (const text of ['', '{', '[]', 'null', '{"version":2,"value":""}', '{"version":1}'])
      expect(() => decodeStoredValue(utf8(text))).toThrow(DecodeError);
    expect(() => decodeStoredValue(utf8('{"version":1,"value":"gqJpZAE="}'))).toThrow(DecodeError);
  });
});
