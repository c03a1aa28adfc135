import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../agent/base/bytes.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Message, QueryMessage, WireValue } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { packValue } from '../../agent/dht/value-codec.ts';
import { plainValue } from '../sim/world.ts';
import { hash, Lab, PROBE, PROBE_ID } from './lab.ts';
import { loadCases, type RecordedCase, tryDecode } from './vectors.ts';

/**
 * The recorded requests once more, in their order, to our engine: it must answer what the reference answered, and be silent
 * where it was silent. What differs from run to run (ids, tokens, node lists, error texts) is not compared.
 */

/** Token of their own, wrong on purpose. */
const KEEPS_TOKEN = new Set([
  'put-wrong-token',
  'put-short-token',
  'put-no-token',
  'listen-wrong-token',
  'refresh-wrong-token',
  'put-token-of-another-port',
  'put-token-of-another-address',
]);

/** The reply of the reference is no valid msgpack; ours is. */
const NOT_COMPARED = new Set(['get-select-unknown-field']);

/** The reference also tells its listeners that a value was refreshed which it does not have. We say nothing. */
const UNSAID = new Set(['[70001,null,["999999"],null]']);

const OTHER_PORT = { ...PROBE, port: 41021 };

function comparable(message: Message): unknown {
  switch (message.type) {
    case 'reply': {
      const { tid, valueId, seenIp, values, fields } = message;
      const hexes = values
        ?.map((value) => (typeof value === 'number' ? value : toHex(value)))
        .sort();
      return { tid, valueId, seenIp: seenIp && toHex(seenIp), values: hexes, fields };
    }
    case 'error':
      return { tid: message.tid, code: message.code };
    case 'part':
      return {
        tid: message.tid,
        index: message.pieces.map(({ index, offset }) => [index, offset]),
      };
    default:
      return { tid: message.tid, type: message.type };
  }
}

/** What a listener hears of by this message, without what differs from run to run; undefined when it is no push. */
function pushed(message: Message): string | undefined {
  const hexes = (values: readonly WireValue[] | undefined) =>
    values?.map((value) => (typeof value === 'number' ? value : toHex(value)));
  const ids = (list: readonly bigint[] | undefined) => list?.map(String);
  switch (message.type) {
    case 'update': {
      const { sid, values, refreshed, expired } = message;
      return JSON.stringify([sid, hexes(values), ids(refreshed), ids(expired)]);
    }
    // Of the old style, where the tid is the sid.
    case 'old-update':
      return JSON.stringify([message.tid, undefined, ids(message.refreshed), ids(message.expired)]);
    case 'reply':
      return JSON.stringify([message.tid, hexes(message.values), undefined, undefined]);
    default:
      return undefined;
  }
}

/** Everything that `lab` pushes from now on. */
function watchPushes(lab: Lab): ReadonlySet<string> {
  const pushes = new Set<string>();
  const take = lab.take.bind(lab);
  lab.take = () => {
    const sent = take();
    for (const { message } of sent) {
      const push = pushed(message);
      if (push !== undefined) pushes.add(push);
    }
    return sent;
  };
  return pushes;
}

/** The request with our token in place of the recorded one. */
function prepared(lab: Lab, name: string, packet: Uint8Array): Uint8Array {
  const message = tryDecode(packet);
  if (message === undefined || KEEPS_TOKEN.has(name)) return packet;
  if (!('token' in message) || message.token === undefined) return packet;
  return encodeMessage({ ...message, token: lab.token(PROBE) } as QueryMessage);
}

/** The key of the recording's small values, and of what an unrecorded put stored under it. */
function putUnrecorded(lab: Lab, recorded: RecordedCase, cases: readonly RecordedCase[]): void {
  if (recorded.name === 'push-v0-new-value' || recorded.name === 'push-v0-refreshed') {
    const first = cases.find(({ name }) => name === 'push-v0-new-value');
    const push = tryDecode(fromHex(first?.unsolicited?.[0]?.hex ?? ''));
    if (push?.type === 'reply') putAll(lab, KEY, push.values ?? []);
  }
  if (recorded.name === 'get-50-small-values') {
    const request = tryDecode(fromHex(recorded.request?.hex ?? ''));
    const parts = (recorded.replies ?? []).map(({ hex }) => tryDecode(fromHex(hex)));
    const values = parts.flatMap((part) =>
      part?.type === 'part' ? part.pieces.map(({ data }) => data) : [],
    );
    if (request?.type === 'get' && request.key !== undefined) {
      putAll(lab, request.key, values.slice(0, 25));
      putAll(lab, request.key, values.slice(25));
    }
  }
}

const KEY = InfoHash.fromHex('aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d');

function putAll(lab: Lab, key: InfoHash, values: readonly WireValue[]): void {
  const token = lab.token();
  expect(lab.ask({ type: 'put', key, values, token }).length).toBe(values.length);
}

interface Timed extends RecordedCase {
  readonly seconds_before_each_part?: readonly number[];
}

function replay(lab: Lab, recorded: Timed): Message[] {
  const { name, request, parts = [], sent = [], seconds_before_each_part: pausesS = [] } = recorded;
  const packets = [...(request === undefined ? [] : [request]), ...parts, ...sent].map((message) =>
    fromHex(typeof message === 'string' ? message : message.hex),
  );
  const ready = packets.map((packet) => prepared(lab, name, packet));
  const tids = new Set(recorded.replies?.map(({ hex }) => decodeMessage(fromHex(hex)).tid));
  const tid = ready.map(tryDecode).find((message) => message !== undefined)?.tid;
  if (tid !== undefined) tids.add(tid);
  lab.take();
  ready.forEach((packet, i) => {
    lab.run((pausesS[i - 1] ?? 0) * 1000);
    lab.receive(packet, name === 'parts-from-another-port' && i === 1 ? OTHER_PORT : PROBE);
  });
  lab.run(500);
  return lab
    .take()
    .map(({ message }) => message)
    .filter((message) => tids.has(message.tid) && message.type !== 'find');
}

interface SizeLimit {
  readonly data_bytes: number;
  readonly packed_bytes: number;
  readonly answered: boolean;
}

const sizeLimits = (cases: readonly RecordedCase[]) =>
  cases.find(({ name }) => name === 'value-size-limit')?.results as SizeLimit[];

for (const release of ['2.4.12', '4.3.1']) {
  const folder = release === '4.3.1' ? 'release-4.3.1/' : '';
  /** Releases before 4.3.0 take parts in order only; we do as the newer ones do. */
  const stricter = new Set(release === '2.4.12' ? ['parts-swapped', 'parts-before-header'] : []);
  const cases = ['rpc', 'errors', 'edge_cases'].flatMap((file) =>
    loadCases(`${folder}${file}.json`),
  );
  const compared = cases.filter(
    ({ name, results }) =>
      results === undefined &&
      name !== 'parts-same-tid-two-peers' &&
      !NOT_COMPARED.has(name) &&
      !stricter.has(name),
  );

  describe(`answers as dhtnode ${release} did`, () => {
    const pong = decodeMessage(fromHex(cases[0]?.replies?.[0]?.hex ?? ''));
    const lab = new Lab(pong.type === 'reply' ? { id: pong.id } : {});
    const created = cases
      .flatMap(({ request }) => (request === undefined ? [] : [request]))
      .map(({ hex }) => {
        const put = tryDecode(fromHex(hex));
        return put?.type === 'put' ? put.created : undefined;
      })
      .find((moment) => moment !== undefined);
    // The wall clock of the recording, as far as its dates tell.
    lab.dht.setWallClock(((created ?? 0) + 5) * 1000, lab.now);
    const pushes = watchPushes(lab);

    test.each(compared.map((recorded) => [recorded.name, recorded] as const))(
      '%s',
      (_, recorded) => {
        const expected = (recorded.replies ?? []).map(({ hex }) =>
          comparable(decodeMessage(fromHex(hex))),
        );
        putUnrecorded(lab, recorded, cases);
        expect(replay(lab, recorded).map(comparable)).toEqual(expected);
        // A push may be the repetition of one that was made, and not answered, some cases before.
        for (const { hex } of recorded.unsolicited ?? []) {
          const push = pushed(decodeMessage(fromHex(hex)));
          if (push !== undefined && !UNSAID.has(push)) expect([...pushes]).toContain(push);
        }
      },
    );

    test.each(sizeLimits(cases))(
      'a value of $packed_bytes packed bytes: answered $answered',
      (limit) => {
        const value = packValue(plainValue(2n ** 64n - 1n, new Uint8Array(limit.data_bytes)));
        expect(value.length).toBe(limit.packed_bytes);
        const [tid, token] = [lab.newTid(), lab.token()];
        const put = { type: 'put', tid, id: PROBE_ID, key: KEY, token } as const;
        lab.receive(encodeMessage({ ...put, values: [value.length] }));
        lab.take();
        for (let offset = 0; offset < value.length; offset += 1280) {
          const pieces = [{ index: 0, offset, data: value.subarray(offset, offset + 1280) }];
          lab.receive(encodeMessage({ type: 'part', tid, pieces }));
        }
        const replies = lab.take().filter(({ message }) => message.tid === tid);
        expect(replies.length).toBe(limit.answered ? 1 : 0);
      },
    );

    test('two peers that use one tid are both served, as by the newest release', () => {
      const recorded = cases.find(({ name }) => name === 'parts-same-tid-two-peers');
      expect(recorded).toMatchObject({
        first_answered: true,
        second_answered: release === '4.3.1',
      });
      const tid = lab.newTid();
      const peers = [
        { from: PROBE, id: PROBE_ID },
        { from: OTHER_PORT, id: hash(0x12) },
      ].map((peer) => ({ ...peer, token: lab.token(peer.from, peer.id) }));
      const values = peers.map((_, i) =>
        packValue(plainValue(BigInt(900 + i), new Uint8Array(2000).fill(i))),
      );
      peers.forEach(({ from, id, token }, i) => {
        const sizes = [values[i]?.length ?? 0];
        lab.receive(encodeMessage({ type: 'put', tid, id, key: KEY, token, values: sizes }), from);
      });
      lab.take();
      for (const offset of [0, 1280])
        peers.forEach(({ from }, i) => {
          const data = values[i]?.subarray(offset, offset + 1280) ?? new Uint8Array();
          lab.receive(
            encodeMessage({ type: 'part', tid, pieces: [{ index: 0, offset, data }] }),
            from,
          );
        });
      const answered = lab.take().filter(({ message }) => message.tid === tid);
      expect(answered.map(({ to }) => to.port)).toEqual([PROBE.port, OTHER_PORT.port]);
    });
  });
}
