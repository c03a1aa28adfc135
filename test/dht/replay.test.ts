import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../agent/base/bytes.ts';
import { InfoHash } from '../../agent/dht/infohash.ts';
import type { Message, QueryMessage, WireValue } from '../../agent/dht/message.ts';
import { decodeMessage } from '../../agent/dht/message-decode.ts';
import { encodeMessage } from '../../agent/dht/message-encode.ts';
import { Lab, PROBE } from './lab.ts';
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

/** The request with our token in place of the recorded one. */
function prepared(lab: Lab, name: string, packet: Uint8Array): Uint8Array {
  const message = tryDecode(packet);
  if (message === undefined || KEEPS_TOKEN.has(name)) return packet;
  if (!('token' in message) || message.token === undefined) return packet;
  return encodeMessage({ ...message, token: lab.token(PROBE) } as QueryMessage);
}

/** The key of the recording's small values, and of what an unrecorded put stored under it. */
function putUnrecorded(lab: Lab, recorded: RecordedCase): void {
  if (recorded.name === 'push-v0-new-value') {
    const push = tryDecode(fromHex(recorded.unsolicited?.[0]?.hex ?? ''));
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

    test.each(compared.map((recorded) => [recorded.name, recorded] as const))(
      '%s',
      (_, recorded) => {
        const expected = (recorded.replies ?? []).map(({ hex }) =>
          comparable(decodeMessage(fromHex(hex))),
        );
        putUnrecorded(lab, recorded);
        expect(replay(lab, recorded).map(comparable)).toEqual(expected);
      },
    );
  });
}
