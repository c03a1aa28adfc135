import { DecodeError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { InfoHash } from '../dht/infohash.ts';
import type { EncryptedValue, PlainValue } from '../dht/value.ts';
import { packBody, packSealed, unpackSealed } from '../dht/value-codec.ts';
import { decryptBlob, encryptBlob } from './blob-encryption.ts';
import { longKeyId, shortKeyId } from './keys.ts';
import type { PrivateKey } from './private-key.ts';
import type { SignatureVerifier } from './signature.ts';

/** What an application puts into a value. */
export interface Content {
  /** VALUE_TYPE, or any other 16-bit number. */
  readonly type: number;
  readonly data: Uint8Array;
  readonly userType?: string;
}

/** What an application gets of a value. */
export interface ReceivedContent extends Content {
  readonly valueId: bigint;
}

export function receivedContent({ id, type, data, userType }: PlainValue): ReceivedContent {
  return { valueId: id, type, data, ...(userType !== undefined && { userType }) };
}

/** Who signed a value. Says nothing yet of whose device that is: see certificate.ts. */
export interface Author {
  readonly publicKeyDer: Uint8Array;
  readonly shortId: InfoHash;
  /** 32 bytes. */
  readonly longId: Uint8Array;
}

export function authorOf(publicKeyDer: Uint8Array): Author {
  return { publicKeyDer, shortId: shortKeyId(publicKeyDer), longId: longKeyId(publicKeyDer) };
}

export interface SignOptions {
  /** 64 bit, not 0. */
  readonly id: bigint;
  /** 16 bit; a new value starts at 0. */
  readonly seq: number;
  /** Short key id of the recipient, for values that get encrypted. */
  readonly to?: InfoHash;
}

/** Sign `content` (opendht.md 13.2). The id and the key under which it will be stored are not signed. */
export async function signValue(
  content: Content,
  key: PrivateKey,
  { id, seq, to }: SignOptions,
): Promise<PlainValue> {
  const signed = { owner: key.publicKeyDer, seq, ...(to !== undefined && { to }) };
  const signature = await key.sign(packBody({ ...content, signed }));
  return { kind: 'plain', id, ...content, signed: { ...signed, signature } };
}

export interface SealOptions {
  /** 64 bit, not 0. */
  readonly id: bigint;
  readonly random: Random;
}

/**
 * Sign, name the recipient inside, and encrypt to its key (opendht.md 13.4).
 * @param to DER SubjectPublicKeyInfo of the recipient
 * @throws {DecodeError} when `to` is not a usable RSA key
 */
export async function sealValue(
  content: Content,
  from: PrivateKey,
  to: Uint8Array,
  { id, random }: SealOptions,
): Promise<EncryptedValue> {
  const signed = await signValue(content, from, { id, seq: 0, to: shortKeyId(to) });
  return { kind: 'encrypted', id, cypher: encryptBlob(packSealed(signed), to, random) };
}

/** Why an encrypted value was not for us, or not worth believing. */
export type SealFailure =
  /** Not encrypted to our key, or altered. */
  | 'undecryptable'
  /** Inside is something else than a value. */
  | 'malformed'
  | 'unsigned'
  /** Signed for somebody else and encrypted to us by whoever received it. */
  | 'misaddressed'
  | 'bad-signature';

export class SealError extends DecodeError {
  readonly reason: SealFailure;

  constructor(reason: SealFailure) {
    super(`sealed value: ${reason}`);
    this.reason = reason;
  }
}

export interface OpenedValue {
  /** With the id of the encrypted value. */
  readonly value: PlainValue;
  readonly author: Author;
}

/**
 * Decrypt, then check in this order: signed, `to` is us, the signature is good (opendht.md 13.4, jami.md 3).
 * @throws {SealError} otherwise
 */
export async function openValue(
  sealed: EncryptedValue,
  key: PrivateKey,
  verifier: SignatureVerifier,
): Promise<OpenedValue> {
  const plain = await decryptBlob(sealed.cypher, key).catch((error: unknown) =>
    refuse(error, 'undecryptable'),
  );
  const value = unpack(plain, sealed.id);
  const { signed } = value;
  if (signed === undefined) throw new SealError('unsigned');
  if (signed.to === undefined || !signed.to.equals(shortKeyId(key.publicKeyDer)))
    throw new SealError('misaddressed');
  if (!verifier.verify(value)) throw new SealError('bad-signature');
  return { value, author: authorOf(signed.owner) };
}

function unpack(plain: Uint8Array, id: bigint): PlainValue {
  try {
    return unpackSealed(plain, id);
  } catch (error) {
    return refuse(error, 'malformed');
  }
}

function refuse(error: unknown, reason: SealFailure): never {
  throw error instanceof DecodeError ? new SealError(reason) : error;
}
