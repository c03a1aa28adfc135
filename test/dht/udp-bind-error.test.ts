import { expect, test } from 'vitest';
import { bindError } from '../../agent/dht/bind-error.ts';

const V4 = { ip: Uint8Array.of(127, 0, 0, 1), port: 4222 };
const V6 = { ip: Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? 1 : 0)), port: 53 };

test.each([
  ['EADDRINUSE', V4, 'port-in-use', 'UDP 127.0.0.1:4222 is in use by another program'],
  [
    'EADDRNOTAVAIL',
    V4,
    'bind-failed',
    'UDP 127.0.0.1:4222 cannot be opened: this machine does not have that address',
  ],
  ['EACCES', V6, 'bind-denied', 'UDP [0:0:0:0:0:0:0:1]:53 cannot be opened: not permitted'],
  ['EMFILE', V4, 'bind-failed', 'UDP 127.0.0.1:4222 cannot be opened: EMFILE'],
])('%s becomes one sentence that names the address', (code, address, expected, message) => {
  const cause = new Error(code);
  expect(bindError(code, address, cause)).toMatchObject({ code: expected, message, cause });
});
