import type { KeyObject } from 'node:crypto';
import { AgentError } from '../base/errors.ts';
import { koffi, openLibrary } from '../base/native.ts';
import type { RawRsa } from './raw-rsa.ts';

/**
 * Driver: Debian's OpenSSL 3 for the one operation that Node only does on the event loop. Calls run in Node's thread pool.
 * The process has two OpenSSLs then, Node's own and this one; native.ts binds this one's calls to itself.
 */

/** openssl/crypto.h: do not free everything at exit, while a call may still run in the pool. */
const OPENSSL_INIT_NO_ATEXIT = 0x00080000n;
/** openssl/rsa.h */
const RSA_NO_PADDING = 3;

type Pointer = bigint | null;

interface Functions {
  init(options: bigint, settings: null): number;
  readPrivateKey(key: null, der: unknown, length: number): Pointer;
  newContext(key: Pointer, engine: null): Pointer;
  decryptInit(context: Pointer): number;
  setPadding(context: Pointer, padding: number): number;
  decrypt: {
    async(
      context: Pointer,
      out: unknown,
      outLength: unknown,
      block: unknown,
      blockLength: number,
      callback: (error: Error | null, result: number) => void,
    ): void;
  };
  freeContext(context: Pointer): void;
  freeKey(key: Pointer): void;
}

function bind(): Functions {
  const library = openLibrary('libcrypto');
  const functions = {
    init: library.func('int OPENSSL_init_crypto(uint64_t opts, const void *settings)'),
    readPrivateKey: library.func('void *d2i_AutoPrivateKey(void *key, void *der, long length)'),
    newContext: library.func('void *EVP_PKEY_CTX_new(void *key, void *engine)'),
    decryptInit: library.func('int EVP_PKEY_decrypt_init(void *ctx)'),
    setPadding: library.func('int EVP_PKEY_CTX_set_rsa_padding(void *ctx, int padding)'),
    decrypt: library.func(
      'int EVP_PKEY_decrypt(void *ctx, void *out, void *outLength, const void *in, ulong inLength)',
    ),
    freeContext: library.func('void EVP_PKEY_CTX_free(void *ctx)'),
    freeKey: library.func('void EVP_PKEY_free(void *key)'),
  } as Functions;
  if (functions.init(OPENSSL_INIT_NO_ATEXIT, null) !== 1) throw unusable();
  return functions;
}

function unusable(): AgentError {
  return new AgentError('native-unavailable', 'libcrypto.so.3 refused the device key');
}

export class LibcryptoRsa implements RawRsa {
  readonly #libcrypto: Functions;
  readonly #key: Pointer;
  readonly #context: Pointer;
  readonly #blockBytes: number;
  // Memory that C sees: made once, alive as long as the key.
  readonly #in: unknown;
  readonly #inBytes: Uint8Array;
  readonly #out: unknown;
  readonly #outBytes: Uint8Array;
  readonly #outLength: unknown;

  /** @throws {AgentError} `native-unavailable` */
  constructor(key: KeyObject) {
    this.#blockBytes = Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
    this.#libcrypto = bind();
    this.#key = importKey(this.#libcrypto, key);
    this.#context = this.#libcrypto.newContext(this.#key, null);
    if (
      this.#context === null ||
      this.#libcrypto.decryptInit(this.#context) !== 1 ||
      this.#libcrypto.setPadding(this.#context, RSA_NO_PADDING) !== 1
    )
      throw unusable();
    [this.#in, this.#inBytes] = allocate(this.#blockBytes);
    [this.#out, this.#outBytes] = allocate(this.#blockBytes);
    this.#outLength = koffi().alloc('ulong', 1);
  }

  decrypt(block: Uint8Array): Promise<Uint8Array | undefined> {
    this.#inBytes.set(block);
    koffi().encode(this.#outLength, 'ulong', this.#blockBytes);
    return new Promise((resolve, reject) => {
      this.#libcrypto.decrypt.async(
        this.#context,
        this.#out,
        this.#outLength,
        this.#in,
        this.#blockBytes,
        (error, result) => {
          if (error !== null)
            return reject(
              new AgentError('decryption-failed', 'libcrypto could not be called', undefined, {
                cause: error,
              }),
            );
          if (result !== 1) return resolve(undefined);
          const plain = this.#outBytes.slice();
          this.#outBytes.fill(0);
          resolve(plain);
        },
      );
    });
  }

  close(): void {
    this.#libcrypto.freeContext(this.#context);
    this.#libcrypto.freeKey(this.#key);
    for (const memory of [this.#in, this.#out, this.#outLength]) koffi().free(memory);
  }
}

/** `length` bytes that C and we see. */
function allocate(length: number): [pointer: unknown, bytes: Uint8Array] {
  const pointer: unknown = koffi().alloc('uint8_t', length);
  return [pointer, new Uint8Array(koffi().view(pointer, length))];
}

function importKey(libcrypto: Functions, key: KeyObject): Pointer {
  const der = key.export({ type: 'pkcs8', format: 'der' });
  const [pointer, bytes] = allocate(der.length);
  bytes.set(der);
  der.fill(0);
  // d2i moves the pointer that it is given: a variable of C that holds the address.
  const cursor: unknown = koffi().alloc('void *', 1);
  koffi().encode(cursor, 'void *', pointer);
  const imported = libcrypto.readPrivateKey(null, cursor, bytes.length);
  bytes.fill(0);
  koffi().free(cursor);
  koffi().free(pointer);
  if (imported === null) throw unusable();
  return imported;
}
