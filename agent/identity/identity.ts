import type { PlainValue } from '../dht/value.ts';
import type { DeviceCertificate } from './certificate.ts';
import type { PrivateKey } from './private-key.ts';

/** Who this station is. */
export interface Identity {
  /** 40 hex digits. */
  readonly accountId: string;
  readonly device: DeviceCertificate;
  readonly devicePrivateKey: PrivateKey;
  /** Signed by the account key once and kept, because that key is rarely needed (jami.md 2). */
  readonly announcement: PlainValue;
}
