/**
 * Makes the identities of the tests: `node --import tsx test/vectors/identity/make.ts`. RSA-2048, so that unit tests stay
 * fast; throw-away keys. Valid from 2026 on: tests bring their own wall clock.
 */
import { generateKeyPairSync } from 'node:crypto';
import { rmSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../../agent/base/clock.ts';
import { systemRandom } from '../../../agent/base/random.ts';
import { openIdentity } from '../../../agent/identity/keystore.ts';

for (const name of ['front', 'phone', 'stranger']) {
  const state = join(import.meta.dirname, `${name}.state`);
  const identity = await openIdentity({
    state,
    clock: { ...systemClock, unixMs: () => Date.UTC(2026, 0, 2) },
    random: systemRandom,
    generateKeys: async (count) =>
      Array.from({ length: count }, () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
  });
  console.log(name, identity.accountId);
  await rm(join(import.meta.dirname, name), { recursive: true, force: true });
  await rename(join(state, 'identity'), join(import.meta.dirname, name));
  rmSync(state, { recursive: true });
}
