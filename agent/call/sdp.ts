import { OPUS_PAYLOAD_TYPE } from '../audio/rtp.ts';
import { formatIp, parseIp } from '../base/address.ts';
import { fromHex, toHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import {
  CANDIDATE_KINDS,
  type Candidate,
  isUnicast,
  limitCandidates,
  SETUP_ROLES,
  type SessionDescription,
} from './description.ts';
import { MAX_CONTROL_BYTES } from './limits.ts';

/**
 * Between SDP (RFC 8866) as libdatachannel writes and reads it, and the few fields that differ from
 * call to call. Everything else is this template: Opus as payload type 111 on mid 0, the control
 * channel on mid 1, both bundled.
 */

export const AUDIO_MID = '0';
const DATA_MID = '1';
/** RFC 7587 section 7.1. Our own: libdatachannel's default asks for stereo at 96 kb/s. */
export const OPUS_FORMAT = 'minptime=10;useinbandfec=1';

/** The SDP that a library is given for the other side's description. */
export function buildSdp(description: SessionDescription): string {
  const { setup, ufrag, password, ssrc, candidates } = description;
  const transport = [
    `a=setup:${setup}`,
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${password}`,
    `a=fingerprint:sha-256 ${formatFingerprint(description.fingerprint)}`,
  ];
  return [
    'v=0',
    'o=- 1 0 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    `a=group:BUNDLE ${AUDIO_MID} ${DATA_MID}`,
    'a=ice-options:ice2,trickle',
    `m=audio 9 UDP/TLS/RTP/SAVPF ${OPUS_PAYLOAD_TYPE}`,
    'c=IN IP4 0.0.0.0',
    `a=mid:${AUDIO_MID}`,
    'a=sendrecv',
    `a=ssrc:${ssrc} cname:doorward`,
    'a=rtcp-mux',
    `a=rtpmap:${OPUS_PAYLOAD_TYPE} opus/48000/2`,
    `a=fmtp:${OPUS_PAYLOAD_TYPE} ${OPUS_FORMAT}`,
    ...transport,
    ...candidates.map((candidate, i) => `a=${formatCandidate(candidate, i)}`),
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'c=IN IP4 0.0.0.0',
    `a=mid:${DATA_MID}`,
    'a=sendrecv',
    'a=sctp-port:5000',
    `a=max-message-size:${MAX_CONTROL_BYTES}`,
    ...transport,
    '',
  ].join('\r\n');
}

/**
 * The fields of a description that a library wrote.
 * @throws {DecodeError} when one is missing
 */
export function parseSdp(sdp: string): SessionDescription {
  const lines = sdp.split(/\r?\n/);
  const attribute = (name: string): string => {
    const line = lines.find((text) => text.startsWith(`a=${name}:`));
    if (line === undefined) throw new DecodeError(`SDP without ${name}`);
    return line.slice(name.length + 3);
  };
  const setup = SETUP_ROLES.find((role) => role === attribute('setup'));
  if (setup === undefined) throw new DecodeError(`setup:${attribute('setup')}`);
  return {
    setup,
    ufrag: attribute('ice-ufrag'),
    password: attribute('ice-pwd'),
    fingerprint: parseFingerprint(attribute('fingerprint')),
    ssrc: parseSsrc(attribute('ssrc')),
    candidates: limitCandidates(lines.flatMap((line) => parseCandidate(line) ?? [])),
  };
}

// RFC 8445 section 5.1.2.2, recommended values.
const TYPE_PREFERENCE = { host: 126, prflx: 110, srflx: 100, relay: 0 } as const;

/**
 * `candidate:1 1 UDP 2130706431 192.0.2.1 50000 typ host` (RFC 8839 section 5.1). @param index
 * position, 0 = preferred
 */
export function formatCandidate({ kind, ip, port }: Candidate, index: number): string {
  // RFC 8445 section 5.1.2.1, component 1.
  const priority = TYPE_PREFERENCE[kind] * 2 ** 24 + (65535 - index) * 2 ** 8 + 255;
  const related = kind === 'host' ? '' : ` raddr ${ip.length === 4 ? '0.0.0.0' : '::'} rport 0`;
  return `candidate:${index + 1} 1 UDP ${priority} ${formatIp(ip)} ${port} typ ${kind}${related}`;
}

/**
 * @returns undefined for what we cannot use: TCP, other components, host names (mDNS), other lines
 */
export function parseCandidate(line: string): Candidate | undefined {
  const match =
    /^(?:a=)?candidate:\S+ 1 udp \d+ (\S+) (\d{1,5}) typ (\w+)/i.exec(line) ?? undefined;
  const ip = parseIp(match?.[1] ?? '');
  const kind = CANDIDATE_KINDS.find((known) => known === match?.[3]);
  if (ip === undefined || kind === undefined) return undefined;
  const candidate = { kind, ip, port: Number(match?.[2]) };
  return isUnicast(candidate) && candidate.port <= 65535 ? candidate : undefined;
}

function parseSsrc(text: string): number {
  const ssrc = Number(/^\d{1,10}(?= |$)/.exec(text)?.[0]);
  if (!(ssrc <= 0xffff_ffff)) throw new DecodeError('SDP with a strange ssrc');
  return ssrc;
}

function formatFingerprint(fingerprint: Uint8Array): string {
  return toHex(fingerprint)
    .toUpperCase()
    .replace(/..(?=.)/g, '$&:');
}

function parseFingerprint(text: string): Uint8Array {
  const match = /^sha-256 ((?:[0-9a-f]{2}:){31}[0-9a-f]{2})$/i.exec(text.trim());
  if (match?.[1] === undefined) throw new DecodeError('SDP without a SHA-256 fingerprint');
  return fromHex(match[1].replaceAll(':', ''));
}
