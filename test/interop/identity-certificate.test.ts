import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toHex, utf8 } from '../../agent/base/bytes.ts';
import { systemClock } from '../../agent/base/clock.ts';
import { systemRandom } from '../../agent/base/random.ts';
import { encryptBlob } from '../../agent/identity/blob-encryption.ts';
import { certificateKey, parseChain } from '../../agent/identity/certificate.ts';
import type { Identity } from '../../agent/identity/identity.ts';
import { openIdentity } from '../../agent/identity/keystore.ts';

const run = promisify(execFile);
const PEM = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----\n/g;
const reference = join(import.meta.dirname, '../peers/opendht_crypto.py');

/** An identity as a first start makes it, RSA-4096, read by programs that are not ours. */
describe('a fresh identity', () => {
  let state: string;
  let identity: Identity;
  const steps: number[] = [];
  const file = (name: string) => join(state, name);
  const openssl = async (...args: string[]) => (await run('openssl', args)).stdout;

  beforeAll(async () => {
    state = await mkdtemp(join(tmpdir(), 'doorward-identity-'));
    identity = await openIdentity({
      state,
      clock: systemClock,
      random: systemRandom,
      onProgress: ({ made }) => steps.push(made),
    });
    const pems = identity.device.chainPem.match(PEM) ?? [];
    for (const [i, name] of ['device', 'account', 'ca'].entries())
      await writeFile(file(name), pems[i] ?? '');
  });

  afterAll(async () => {
    identity.devicePrivateKey.close();
    await rm(state, { recursive: true });
  });

  test('tells how far it is', () => {
    expect(steps).toEqual([0, 1, 2, 3]);
  });

  test('openssl verifies device, account and CA', async () => {
    const chain = ['-CAfile', file('ca'), '-untrusted', file('account'), file('device')];
    expect(await openssl('verify', ...chain)).toBe(`${file('device')}: OK\n`);
  });

  test('openssl finds the CA sound under its strictest rules', async () => {
    const strict = await openssl('verify', '-x509_strict', '-CAfile', file('ca'), file('ca'));
    expect(strict).toBe(`${file('ca')}: OK\n`);
  });

  test('the one thing that strict rules miss below the CA is what Jami does not write either', async () => {
    const chain = ['-CAfile', file('ca'), '-untrusted', file('account'), file('device')];
    const refusal = await openssl('verify', '-x509_strict', ...chain).catch((e) => e.stderr);
    const errors = new Set(
      refusal.match(/error \d+ .*/g).map((line: string) => line.split(': ')[1]),
    );
    expect([...errors]).toEqual(['Missing Authority Key Identifier']);
  });

  test.each([
    ['device', 'CN=Jami device', 'CN=Jami', 'Digital Signature, Data Encipherment'],
    ['account', 'CN=Jami', 'CN=Jami CA', 'Certificate Sign, CRL Sign'],
    ['ca', 'CN=Jami CA', 'CN=Jami CA', 'Certificate Sign, CRL Sign'],
  ])(
    'openssl prints the fields of the %s as Jami lays them out',
    async (name, subject, issuer, usage) => {
      const text = await openssl(
        'x509',
        '-in',
        file(name),
        '-noout',
        '-text',
        '-nameopt',
        'RFC2253',
      );
      const shortId = await spkiSha1(file(name));
      const issuerId = await spkiSha1(file(name === 'device' ? 'account' : 'ca'));
      const line = (label: string) => new RegExp(`${label}:? *(.*)`).exec(text)?.[1]?.trim();
      expect(line('Version')).toBe('3 (0x2)');
      expect(line('Subject:')).toBe(`UID=${shortId},${subject}`);
      expect(line('Issuer:')).toBe(`UID=${issuerId},${issuer}`);
      expect(line('Signature Algorithm')).toBe('sha384WithRSAEncryption');
      expect(line('Public-Key')).toBe('(4096 bit)');
      expect(text).toMatch(/Key Usage: critical\n\s+/);
      expect(text).toContain(usage);
      expect(text.includes('Basic Constraints: critical\n                CA:TRUE')).toBe(
        name !== 'device',
      );
      const identifier = /Subject Key Identifier: \n\s+([0-9A-F:]+)/.exec(text)?.[1];
      expect(identifier?.replaceAll(':', '').toLowerCase()).toBe(shortId);
      expect(text).not.toContain('Authority Key Identifier');
    },
  );

  test('names are printable strings, as GnuTLS writes them', async () => {
    const asn1 = await openssl('asn1parse', '-in', file('device'));
    expect(asn1.match(/PRINTABLESTRING/g)?.length).toBe(4);
    expect(asn1).not.toMatch(/UTF8STRING/);
  });

  test('the reference verifies the chain as Jami does and takes the account from it', async () => {
    const verdict = await referenceVerdict(join(state, 'identity/chain.pem'));
    expect(verdict).toEqual({
      id: identity.device.shortId.hex,
      name: 'Jami device',
      issuer: identity.accountId,
      trusted: true,
    });
  });

  test('the reference refuses a chain with a foreign top', async () => {
    const other = join(import.meta.dirname, '../vectors/identity/stranger/chain.pem');
    const foreign = (await readFile(other, 'utf8')).match(PEM);
    const own = await readFile(join(state, 'identity/chain.pem'), 'utf8');
    await writeFile(file('mixed'), own + (foreign?.at(-1) ?? ''));
    expect((await referenceVerdict(file('mixed')).catch(() => undefined))?.trusted).not.toBe(true);
  });

  async function spkiSha1(certificate: string): Promise<string> {
    const key = await openssl('x509', '-in', certificate, '-noout', '-pubkey');
    await writeFile(file('key'), key);
    await openssl('pkey', '-pubin', '-in', file('key'), '-outform', 'der', '-out', file('key.der'));
    return (await openssl('dgst', '-sha1', '-r', file('key.der'))).slice(0, 40);
  }
});

async function referenceVerdict(chain: string) {
  const { stdout } = await run('/usr/bin/python3', [reference, 'verify', chain]);
  return JSON.parse(stdout) as { id: string; name: string; issuer: string; trusted: boolean };
}

test('the reference decrypts what we encrypt, as one block and with AES', async () => {
  const child = spawn('/usr/bin/python3', [reference, 'decrypt'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async () => String((await lines.next()).value);
  try {
    const { certificate } = JSON.parse(await next()) as { certificate: string };
    const [leaf] = parseChain(utf8(certificate));
    const key = leaf === undefined ? new Uint8Array() : certificateKey(leaf);
    for (const length of [0, 1, 500, 501, 502, 3000, 60_000]) {
      const plain = systemRandom.bytes(length);
      child.stdin.write(`${toHex(encryptBlob(plain, key, systemRandom))}\n`);
      expect(await next()).toBe(toHex(plain));
    }
  } finally {
    child.stdin.end();
    await once(child, 'close');
  }
});
