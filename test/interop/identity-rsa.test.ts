import { execFile } from 'node:child_process';
import {
  constants,
  createPrivateKey,
  createPublicKey,
  privateDecrypt,
  publicEncrypt,
} from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../agent/base/clock.ts';
import { AgentError } from '../../agent/base/errors.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { LibcryptoRsa } from '../../agent/identity/libcrypto.ts';
import { openPrivateKey } from '../../agent/identity/private-key.ts';
import { WorkerRsa } from '../../agent/identity/rsa-worker.ts';
import { vector } from '../identity/fixtures.ts';

const keyOf = (name: string) => createPrivateKey(vector('keys').keys[name].private_pkcs8_pem);
const carol = keyOf('carol');
const blockFor = (message: Uint8Array) =>
  new Uint8Array(
    publicEncrypt({ key: createPublicKey(carol), padding: constants.RSA_PKCS1_PADDING }, message),
  );

describe.each([
  ['libcrypto', () => new LibcryptoRsa(carol)],
  ['worker thread', () => new WorkerRsa(carol, systemClock)],
])('raw RSA by %s', (_name, open) => {
  test("gives what Node's own call gives", async () => {
    const rsa = open();
    for (let i = 0; i < 10; i++) {
      const block = blockFor(systemRandom.bytes(i * 50));
      const expected = privateDecrypt({ key: carol, padding: constants.RSA_NO_PADDING }, block);
      expect(await rsa.decrypt(block)).toEqual(new Uint8Array(expected));
    }
    rsa.close();
  });

  test('refuses a number that is not below the modulus, and goes on', async () => {
    const rsa = open();
    expect(await rsa.decrypt(new Uint8Array(512).fill(255))).toBeUndefined();
    expect(await rsa.decrypt(blockFor(Uint8Array.of(7)))).toHaveLength(512);
    rsa.close();
  });

  test('leaves the event loop free', async () => {
    const rsa = open();
    await rsa.decrypt(blockFor(Uint8Array.of(7)));
    let turns = 0;
    const turn = () => {
      turns++;
      timer = setImmediate(turn);
    };
    let timer = setImmediate(turn);
    const block = blockFor(Uint8Array.of(7));
    for (let i = 0; i < 10; i++) await rsa.decrypt(block);
    clearImmediate(timer);
    // On the loop it would be one or two for each operation; off it, thousands.
    expect(turns).toBeGreaterThan(500);
    rsa.close();
  });

  test('opens and closes again and again', async () => {
    for (let i = 0; i < 20; i++) {
      const rsa = open();
      expect(await rsa.decrypt(blockFor(Uint8Array.of(i)))).toHaveLength(512);
      rsa.close();
    }
  });
});

describe('a private key', () => {
  test('works without libcrypto, and says why it is slower', async () => {
    const told: AgentError[] = [];
    const key = openPrivateKey(carol, {
      clock: systemClock,
      onStandIn: (why) => told.push(why),
      openRaw: (rsaKey, clock, onStandIn) => {
        onStandIn(
          new AgentError(
            'native-unavailable',
            'libcrypto.so.3 cannot be loaded',
            'apt install libssl3',
          ),
        );
        return new WorkerRsa(rsaKey, clock);
      },
    });
    const message = systemRandom.bytes(32);
    const twice = await Promise.all([
      key.decrypt(blockFor(message)),
      key.decrypt(blockFor(message)),
    ]);
    expect(twice).toEqual([message, message]);
    expect(told.map(({ hint }) => hint)).toEqual(['apt install libssl3']);
    key.close();
  });

  test('uses libcrypto where it is there, and answers many at once in order', async () => {
    const key = openPrivateKey(carol, {
      clock: systemClock,
      onStandIn: () => expect.fail('libcrypto is installed here'),
    });
    const messages = Array.from({ length: 8 }, () => systemRandom.bytes(32));
    const plain = await Promise.all(messages.map((message) => key.decrypt(blockFor(message))));
    expect(plain).toEqual(messages);
    key.close();
  });
});

test.each(['libcrypto', 'worker'])(
  'ending the process in the middle of a decryption is no crash: %s',
  async (which) => {
    const program = `
    const { createPrivateKey } = await import('node:crypto');
    const { LibcryptoRsa } = await import('./agent/identity/libcrypto.ts');
    const { WorkerRsa } = await import('./agent/identity/rsa-worker.ts');
    const { systemClock } = await import('./agent/base/clock.ts');
    const key = createPrivateKey(${JSON.stringify(vector('keys').keys.carol.private_pkcs8_pem)});
    const rsa = ${which === 'libcrypto' ? 'new LibcryptoRsa(key)' : 'new WorkerRsa(key, systemClock)'};
    void rsa.decrypt(new Uint8Array(512).fill(1));
    setTimeout(() => process.exit(42), ${which === 'libcrypto' ? 1 : 40});`;
    const args = ['--import', 'tsx', '--input-type=module', '-e', program];
    for (let i = 0; i < 5; i++) {
      const exit = await promisify(execFile)(process.execPath, args).catch((error) => error.code);
      expect(exit).toBe(42);
    }
  },
);

test('libcrypto calls itself, not the OpenSSL that Node exports', async () => {
  const program = `
    const { openLibrary } = await import('./agent/base/native.ts');
    openLibrary('libcrypto').func('int EVP_PKEY_decrypt_init(void *ctx)');`;
  const folder = await mkdtemp(join(tmpdir(), 'doorward-ld-'));
  await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', program],
    // To files: Node makes its stderr non-blocking, and the loader loses lines there.
    { env: { ...process.env, LD_DEBUG: 'bindings', LD_DEBUG_OUTPUT: join(folder, 'ld') } },
  );
  const files = await readdir(folder);
  const logs = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
  await rm(folder, { recursive: true });
  const bindings = logs.join('').match(/binding file \S*libcrypto\.so\.3 \[0\] to \S+/g) ?? [];
  const count = (name: string) => bindings.filter((line) => line.endsWith(name)).length;
  expect(count('libcrypto.so.3')).toBeGreaterThan(1000);
  expect(count('node')).toBe(0);
});
