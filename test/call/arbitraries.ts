import fc from 'fast-check';
import { toHex } from '../../agent/base/bytes.ts';
import { ulidFromBytes } from '../../agent/base/ulid.ts';
import {
  CANDIDATE_KINDS,
  type Candidate,
  SETUP_ROLES,
  type SessionDescription,
} from '../../agent/call/description.ts';
import { MAX_CANDIDATES } from '../../agent/call/limits.ts';
import {
  HANGUP_REASONS,
  REFUSE_REASONS,
  type Signal,
  type SignalBody,
} from '../../agent/call/signal.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const iceText = (minLength: number) =>
  fc.string({
    minLength,
    maxLength: 64,
    unit: fc.constantFrom(...'ABCxyz0189+/'),
  });

export const candidate: fc.Arbitrary<Candidate> = fc.record({
  kind: fc.constantFrom(...CANDIDATE_KINDS),
  ip: fc.oneof(bytes(4), bytes(16)).map((ip) => {
    ip[0] = 1 + ((ip[0] ?? 0) % 223); // unicast, both families
    return ip;
  }),
  port: fc.integer({ min: 1, max: 65535 }),
});

const candidates = fc.array(candidate, { maxLength: MAX_CANDIDATES });

export const description: fc.Arbitrary<SessionDescription> = fc.record({
  setup: fc.constantFrom(...SETUP_ROLES),
  ufrag: iceText(4),
  password: iceText(22),
  fingerprint: bytes(32),
  ssrc: fc.integer({ min: 0, max: 0xffff_ffff }),
  candidates,
});

const attempt = fc.integer({ min: 1, max: 255 });
const kind = <K extends string>(name: K) => fc.constant(name);

export const signalBody: fc.Arbitrary<SignalBody> = fc.oneof(
  fc.record({
    kind: kind('offer'),
    attempt,
    media: fc.integer({ min: 0, max: 255 }).map((bits) => bits | 3),
    resume: fc.boolean(),
    description,
  }),
  fc.record({ kind: kind('answer'), attempt, description }),
  fc.record({ kind: kind('ringing') }),
  fc.record({ kind: kind('refuse'), reason: fc.constantFrom(...REFUSE_REASONS) }),
  fc.record({ kind: kind('candidates'), attempt, candidates }),
  fc.record({ kind: kind('hangup'), reason: fc.constantFrom(...HANGUP_REASONS) }),
);

export const signal: fc.Arbitrary<Signal> = fc
  .tuple(
    fc.record({
      callId: bytes(16).map(ulidFromBytes),
      sequence: fc.integer({ min: 0, max: 0xffff }),
      sentAtUnixMs: fc.maxSafeNat(),
      from: bytes(32).map(toHex),
      to: bytes(32).map(toHex),
    }),
    signalBody,
  )
  .map(([header, body]) => ({ ...header, ...body }));
