import { execFileSync } from 'node:child_process';
import {
  constants,
  createPrivateKey,
  createPublicKey,
  privateDecrypt,
  publicEncrypt,
  sign,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { systemClock } from '../../agent/base/clock.ts';
import { koffi } from '../../agent/base/native.ts';
import { LibcryptoRsa } from '../../agent/identity/libcrypto.ts';
import type { RawRsa } from '../../agent/identity/raw-rsa.ts';
import { WorkerRsa } from '../../agent/identity/rsa-worker.ts';
import { vector } from '../identity/fixtures.ts';

/**
 * RSA-4096 private operations: libcrypto through koffi, a worker thread, and Node's blocking call, each in a process of its own, in
 * turn. `first` is opening and one operation; `stall` the 95th percentile of how long one turn of the event loop took while 100 more
 * ran; memory is what the process grew by.
 */
const BACKENDS = ['libcrypto', 'worker', 'blocking'] as const;
const ROUNDS = 3;
const OPERATIONS = 100;

const key = createPrivateKey(vector('keys').keys.carol.private_pkcs8_pem);
const block = new Uint8Array(
  publicEncrypt(
    { key: createPublicKey(key), padding: constants.RSA_PKCS1_PADDING },
    new Uint8Array(32),
  ),
);

function open(backend: string): RawRsa {
  if (backend === 'libcrypto') return new LibcryptoRsa(key);
  if (backend === 'worker') return new WorkerRsa(key, systemClock);
  return {
    decrypt: async (bytes) =>
      new Uint8Array(privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, bytes)),
    close: () => {},
  };
}

/** kB, from the kernel. */
function memory(): { resident: number; dirty: number } {
  const text = readFileSync('/proc/self/smaps_rollup', 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1]);
  return { resident: field('Rss'), dirty: field('Private_Dirty') };
}

async function measure(backend: string): Promise<void> {
  // Both exist in a station anyhow: koffi for sound and sockets, and Node's own RSA for signatures.
  koffi();
  const signOnce = promisify(sign);
  await signOnce('sha512', block, key);
  const before = memory();

  const began = performance.now();
  const rsa = open(backend);
  await rsa.decrypt(block);
  const firstMs = performance.now() - began;

  const turns: number[] = [];
  let last = performance.now();
  let isRunning = true;
  const turn = () => {
    const now = performance.now();
    turns.push(now - last);
    last = now;
    if (isRunning) setTimeout(turn, 1);
  };
  turn();
  const start = performance.now();
  for (let i = 0; i < OPERATIONS; i++) {
    await rsa.decrypt(block);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const eachMs = (performance.now() - start) / OPERATIONS;
  isRunning = false;
  turns.sort((a, b) => a - b);
  // A turn begins 1 ms after the one before it.
  const stallMs = Math.max(0, (turns[Math.floor(turns.length * 0.95)] ?? 0) - 1);

  const running = memory();
  rsa.close();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const after = memory();
  const mb = (kB: number) => (kB / 1024).toFixed(1).padStart(6);
  console.log(
    backend.padEnd(10),
    firstMs.toFixed(1).padStart(8),
    eachMs.toFixed(2).padStart(8),
    stallMs.toFixed(1).padStart(9),
    mb(running.resident - before.resident).padStart(12),
    mb(running.dirty - before.dirty).padStart(9),
    mb(after.resident - before.resident).padStart(13),
  );
}

const [backend] = process.argv.slice(2);
if (backend !== undefined) await measure(backend);
else {
  console.log('decrypt    first ms  each ms  stall ms  resident MB  dirty MB  MB when closed');
  for (let round = 0; round < ROUNDS; round++)
    for (const name of BACKENDS)
      execFileSync(process.execPath, ['--import', 'tsx', import.meta.filename, name], {
        stdio: 'inherit',
      });
  const start = performance.now();
  for (let i = 0; i < OPERATIONS; i++) await promisify(sign)('sha512', block, key);
  console.log(
    `sign, in the thread pool: ${((performance.now() - start) / OPERATIONS).toFixed(2)} ms`,
  );
}
