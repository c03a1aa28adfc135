import { describe, expect, test } from 'vitest';
import { AgentError } from '../../agent/base/errors.ts';
import { keyOf } from '../../agent/cli/dht.ts';
import type { DhtValue } from '../../agent/control/dht-protocol.ts';
import type { ControlHandlers } from '../../agent/control/server.ts';
import { FakeStation, FakeWorld } from './fake-world.ts';

const HELLO = 'aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d'; // SHA-1 of "hello"
const OWNER = 'c7'.repeat(20);

const base64 = (data: string | Uint8Array) => Buffer.from(data).toString('base64');
const text: DhtValue = { id: '5', type: 3, data: base64('hi\tthere'), user_type: 'text/plain' };
const signed: DhtValue = {
  ...text,
  signed: { by: OWNER, seq: 2, signature: 'good' },
};
const forged: DhtValue = { ...text, signed: { by: OWNER, seq: 2, signature: 'bad' } };

function world(handlers: Partial<ControlHandlers> = {}) {
  const station = new FakeStation(handlers);
  const w = new FakeWorld(station);
  return { w, station, asked: () => station.requests.map(({ method }) => method) };
}

/** A station that finds `values` at a get or listen. */
function finding(...values: DhtValue[]) {
  const given = world({
    'dht.get': async () => {
      for (const value of values) given.station.find(value);
      return { values: values.length, dropped: 0 };
    },
    'dht.listen': async () => {
      for (const value of values) given.station.find(value);
      return {};
    },
  });
  return given;
}

describe('a key', () => {
  test('is 40 hex digits, or the hash of a text', () => {
    expect(keyOf(HELLO.toUpperCase())).toBe(HELLO);
    expect(keyOf('hello')).toBe(HELLO);
    expect(keyOf(`${HELLO}0`)).not.toBe(HELLO);
  });
});

describe('dht get', () => {
  test('prints what is known of each value, and what is in it', async () => {
    const { w, station } = finding(
      text,
      signed,
      forged,
      { id: '6', type: 0, data: base64(Uint8Array.of(0, 255)) },
      { id: '7', encrypted: 'not-for-us' },
      { ...signed, encrypted: 'opened' },
    );
    expect(await w.run('dht', 'get', 'hello', '--where', 'id=5', '--unverified')).toBe(0);
    expect(station.requests[0]).toEqual({
      method: 'dht.get',
      params: { stream: 1, key: HELLO, where: 'id=5' },
    });
    expect(w.out.split('\n')).toEqual([
      'id 5, type 3, user type "text/plain", 8 bytes, not signed',
      '  hi there',
      `id 5, type 3, user type "text/plain", 8 bytes, signed by ${OWNER}, seq 2`,
      '  hi there',
      `id 5, type 3, user type "text/plain", 8 bytes, BAD SIGNATURE, claims to be signed by ${OWNER}, seq 2`,
      '  hi there',
      'id 6, type 0, 2 bytes, not signed',
      '  0x00ff',
      'id 7',
      '  (encrypted, not to us)',
      `id 5, type 3, user type "text/plain", 8 bytes, encrypted to us, signed by ${OWNER}, seq 2`,
      '  hi there',
      '',
    ]);
  });

  test('lets nothing of a value move the cursor', async () => {
    const { w } = finding({
      id: '5',
      type: 0,
      data: base64('\u001b[2J\u009b'),
      user_type: 'a\nb',
    });
    await w.run('dht', 'get', 'hello');
    expect(w.out).toBe('id 5, type 0, user type "a b", 6 bytes, not signed\n  0x1b5b324ac29b\n');
  });

  test('as JSON is one object for each value', async () => {
    const { w } = finding(signed, forged);
    expect(await w.run('dht', 'get', 'hello', '--json', '--unverified')).toBe(0);
    expect(
      w.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([signed, forged]);
  });

  test('prints chosen fields, and marks the owner of a forged value', async () => {
    const { w } = finding(signed, forged);
    const fields = 'id,owner_pk,seq,value_type,user_type';
    await w.run('dht', 'get', 'hello', '--unverified', '--select', fields);
    expect(w.out).toBe(
      `id=5,owner_pk=${OWNER},seq=2,value_type=3,user_type=text/plain\n` +
        `id=5,owner_pk=${OWNER}(bad),seq=2,value_type=3,user_type=text/plain\n`,
    );
  });

  test('--raw writes the bytes of the first value that is what it says', async () => {
    const { w } = finding(forged, { id: '7', encrypted: 'not-for-us' }, signed, text);
    expect(await w.run('dht', 'get', 'hello', '--raw')).toBe(0);
    expect(w.outBytes.map((bytes) => Buffer.from(bytes).toString())).toEqual(['hi\tthere']);
    expect(w.out).toBe('');
  });

  test('leaves out what has a bad signature, and says so', async () => {
    const both = finding(signed, forged, forged);
    expect(await both.w.run('dht', 'get', 'hello', '--json')).toBe(0);
    expect(both.w.out.trim()).toBe(JSON.stringify(signed));
    expect(both.w.err).toContain('2 with a bad signature left out');
    const none = finding(forged);
    expect(await none.w.run('dht', 'get', 'hello')).toBe(6);
    expect(none.w.out).toBe('');
  });

  test('without a value exits 6, and 5 when it gave up', async () => {
    const { w } = world();
    expect(await w.run('dht', 'get', 'hello')).toBe(6);
    expect(w.err).toBe(`doorward: nothing is stored under ${HELLO} ("hello")\n`);
    const slow = world({ 'dht.get': () => new Promise(() => {}) });
    expect(await slow.w.run('dht', 'get', 'hello', '--timeout', '2s')).toBe(5);
    expect(slow.w.now).toBe(2000);
    expect(slow.station.isClosed).toBe(true);
  });

  test('says when values came faster than it could print them', async () => {
    const given = world({
      'dht.get': async () => {
        given.station.find(text);
        return { values: 1, dropped: 9 };
      },
    });
    expect(await given.w.run('dht', 'get', 'hello')).toBe(0);
    expect(given.w.err).toBe('9 more values came faster than they could be printed\n');
  });
});

describe('dht listen', () => {
  test('prints what is new and what has expired, for a time', async () => {
    const given = finding(text);
    given.w.at(500, () => given.station.find(text, true));
    expect(await given.w.run('dht', 'listen', 'hello', '--for', '3s')).toBe(0);
    expect(given.w.out).toBe(
      'new     id 5, type 3, user type "text/plain", 8 bytes, not signed\n  hi there\n' +
        'expired id 5, type 3, user type "text/plain", 8 bytes, not signed\n  hi there\n',
    );
    expect(given.w.now).toBe(3000);
  });

  test('ends with Ctrl-C, and otherwise when the station goes away', async () => {
    const { w } = finding(text);
    w.at(100, () => w.interrupt());
    expect(await w.run('dht', 'listen', 'hello', '--json')).toBe(0);
    expect(JSON.parse(w.out)).toEqual({ expired: false, ...text });
    const lost = finding();
    lost.w.at(100, () => lost.station.die());
    expect(await lost.w.run('dht', 'listen', 'hello')).toBe(69);
  });
});

describe('dht put', () => {
  test('says where it is and how many store it', async () => {
    const { w, station } = world();
    const options = ['--id', '77', '--type', '3', '--user-type', 'text/plain', '--permanent'];
    expect(await w.run('dht', 'put', 'hello', 'wörld', ...options)).toBe(0);
    expect(station.requests[0]?.params).toEqual({
      key: HELLO,
      data: base64('wörld'),
      id: '77',
      type: 3,
      user_type: 'text/plain',
      permanent: true,
    });
    expect(w.out).toBe(
      `put under ${HELLO} ("hello"), id 77: stored by 3 nodes, kept alive while this node runs\n`,
    );
  });

  test('takes standard input byte by byte', async () => {
    const { w, station } = world();
    w.input = Uint8Array.of(0, 0xff, 10);
    expect(await w.run('dht', 'put', HELLO, '-', '--json')).toBe(0);
    expect(station.requests[0]?.params).toMatchObject({ data: 'AP8K', key: HELLO });
    expect(JSON.parse(w.out)).toEqual({ key: HELLO, id: '42', acknowledged: 3 });
  });

  test('that does not fit is not even sent', async () => {
    const { w, asked } = world();
    w.input = new Uint8Array(65_537);
    expect(await w.run('dht', 'put', 'hello', '-')).toBe(2);
    expect(w.err).toContain('65537 bytes do not fit into one value of the DHT\n');
    expect(asked()).toEqual([]);
    w.input = new Uint8Array(65_536);
    expect(await w.run('dht', 'put', 'hello', '-')).toBe(0);
  });

  test('that nobody stores is a failure', async () => {
    const { w } = world({ 'dht.put': async () => ({ id: '8', acknowledged: 0 }) });
    expect(await w.run('dht', 'put', 'hello', 'x')).toBe(4);
    expect(w.err).toContain('doorward: no other node has stored the value with the id 8\n');
    expect(w.out).toBe('');
  });

  test('signed and encrypted', async () => {
    const { w, station } = world();
    expect(await w.run('dht', 'put-signed', 'hello', 'x', '--id', '9')).toBe(0);
    expect(await w.run('dht', 'put-encrypted', 'hello', 'alice', 'x')).toBe(0);
    expect(station.requests.map(({ method, params }) => ({ method, ...params }))).toMatchObject([
      { method: 'dht.put_signed', id: '9' },
      { method: 'dht.put_encrypted', to: 'alice', key: HELLO, data: base64('x') },
    ]);
    expect(w.out).toContain(`id 44: stored by 2 nodes, sealed to ${'e5'.repeat(32)}\n`);
  });

  test('to one of two devices only tells of both', async () => {
    const puts = [
      { device: 'e5'.repeat(32), id: '1', acknowledged: 2 },
      { device: 'e6'.repeat(32), id: '2', acknowledged: 0 },
    ];
    const { w } = world({ 'dht.put_encrypted': async () => ({ puts }) });
    expect(await w.run('dht', 'put-encrypted', 'hello', 'alice', 'x')).toBe(4);
    expect(w.out).toContain('id 1: stored by 2 nodes');
    expect(w.err).toContain('no other node has stored the value with the id 2');
  });
});

describe('the other commands', () => {
  test('cancel, ping', async () => {
    const { w, station } = world();
    expect(await w.run('dht', 'cancel', 'hello', '5')).toBe(0);
    expect(station.requests[0]?.params).toEqual({ key: HELLO, id: '5' });
    expect(await w.run('dht', 'ping', '127.0.0.1')).toBe(0);
    expect(w.out).toContain(`${'f6'.repeat(20)} at 127.0.0.1:4222, 0.50 ms\n`);
    const nobody = async () => {
      throw new AgentError('no-answer', 'nobody');
    };
    expect(await world({ 'dht.ping': nobody }).w.run('dht', 'ping', '127.0.0.1')).toBe(4);
  });

  test('nodes and stats are tables', async () => {
    const node = { address: '127.0.0.1:4222', bucket: 1 };
    const { w } = world({
      'dht.nodes': async () => ({
        id: OWNER,
        nodes: [
          { ...node, id: HELLO, state: 'good', heard_s: 5 },
          { ...node, id: OWNER, state: 'expired' },
        ],
      }),
      'dht.stats': async () => ({
        id: OWNER,
        sizes: [{ name: 'storage.bytes', size: 12_345, cap: 16_777_216 }],
        counters: { 'rpc.sent': 7 },
      }),
    });
    await w.run('dht', 'nodes');
    expect(w.out).toContain(`${HELLO}  127.0.0.1:4222  good     5 s ago  1\n`);
    expect(w.out).toContain(`${OWNER}  127.0.0.1:4222  expired  never    1\n`);
    await w.run('dht', 'stats');
    expect(w.out).toContain('storage.bytes  12,345  16,777,216\n');
    expect(w.out).toContain('rpc.sent  7\n');
    w.out = '';
    await w.run('dht', 'stats', '--json');
    expect(JSON.parse(w.out)).toMatchObject({ id: OWNER, counters: { 'rpc.sent': 7 } });
  });
});

describe('the node of a command', () => {
  test('is the one that runs; without one the ways to get one are named', async () => {
    const w = new FakeWorld();
    expect(await w.run('dht', 'get', 'hello')).toBe(69);
    expect(w.err).toContain('--bootstrap HOST:PORT');
    expect(w.started).toEqual([]);
  });

  test('with --bootstrap is one of its own, without identity', async () => {
    const { w } = world();
    w.privateStation = new FakeStation();
    expect(await w.run('dht', 'ping', '10.0.0.1', '--bootstrap', '[::1]:4300')).toBe(0);
    expect(w.started).toMatchObject([{ dhtOnly: true }]);
    expect(w.started[0]?.settings).toContain('dht.bootstrap=[::1]:4300');
    expect(w.started[0]?.settings).toContain('dht.bind6=::1');
    expect(w.privateStopped).toBe(1);
  });

  test('with --state is a whole station, beside the one that runs', async () => {
    const { w } = world();
    expect(await w.run('dht', 'put-signed', 'hello', 'x', '--state', 'me')).toBe(0);
    expect(w.started).toMatchObject([{ dhtOnly: false }]);
    expect(w.started[0]?.settings).toContain('state=me');
    expect(w.started[0]?.settings).toContain('dht.bootstrap=127.0.0.1:4222');
  });

  test('that finds nobody ends the command', async () => {
    const { w } = world();
    const status = await new FakeStation().request('status', {});
    const alone = { ...status, dht: { ...status.dht, state: 'connecting' as const } };
    w.privateStation = new FakeStation({ status: async () => alone });
    expect(await w.run('dht', 'get', 'hello', '--bootstrap', '10.0.0.1')).toBe(4);
    expect(w.err).toContain('doorward: no node of network 0 answered in 5 s\n');
    expect(w.privateStopped).toBe(1);
  });

  test.each([
    [['put-signed', 'k', 'v', '--bootstrap', 'a:1'], 'name one with --state FOLDER'],
    [['put', 'k', 'v', '--bootstrap', 'a:1', '--permanent'], '--permanent keeps a value alive'],
  ])('%o is wrong usage', async (argv, message) => {
    const { w } = world();
    expect(await w.run('dht', ...argv)).toBe(2);
    expect(w.err).toContain(message);
    expect(w.started).toEqual([]);
  });
});

describe('wrong usage', () => {
  test.each([
    [[], 'say what to do: "doorward dht --help" lists it'],
    [['get'], 'too few words: got 0, need at least 1'],
    [['put', 'k'], 'too few words: got 1, need at least 2'],
    [['put', 'k', 'v', '--id', '0'], '"0" is no id of a value: a number from 1, below 2^64'],
    [['put', 'k', 'v', '--id', '18446744073709551616'], '"18446744073709551616" is no id'],
    [['put', 'k', 'v', '--type', '65536'], '--type: "65536" is not a number from 0 to 65535'],
    [['get', 'k', '--select', 'data'], '--select: "data" is not one of id, value_type'],
    [['get', 'k', '--raw', '--select', 'id'], '--raw writes bytes'],
    [['get', 'k', '--timeout', '5'], '--timeout: "5" is not a time with its unit'],
    [['cancel', 'k', 'x'], '"x" is no id of a value'],
    [['ping', ':1'], '":1" is not host:port'],
  ])('%o', async (argv, message) => {
    const { w } = world();
    expect(await w.run('dht', ...argv)).toBe(2);
    expect(w.err).toContain(`doorward: ${message}`);
    expect(w.out).toBe('');
  });
});
