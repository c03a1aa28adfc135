import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseIp } from '../../agent/base/address.ts';
import { fromHex } from '../../agent/base/bytes.ts';
import { DecodeError } from '../../agent/base/errors.ts';
import { type Candidate, limitCandidates } from '../../agent/call/description.ts';
import { MAX_CANDIDATES } from '../../agent/call/limits.ts';
import { buildSdp, formatCandidate, parseCandidate, parseSdp } from '../../agent/call/sdp.ts';
import * as arbitrary from './arbitraries.ts';

const vector = (name: string) =>
  readFileSync(new URL(`../vectors/call/${name}`, import.meta.url), 'utf8');
const ip = (text: string) => parseIp(text) ?? new Uint8Array();
const host = (n: number): Candidate => ({ kind: 'host', ip: ip(`192.0.2.${n}`), port: n });

describe('SDP', () => {
  test('reads an offer of libdatachannel', () => {
    expect(parseSdp(vector('offer.sdp'))).toEqual({
      setup: 'actpass',
      ufrag: 'sUEt',
      password: 'es3EYIeYmrtkh+hUuaVZwy',
      fingerprint: fromHex('1b5c17864615cbebfc3fe39f3015f31120f7a31f41018445de3199c9a502a5bf'),
      ssrc: 3735928559,
      candidates: [
        { kind: 'host', ip: ip('2001:db8::10'), port: 42040 },
        { kind: 'host', ip: ip('192.0.2.10'), port: 42040 },
      ],
    });
  });

  test('reads an answer of libdatachannel', () => {
    const answer = parseSdp(vector('answer.sdp'));
    expect(answer).toMatchObject({ setup: 'passive', ufrag: 'mVma', ssrc: 0x01234567 });
    expect(answer.candidates).toHaveLength(2);
  });

  test('what is built is read', () => {
    fc.assert(
      fc.property(arbitrary.description, (description) => {
        const { candidates, ...rest } = description;
        const read = parseSdp(buildSdp(description));
        expect(read).toMatchObject(rest);
        expect(read.candidates).toEqual(limitCandidates(candidates));
      }),
    );
  });

  test('both media have the same transport, line by line CRLF', () => {
    const sdp = buildSdp(parseSdp(vector('offer.sdp')));
    for (const line of ['setup:actpass', 'ice-ufrag:sUEt', 'mid:0', 'mid:1'])
      expect(sdp.split('\r\n').filter((text) => text === `a=${line}`).length).toBe(
        line.startsWith('mid') ? 1 : 2,
      );
    expect(sdp.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
  });

  test.each(['a=setup:', 'a=ice-ufrag:', 'a=ice-pwd:', 'a=fingerprint:', 'a=ssrc:'])(
    'refuses SDP without %s',
    (start) => {
      const lines = vector('offer.sdp').split('\r\n');
      const sdp = lines.filter((line) => !line.startsWith(start)).join('\r\n');
      expect(() => parseSdp(sdp)).toThrow(DecodeError);
    },
  );

  test('refuses another hash than SHA-256', () => {
    expect(() => parseSdp(vector('offer.sdp').replace('sha-256', 'sha-1'))).toThrow(DecodeError);
  });
});

describe('candidates', () => {
  test('are read and written as in RFC 8839 section 5.1', () => {
    const text = 'candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host';
    const candidate = parseCandidate(`a=${text}`);
    expect(candidate).toEqual({ kind: 'host', ip: ip('203.0.113.141'), port: 8998 });
    if (candidate !== undefined) expect(formatCandidate(candidate, 0)).toBe(text);
    expect(
      parseCandidate(
        'a=candidate:2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998',
      ),
    ).toEqual({ kind: 'srflx', ip: ip('192.0.2.3'), port: 45664 });
  });

  test('earlier ones are preferred, and hosts before relays', () => {
    const priority = (candidate: Candidate, index: number) =>
      Number(formatCandidate(candidate, index).split(' ')[3]);
    expect(priority(host(1), 0)).toBeGreaterThan(priority(host(1), 1));
    expect(priority(host(1), 15)).toBeGreaterThan(priority({ ...host(1), kind: 'relay' }, 0));
  });

  test.each([
    ['TCP', 'candidate:1 1 TCP 2105524479 192.0.2.1 9 typ host tcptype active'],
    ['RTCP component', 'candidate:1 2 UDP 2130706430 192.0.2.1 5001 typ host'],
    ['mDNS name', 'candidate:1 1 UDP 2130706431 3f2a.local 5000 typ host'],
    ['link-local zone', 'candidate:1 1 UDP 2130706431 fe80::1%eth0 5000 typ host'],
    ['port out of range', 'candidate:1 1 UDP 2130706431 192.0.2.1 70000 typ host'],
    ['unspecified address', 'candidate:1 1 UDP 2130706431 0.0.0.0 5000 typ host'],
    ['end of candidates', 'end-of-candidates'],
  ])('leaves out: %s', (_, text) => {
    expect(parseCandidate(text)).toBeUndefined();
  });

  test('over the limit, those that get through a router stay', () => {
    const relay: Candidate = { ...host(200), kind: 'relay' };
    const many = [...Array.from({ length: 40 }, (_, i) => host(i + 1)), relay];
    const kept = limitCandidates(many);
    expect(kept).toHaveLength(MAX_CANDIDATES);
    expect(kept.at(-1)).toEqual(relay);
    expect(kept[0]).toEqual(host(1));
  });
});
