import { createPrivateKey } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { toHex, utf8 } from '../../agent/base/bytes.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Value } from '../../agent/dht/value.ts';
import { packValue, unpackValue } from '../../agent/dht/value-codec.ts';
import { certificateValue } from '../../agent/identity/certificate-value.ts';
import { issueChain } from '../../agent/identity/issue.ts';
import { longKeyId } from '../../agent/identity/keys.ts';
import { SignatureVerifier } from '../../agent/identity/signature.ts';
import { createValuePolicy } from '../../agent/identity/value-policy.ts';
import { Lab } from '../dht/lab.ts';
import {
  FIXTURE_UNIX_MS,
  fixtureFile,
  fixtureIdentity,
  fixtureKey,
  hex,
  seededRandom,
  vector,
  vectorKey,
} from './fixtures.ts';

/** A storing node with the checks that a station has, asked by datagrams. */
class StoringNode {
  readonly #lab = new Lab({ policy: createValuePolicy(new SignatureVerifier()) });

  put(key: InfoHash, packed: Uint8Array): void {
    const query = { type: 'put', key, values: [packed], token: this.#lab.token() } as const;
    // It answers as if it had stored the value, whatever it did (opendht.md 1).
    expect(this.#lab.ask(query)).toMatchObject([{ type: 'reply' }]);
  }

  stored(key: InfoHash): Value[] {
    this.#lab.events.length = 0;
    this.#lab.turn((dht, now) => dht.get(key, undefined, now));
    return this.#lab.events.flatMap((event) => (event.type === 'get.value' ? [event.value] : []));
  }
}

test('stores and edits signed values step by step as the reference did', () => {
  const { key, steps } = vector('values_signed').edit_rules;
  const node = new StoringNode();
  const at = InfoHash.fromHex(key);
  expect(steps.length).toBeGreaterThan(10);
  for (const { step, value, stored_data_afterwards } of steps) {
    node.put(at, hex(value));
    const { id } = unpackValue(hex(value));
    const now = node.stored(at).find((other) => other.id === id);
    const data = now?.kind === 'plain' ? Buffer.from(now.data).toString('latin1') : null;
    expect([step, data]).toEqual([step, stored_data_afterwards]);
    // What is given out is what came in, byte for byte.
    if (now !== undefined && /replaces|first|taken/.test(step))
      expect(toHex(packValue(now))).toBe(value);
  }
});

test('refuses a value signed by an elliptic key, as the reference does', () => {
  const { values } = vector('value_types');
  const { hex: value } = values.find(({ name }: { name: string }) => /^EC key/.test(name));
  const node = new StoringNode();
  const key = InfoHash.of('elliptic');
  // It was recorded before it had an id.
  node.put(key, packValue({ ...unpackValue(hex(value)), id: 5n }));
  expect(node.stored(key)).toEqual([]);
});

describe('certificates', () => {
  const front = fixtureIdentity('front').device;
  const [k1, k2] = [front.shortId, InfoHash.of(longKeyId(front.publicKeyDer))];

  test('are stored at both ids of their key and nowhere else', () => {
    const node = new StoringNode();
    for (const key of [k1, k2, InfoHash.fromHex(front.accountId)])
      node.put(key, packValue(certificateValue(front)));
    expect(node.stored(k1)).toEqual([certificateValue(front)]);
    expect(node.stored(k2)).toEqual([certificateValue(front)]);
    expect(node.stored(InfoHash.fromHex(front.accountId))).toEqual([]);
  });

  test('are stored whatever their issuer, dates and kind of key', () => {
    const { files, chain } = vector('certificates').reference_identity;
    for (const [i, file] of ['node certificate chain', 'authority certificate'].entries()) {
      const node = new StoringNode();
      const value = certificateValue({ ...front, chainPem: files[file] });
      const key = InfoHash.fromHex(chain[i].key_id);
      node.put(key, packValue(value));
      expect(node.stored(key)).toEqual([value]);
    }
  });

  test('are replaced by a new one of the same key, not by one of another', async () => {
    const node = new StoringNode();
    node.put(k1, packValue(certificateValue(front)));
    node.put(k1, packValue(certificateValue(fixtureIdentity('phone').device)));
    expect(node.stored(k1)).toEqual([certificateValue(front)]);
    const carol = createPrivateKey(vector('keys').keys.carol.private_pkcs8_pem);
    const chainPem = await issueChain(
      {
        ca: carol,
        account: fixtureKey('front', 'account.key'),
        device: fixtureKey('front', 'device.key'),
      },
      FIXTURE_UNIX_MS,
      seededRandom('renewed'),
    );
    const renewed = certificateValue({ ...front, chainPem });
    node.put(k1, packValue(renewed));
    expect(node.stored(k1)).toEqual([renewed]);
    expect(renewed.data).not.toEqual(certificateValue(front).data);
  });

  test('a value that calls itself one and is none is refused', () => {
    const node = new StoringNode();
    for (const data of [utf8('junk'), fixtureFile('front', 'device.key'), new Uint8Array(0)])
      node.put(k1, packValue({ kind: 'plain', id: 1n, type: 8, data }));
    node.put(
      k1,
      packValue({ kind: 'plain', id: 1n, type: 8, data: vectorKey('bob').publicKeyDer }),
    );
    expect(node.stored(k1)).toEqual([]);
  });
});
