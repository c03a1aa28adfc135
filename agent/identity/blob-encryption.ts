import {
  constants,
  createCipheriv,
  createDecipheriv,
  type KeyObject,
  publicEncrypt,
} from 'node:crypto';
import { concatBytes } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { importPublicKey } from './keys.ts';
import type { PrivateKey } from './private-key.ts';

/**
 * Encryption of bytes to an RSA key of k bytes (opendht.md 13.3):
 *
 *     up to k − 11 bytes    RSA block(k)
 *     more                  RSA block(k) holding an AES key | IV(12) | AES-GCM cypher text | tag(16)
 *
 * The RSA block is RSAES-PKCS1-v1_5. No additional data.
 */

const PADDING_BYTES = 11;
const AES_KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** @throws {DecodeError} when `publicKeyDer` is not a usable RSA key */
export function encryptBlob(
  plain: Uint8Array,
  publicKeyDer: Uint8Array,
  random: Random,
): Uint8Array {
  const key = importPublicKey(publicKeyDer);
  const blockBytes = Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
  if (blockBytes < AES_KEY_BYTES + PADDING_BYTES) throw new DecodeError('an RSA key too small');
  const toKey = (message: Uint8Array) => encryptBlock(message, key);
  if (plain.length <= blockBytes - PADDING_BYTES) return new Uint8Array(toKey(plain));
  const aesKey = random.bytes(AES_KEY_BYTES);
  const iv = random.bytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', aesKey, iv);
  const body = concatBytes(cipher.update(plain), cipher.final());
  const blob = concatBytes(toKey(aesKey), iv, body, cipher.getAuthTag());
  aesKey.fill(0);
  return blob;
}

/** The padding's own random bytes come from OpenSSL. */
function encryptBlock(message: Uint8Array, key: KeyObject): Uint8Array {
  try {
    return publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, message);
  } catch {
    // An even modulus, for one: somebody has published it.
    throw new DecodeError('an RSA key that does not work');
  }
}

/**
 * @throws {DecodeError} always the same and after the same work, whether the RSA block or the AES part is wrong: the
 * difference would decrypt RSA blocks for whoever sees it
 */
export async function decryptBlob(blob: Uint8Array, key: PrivateKey): Promise<Uint8Array> {
  const k = key.blockBytes;
  if (blob.length === k) return key.decrypt(blob);
  if (blob.length <= k + IV_BYTES + TAG_BYTES) throw cannotBeDecrypted();
  const message = await key.decrypt(blob.slice(0, k)).catch((error: unknown) => {
    if (error instanceof DecodeError) return undefined;
    throw error;
  });
  const aesKey = isAesKey(message) ? message : undefined;
  const plain = openGcm(blob.subarray(k), aesKey ?? new Uint8Array(AES_KEY_BYTES));
  aesKey?.fill(0);
  if (plain === undefined || aesKey === undefined) throw cannotBeDecrypted();
  return plain;
}

function cannotBeDecrypted(): DecodeError {
  return new DecodeError('cannot be decrypted');
}

function isAesKey(message: Uint8Array | undefined): message is Uint8Array {
  return (
    message !== undefined &&
    (message.length === 16 || message.length === 24 || message.length === 32)
  );
}

/** IV, cypher text, tag → plain text; undefined when the tag is wrong. */
function openGcm(sealed: Uint8Array, aesKey: Uint8Array): Uint8Array | undefined {
  const bits = (8 * aesKey.length) as 128 | 192 | 256;
  const decipher = createDecipheriv(`aes-${bits}-gcm`, aesKey, sealed.subarray(0, IV_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  const body = decipher.update(sealed.subarray(IV_BYTES, sealed.length - TAG_BYTES));
  try {
    return concatBytes(body, decipher.final());
  } catch {
    return undefined;
  }
}
