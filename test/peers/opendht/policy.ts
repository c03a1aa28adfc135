import { constants, createHash, createPublicKey, verify, X509Certificate } from 'node:crypto';
import { InfoHash } from '../../../agent/dht/infohash.ts';
import { packBody } from '../../../agent/dht/value-codec.ts';
import type { ValuePolicy } from '../../../agent/dht/value-types.ts';

/** The checks of stored values straight from node:crypto, so that the DHT is tested without the identity part. */
export const cryptoPolicy: ValuePolicy = {
  verifySignature(value) {
    if (value.signed === undefined) return false;
    try {
      const key = createPublicKey({
        key: Buffer.from(value.signed.owner),
        format: 'der',
        type: 'spki',
      });
      if (key.asymmetricKeyType !== 'rsa') return false;
      const padding = constants.RSA_PKCS1_PADDING;
      return verify('sha512', packBody(value), { key, padding }, value.signed.signature);
    } catch {
      return false; // not a key
    }
  },
  certificateKeyIds(data) {
    const pem = Buffer.from(data);
    const start = pem.indexOf('-----BEGIN');
    if (start < 0) return undefined;
    try {
      const { publicKey } = new X509Certificate(pem.subarray(start));
      const der = publicKey.export({ format: 'der', type: 'spki' });
      return { short: InfoHash.of(der), long: createHash('sha256').update(der).digest() };
    } catch {
      return undefined; // not a certificate
    }
  },
};
