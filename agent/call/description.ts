import { formatIp } from '../base/address.ts';
import type { Reader, Writer } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { MAX_CANDIDATES, MAX_ICE_CREDENTIAL_CHARS } from './limits.ts';

/**
 * What one side of a call tells the other about its media: all of SDP that differs from call to
 * call. `sdp.ts` puts it into SDP and takes it out; here is its binary form (webrtc-sip.md 5), big
 * endian:
 *
 *     setup role   1   0 actpass, 1 active, 2 passive
 *     ufrag        1 + n
 *     password     1 + n
 *     fingerprint  32  SHA-256 of the DTLS certificate
 *     ssrc         4
 *     candidates   1 + n × (kind and family 1, address 4 or 16, port 2)
 */
export interface SessionDescription {
  /**
   * DTLS role (RFC 5763 section 5). An offer says `active`: webrtc-sip.md 5, "the one-second step".
   */
  readonly setup: SetupRole;
  readonly ufrag: string;
  readonly password: string;
  /** 32 bytes. */
  readonly fingerprint: Uint8Array;
  readonly ssrc: number;
  readonly candidates: readonly Candidate[];
}

export const SETUP_ROLES = ['actpass', 'active', 'passive'] as const;
export type SetupRole = (typeof SETUP_ROLES)[number];

/** An ICE candidate (RFC 8445): UDP, component 1. Order is preference. */
export interface Candidate {
  readonly kind: CandidateKind;
  /** 4 or 16 bytes. */
  readonly ip: Uint8Array;
  readonly port: number;
}

export const CANDIDATE_KINDS = ['host', 'srflx', 'prflx', 'relay'] as const;
export type CandidateKind = (typeof CANDIDATE_KINDS)[number];

const IPV6_FLAG = 0x10;

export function writeDescription(writer: Writer, description: SessionDescription): void {
  writer.uint8(SETUP_ROLES.indexOf(description.setup));
  writeCredential(writer, description.ufrag);
  writeCredential(writer, description.password);
  writer.bytes(description.fingerprint).uint32(description.ssrc);
  writeCandidates(writer, description.candidates);
}

/** @throws {DecodeError} */
export function readDescription(reader: Reader): SessionDescription {
  const setup = SETUP_ROLES[reader.uint8()];
  if (setup === undefined) throw new DecodeError('unknown setup role');
  return {
    setup,
    ufrag: readCredential(reader, 4),
    password: readCredential(reader, 22),
    fingerprint: reader.bytes(32),
    ssrc: reader.uint32(),
    candidates: readCandidates(reader),
  };
}

export function writeCandidates(writer: Writer, candidates: readonly Candidate[]): void {
  writer.uint8(candidates.length);
  for (const { kind, ip, port } of candidates) {
    const family = ip.length === 16 ? IPV6_FLAG : 0;
    writer.uint8(CANDIDATE_KINDS.indexOf(kind) | family);
    writer.bytes(ip).uint16(port);
  }
}

/**
 * @throws {DecodeError} also for an address that no peer can have: our checks must not be aimed at
 * a whole network
 */
export function readCandidates(reader: Reader): Candidate[] {
  const count = reader.uint8();
  if (count > MAX_CANDIDATES) throw new DecodeError('too many candidates');
  const candidates: Candidate[] = [];
  for (let i = 0; i < count; i++) {
    const head = reader.uint8();
    const kind = CANDIDATE_KINDS[head & ~IPV6_FLAG];
    if (kind === undefined) throw new DecodeError('unknown candidate kind');
    const candidate = {
      kind,
      ip: reader.bytes((head & IPV6_FLAG) !== 0 ? 16 : 4),
      port: reader.uint16(),
    };
    if (!isUnicast(candidate)) throw new DecodeError(`candidate ${formatIp(candidate.ip)}`);
    candidates.push(candidate);
  }
  return candidates;
}

/** Whether one host can have this address: not unspecified, multicast or broadcast, and a port. */
export function isUnicast({ ip, port }: Candidate): boolean {
  const [first = 0] = ip;
  if (port === 0 || ip.every((byte) => byte === 0)) return false;
  return ip.length === 16 ? first !== 0xff : first !== 0 && first < 224;
}

/**
 * At most MAX_CANDIDATES. The reflexive and relayed ones come last in what a library lists, and are
 * the ones that get through a router: they stay, and addresses of the host fill the rest.
 */
export function limitCandidates(candidates: readonly Candidate[]): Candidate[] {
  const outside = candidates.filter(({ kind }) => kind !== 'host').slice(0, MAX_CANDIDATES / 2);
  const hosts = candidates.filter(({ kind }) => kind === 'host');
  return [...hosts.slice(0, MAX_CANDIDATES - outside.length), ...outside];
}

// `ice-char` of RFC 8839 section 5.4. Nothing else may reach the SDP that is built from it.
const ICE_CHARS = /^[A-Za-z0-9+/]+$/;

function writeCredential(writer: Writer, text: string): void {
  writer.uint8(text.length).bytes(Uint8Array.from(text, (character) => character.charCodeAt(0)));
}

function readCredential(reader: Reader, least: number): string {
  const length = reader.uint8();
  if (length < least || length > MAX_ICE_CREDENTIAL_CHARS) throw new DecodeError('ICE credential');
  const text = String.fromCharCode(...reader.bytes(length));
  if (!ICE_CHARS.test(text)) throw new DecodeError('ICE credential');
  return text;
}
