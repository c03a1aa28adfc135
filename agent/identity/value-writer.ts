import { BoundedMap } from '../base/bounded.ts';
import { utf8 } from '../base/bytes.ts';
import { AgentError, DecodeError, errorText } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { DhtClient, PutResult } from '../dht/client.ts';
import type { InfoHash } from '../dht/infohash.ts';
import type { Value } from '../dht/value.ts';
import { type Content, sealValue, signValue } from './envelope.ts';
import type { KeyDirectory } from './key-directory.ts';
import { type KeyIds, shortKeyId } from './keys.ts';
import { MAX_CONTENT_BYTES, MAX_PUTS_IN_WORK, MAX_REMEMBERED_PUTS, MAX_SEQ } from './limits.ts';
import type { PrivateKey } from './private-key.ts';
import type { SignatureVerifier } from './signature.ts';
import { randomValueId } from './value-id.ts';

export interface SecurePutOptions {
  /** Keep it alive until `cancel` or the end of the process. */
  readonly permanent?: boolean;
  /** Default: random. */
  readonly valueId?: bigint;
  /** As soon as one storing node has it. */
  readonly onFirstAck?: () => void;
}

export interface SecurePut {
  readonly valueId: bigint;
  /** As `DhtClient.put`. Rejects with an AgentError when there was nothing to put: see what made it. */
  readonly result: Promise<PutResult>;
  /** Stop keeping a permanent put alive. Of one that has been replaced since, nothing is left to stop. */
  cancel(): void;
}

export interface ValueWriterOptions {
  readonly dht: DhtClient;
  readonly key: PrivateKey;
  readonly random: Random;
  readonly verifier: SignatureVerifier;
  readonly keys: Pick<KeyDirectory, 'find'>;
}

/** One place that we have put a signed value to. */
interface Slot {
  /** Of the last version; -1 before the first. */
  seq: number;
  /** The put whose version is, or will be, the last. */
  latest: object;
  /** Ends when the version before is on its way. */
  before: Promise<unknown>;
}

/** The sending half of secure-dht.ts: content → signed, or signed and encrypted → the DHT. */
export class ValueWriter {
  readonly #options: ValueWriterOptions;
  /** By key and value id. One that is forgotten costs a look at what is stored. */
  readonly #slots = new BoundedMap<string, Slot>(MAX_REMEMBERED_PUTS);
  readonly #counters = { signed: 0, encrypted: 0, refusedByLimit: 0 };
  #inWork = 0;

  constructor(options: ValueWriterOptions) {
    this.#options = options;
  }

  /** @see SecureDht.putSigned */
  putSigned(key: InfoHash, content: Content, options: SecurePutOptions): SecurePut {
    checkSize(content);
    const { dht, random } = this.#options;
    const id = options.valueId ?? randomValueId(random);
    const name = `${key.hex} ${id}`;
    const put = {};
    const known = this.#slots.get(name);
    const slot = known ?? { seq: -1, latest: put, before: Promise.resolve() };
    const { before } = slot;
    slot.latest = put;
    // Nobody has put to an id that was drawn just now.
    const isNew = options.valueId === undefined;
    if (!isNew || options.permanent) this.#slots.set(name, slot);
    const make = async () => {
      await before;
      return this.#sign(key, content, id, slot, isNew);
    };
    const { result, isSent, cancel } = this.#put(key, make, options);
    slot.before = isSent;
    return {
      valueId: id,
      result,
      cancel: () => {
        cancel();
        if (options.permanent && slot.latest === put) dht.cancelPut(key, id);
      },
    };
  }

  /** opendht.md 13.5: above what we are announcing, above what is stored by us, else 0. */
  async #sign(
    key: InfoHash,
    content: Content,
    id: bigint,
    slot: Slot,
    isNew: boolean,
  ): Promise<Value> {
    const stored = isNew ? -1 : await this.#storedSeq(key, id);
    const seq = Math.max(slot.seq, stored) + 1;
    if (seq > MAX_SEQ)
      throw new AgentError(
        'sequence-exhausted',
        `value ${id} has been edited ${MAX_SEQ} times: there is no higher sequence number`,
        'put it under another value id',
      );
    const value = await signValue(content, this.#options.key, { id, seq });
    slot.seq = seq;
    this.#counters.signed++;
    return value;
  }

  /** The highest sequence number among the values with our signature there; -1 without any. */
  #storedSeq(key: InfoHash, id: bigint): Promise<number> {
    const own = shortKeyId(this.#options.key.publicKeyDer);
    const query = { where: [{ field: 'id', value: id } as const], select: [] };
    let highest = -1;
    return new Promise((resolve) => {
      const onValue = (value: Value) => {
        if (value.kind !== 'plain' || value.id !== id || value.signed === undefined) return;
        const { owner, seq } = value.signed;
        if (seq <= highest || !shortKeyId(owner).equals(own)) return;
        if (this.#options.verifier.verify(value)) highest = seq;
      };
      this.#options.dht.get(key, query, onValue, () => resolve(highest));
    });
  }

  /** @see SecureDht.putEncrypted */
  putEncrypted(
    key: InfoHash,
    content: Content,
    to: KeyIds | Uint8Array,
    options: SecurePutOptions,
  ): SecurePut {
    checkSize(content);
    const { dht, random } = this.#options;
    const id = options.valueId ?? randomValueId(random);
    const { result, cancel } = this.#put(key, () => this.#seal(content, to, id), options);
    return {
      valueId: id,
      result,
      cancel: () => {
        cancel();
        if (options.permanent) dht.cancelPut(key, id);
      },
    };
  }

  async #seal(content: Content, to: KeyIds | Uint8Array, id: bigint): Promise<Value> {
    const { keys, key, random } = this.#options;
    const publicKey = to instanceof Uint8Array ? to : await keys.find(to);
    try {
      const value = await sealValue(content, key, publicKey, { id, random });
      this.#counters.encrypted++;
      return value;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw new AgentError(
        'unusable-key',
        `nothing can be encrypted to the key ${shortKeyId(publicKey).hex}: ${errorText(error)}`,
        'values are encrypted to RSA keys only',
      );
    }
  }

  /** @returns `isSent` ends, without error, when the value is on its way or will never be */
  #put(
    key: InfoHash,
    make: () => Promise<Value>,
    { permanent = false, onFirstAck }: SecurePutOptions,
  ) {
    let isCancelled = false;
    let sent = () => {};
    const isSent = new Promise<void>((resolve) => {
      sent = resolve;
    });
    const run = async (): Promise<PutResult> => {
      try {
        const value = await this.#make(make);
        if (isCancelled) return { acknowledged: 0 };
        const result = this.#options.dht.put(key, value, { permanent }, onFirstAck);
        sent();
        return await result;
      } finally {
        sent();
      }
    };
    const cancel = () => {
      isCancelled = true;
    };
    return { result: run(), isSent, cancel };
  }

  async #make(make: () => Promise<Value>): Promise<Value> {
    if (this.#inWork >= MAX_PUTS_IN_WORK) {
      this.#counters.refusedByLimit++;
      throw new AgentError(
        'too-many-puts',
        `${MAX_PUTS_IN_WORK} values are being signed or encrypted already`,
        'put the next one when one of them has left',
      );
    }
    this.#inWork++;
    try {
      return await make();
    } finally {
      this.#inWork--;
    }
  }

  stats() {
    return {
      ...this.#counters,
      inWork: this.#inWork,
      remembered: this.#slots.size,
      evicted: this.#slots.evicted,
    };
  }
}

function checkSize({ data, userType = '' }: Content): void {
  const bytes = data.length + utf8(userType).length;
  if (bytes > MAX_CONTENT_BYTES)
    throw new AgentError(
      'content-too-large',
      `${bytes} bytes do not fit into one value of the DHT`,
      `send at most ${MAX_CONTENT_BYTES}`,
    );
}
