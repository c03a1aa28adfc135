import { formatAddress } from './base/address.ts';
import type { Clock } from './base/clock.ts';
import { AgentError } from './base/errors.ts';
import type { Random } from './base/random.ts';
import { TokenBucket } from './base/token-bucket.ts';
import type { DhtGetResult, DhtPutResult, DhtValue } from './control/dht-protocol.ts';
import { CONTROL_LIMITS } from './control/limits.ts';
import type { ControlParams } from './control/protocol.ts';
import type { ControlPeer, DhtHandlers } from './control/server.ts';
import type { DhtClient, PutResult } from './dht/client.ts';
import { InfoHash } from './dht/infohash.ts';
import { PROTOCOL } from './dht/limits.ts';
import { ownerId } from './dht/query.ts';
import { parseWhere } from './dht/query-text.ts';
import { sizesAndCounters } from './dht/sizes.ts';
import type { DhtNode } from './dht/udp.ts';
import type { PlainValue, Value } from './dht/value.ts';
import { countedSize } from './dht/value-codec.ts';
import type { DhtIdentity } from './dht-identity.ts';
import { DhtStream, type WaitingBytes } from './dht-stream.ts';
import { flatten } from './flatten.ts';
import type { Content } from './identity/envelope.ts';
import { randomValueId } from './identity/value-id.ts';

/** What the commands of people on the DHT act on. */
export interface DhtParts {
  readonly dht: DhtClient & Pick<DhtNode, 'id' | 'nodes' | 'ping' | 'stats'>;
  readonly clock: Clock;
  readonly random: Random;
  /** Is the signature by the owner and over the body? */
  readonly verify: (value: PlainValue) => boolean;
  /** undefined: this node has none. */
  readonly identity: DhtIdentity | undefined;
}

type ContentParams = ControlParams<'dht.put'>;

/** Encrypted values that are tried to open: so many at once, then one in so many ms. The key is needed for calls, too. */
const OPENING_BURST = 64;
const OPENING_MS = 250;

/** `dht.…` of the control socket. Until the node is there everything is answered "starting". */
export class DhtDesk {
  #parts: DhtParts | undefined;
  readonly #streams = new Map<ControlPeer, Map<number, DhtStream>>();
  readonly #waiting: WaitingBytes = { bytes: 0, dropped: 0 };
  readonly #opening = new TokenBucket(OPENING_BURST, OPENING_MS);
  /** How to end each permanent put, by key and id. */
  readonly #permanent = new Map<string, () => void>();

  ready(parts: DhtParts): void {
    this.#parts = parts;
  }

  stats(): Readonly<Record<string, number>> {
    const streams = [...this.#streams.values()].reduce((sum, { size }) => sum + size, 0);
    return {
      streams,
      waitingBytes: this.#waiting.bytes,
      dropped: this.#waiting.dropped,
      permanentPuts: this.#permanent.size,
    };
  }

  readonly handlers: DhtHandlers = {
    'dht.get': async ({ stream, key, where = '' }, client) => {
      const { dht } = this.#ready;
      const query = parseWhere(where);
      return await new Promise<DhtGetResult>((resolve) => {
        const get = this.#open(client, stream, resolve);
        const onValue = (value: Value) => get.push(value, false);
        get.follow(dht.get(InfoHash.fromHex(key), query, onValue, () => get.end()));
      });
    },
    'dht.listen': async ({ stream, key, where = '' }, client) => {
      const { dht } = this.#ready;
      const query = parseWhere(where);
      const listen = this.#open(client, stream, () => {});
      const onValue = (value: Value, expired: boolean) => listen.push(value, expired);
      listen.follow(dht.listen(InfoHash.fromHex(key), query, onValue));
      return {};
    },
    'dht.stop': async ({ stream }, client) => {
      this.#streams.get(client)?.get(stream)?.close();
      return {};
    },
    'dht.put': async (params) => {
      const { dht, random } = this.#ready;
      const key = InfoHash.fromHex(params.key);
      const id = params.id === undefined ? randomValueId(random) : BigInt(params.id);
      const { permanent } = params;
      const value: PlainValue = { kind: 'plain', id, ...contentOf(params) };
      if (countedSize(value) > PROTOCOL.maxValueBytes) throw tooLarge(countedSize(value));
      if (permanent) this.#keep(key, id, () => dht.cancelPut(key, id));
      return putResult(id, await dht.put(key, value, { permanent }));
    },
    'dht.put_signed': async (params) => {
      const key = InfoHash.fromHex(params.key);
      const put = this.#identity.putSigned(key, contentOf(params), {
        permanent: params.permanent,
        ...(params.id !== undefined && { valueId: BigInt(params.id) }),
      });
      if (params.permanent) this.#keep(key, put.valueId, () => put.cancel());
      return putResult(put.valueId, await put.result);
    },
    'dht.put_encrypted': async (params) => {
      const identity = this.#identity;
      const key = InfoHash.fromHex(params.key);
      const content = contentOf(params);
      const recipients = await identity.recipients(params.to);
      if (params.id !== undefined && recipients.length > 1) {
        throw new AgentError(
          'one-id',
          `"${params.to}" has ${recipients.length} devices, and each needs a value with an id of its own`,
          'leave --id out, or name one device',
        );
      }
      const puts = recipients.map(async (to) => {
        const put = identity.putSealed(key, content, to, {
          permanent: params.permanent,
          ...(params.id !== undefined && { valueId: BigInt(params.id) }),
        });
        if (params.permanent) this.#keep(key, put.valueId, () => put.cancel());
        return { device: to.deviceId, ...putResult(put.valueId, await put.result) };
      });
      return { puts: await Promise.all(puts) };
    },
    'dht.cancel_put': async ({ key, id }) => {
      const name = putName(InfoHash.fromHex(key), BigInt(id));
      const cancel = this.#permanent.get(name);
      if (cancel === undefined) {
        throw new AgentError(
          'no-such-put',
          `no permanent value with the id ${id} was put under ${key} here`,
          '"doorward dht put --permanent" prints the id of what it puts',
        );
      }
      this.#permanent.delete(name);
      cancel();
      return {};
    },
    'dht.ping': async ({ host, port }) => {
      const answer = await this.#ready.dht.ping({ host, port });
      if (answer === undefined) {
        throw new AgentError(
          'no-answer',
          `no node of this network answers at ${host}:${port}`,
          'a node answers only to its own network id, and never to itself',
        );
      }
      const { id, address, roundTripMs } = answer;
      const rtt_ms = Math.round(roundTripMs * 100) / 100;
      return { id: id.hex, address: formatAddress(address), rtt_ms };
    },
    'dht.nodes': async () => {
      const { dht } = this.#ready;
      const nodes = dht.nodes().map(({ id, address, state, heardMsAgo, bucket }) => ({
        id: id.hex,
        address: formatAddress(address),
        state,
        ...(heardMsAgo !== undefined && { heard_s: Math.round(heardMsAgo / 1000) }),
        bucket,
      }));
      return { id: dht.id.hex, nodes };
    },
    'dht.stats': async () => {
      const { dht } = this.#ready;
      return { id: dht.id.hex, ...sizesAndCounters(flatten(dht.stats())) };
    },
  };

  get #ready(): DhtParts {
    if (this.#parts === undefined) {
      throw new AgentError('starting', 'the node is starting', 'try again in a moment');
    }
    return this.#parts;
  }

  get #identity(): DhtIdentity {
    const { identity } = this.#ready;
    if (identity === undefined) {
      throw new AgentError(
        'no-identity',
        'this node has no identity to sign with: it runs with --dht-only',
        'use a station, or one for this command: --state FOLDER --bootstrap HOST:PORT',
      );
    }
    return identity;
  }

  /** @throws {AgentError} `too-many-streams`, `stream-in-use` */
  #open(client: ControlPeer, stream: number, onOver: (result: DhtGetResult) => void): DhtStream {
    const streams = this.#streams.get(client) ?? this.#welcome(client);
    if (streams.has(stream)) {
      throw new AgentError('stream-in-use', `stream ${stream} is under way`);
    }
    if (streams.size >= CONTROL_LIMITS.dhtStreams) {
      throw new AgentError('too-many-streams', 'too many gets and listens under way');
    }
    const opened = new DhtStream({
      stream,
      client,
      waiting: this.#waiting,
      describe: (value) => this.#describe(value),
      onOver: (result) => {
        streams.delete(stream);
        onOver(result);
      },
    });
    streams.set(stream, opened);
    return opened;
  }

  #welcome(client: ControlPeer): Map<number, DhtStream> {
    const streams = new Map<number, DhtStream>();
    this.#streams.set(client, streams);
    client.onDrain(() => {
      for (const stream of streams.values()) stream.resume();
    });
    client.onClose(() => {
      this.#streams.delete(client);
      for (const stream of streams.values()) stream.close();
    });
    return streams;
  }

  /** @throws {AgentError} `too-many-puts` */
  #keep(key: InfoHash, id: bigint, cancel: () => void): void {
    const name = putName(key, id);
    if (!this.#permanent.has(name) && this.#permanent.size >= CONTROL_LIMITS.dhtPermanentPuts) {
      cancel();
      throw new AgentError(
        'too-many-puts',
        `${this.#permanent.size} permanent values are announced for commands already`,
        'end one with "doorward dht cancel KEY ID"',
      );
    }
    this.#permanent.set(name, cancel);
  }

  async #describe(value: Value): Promise<DhtValue> {
    if (value.kind === 'plain') return this.#describePlain(value);
    const { identity, clock } = this.#ready;
    const id = value.id.toString();
    if (identity === undefined || !this.#opening.take(clock.now()))
      return { id, encrypted: 'not-tried' };
    const opened = await identity.open(value);
    if (typeof opened === 'string') return { id, encrypted: opened };
    return { ...this.#describePlain(opened), encrypted: 'opened' };
  }

  #describePlain(value: PlainValue): DhtValue {
    const { id, type, data, userType, signed } = value;
    const by = ownerId(value);
    return {
      id: id.toString(),
      type,
      data: Buffer.from(data.buffer, data.byteOffset, data.length).toString('base64'),
      ...(userType !== undefined && { user_type: userType }),
      ...(signed !== undefined &&
        by !== undefined && {
          signed: {
            by: by.hex,
            seq: signed.seq,
            ...(signed.to !== undefined && { to: signed.to.hex }),
            signature: this.#ready.verify(value) ? ('good' as const) : ('bad' as const),
          },
        }),
    };
  }
}

function contentOf({ data, type, user_type }: ContentParams): Content {
  const bytes = new Uint8Array(Buffer.from(data, 'base64'));
  return { type, data: bytes, ...(user_type !== undefined && { userType: user_type }) };
}

function putResult(id: bigint, { acknowledged }: PutResult): DhtPutResult {
  return { id: id.toString(), acknowledged };
}

const putName = (key: InfoHash, id: bigint) => `${key.hex} ${id}`;

/** @param size with the user type */
function tooLarge(size: number): AgentError {
  return new AgentError(
    'content-too-large',
    `${size} bytes do not fit into one value of the DHT`,
    `put at most ${PROTOCOL.maxValueBytes}, the user type included`,
  );
}
