import { describe, expect, test } from 'vitest';
import type { Address } from '../../agent/base/address.ts';
import { VirtualClock } from './clock.ts';
import { NAT_TYPES, Nat, type NatType } from './nat.ts';
import { CALM, SimNetwork } from './network.ts';
import { seededRandom } from './seeded.ts';

const OUTSIDE = Uint8Array.of(198, 18, 0, 1);
const host: Address = { ip: Uint8Array.of(192, 168, 0, 2), port: 4222 };
const second: Address = { ip: Uint8Array.of(192, 168, 0, 3), port: 4222 };
const friend: Address = { ip: Uint8Array.of(10, 0, 0, 1), port: 4222 };
const friendElsewhere: Address = { ...friend, port: 9999 };
const stranger: Address = { ip: Uint8Array.of(10, 0, 0, 2), port: 4222 };

interface Definition {
  /** RFC 4787 §4.1: one mapping for all destinations. */
  readonly endpointIndependentMapping: boolean;
  /** RFC 4787 §5, once the machine has sent to `friend`: who gets in? */
  readonly letsInOtherPort: boolean;
  readonly letsInStranger: boolean;
}

/** RFC 3489 §5 in the words of RFC 4787. */
const DEFINITIONS: Readonly<Record<NatType, Definition>> = {
  'full cone': { endpointIndependentMapping: true, letsInOtherPort: true, letsInStranger: true },
  'restricted cone': {
    endpointIndependentMapping: true,
    letsInOtherPort: true,
    letsInStranger: false,
  },
  'port restricted': {
    endpointIndependentMapping: true,
    letsInOtherPort: false,
    letsInStranger: false,
  },
  symmetric: { endpointIndependentMapping: false, letsInOtherPort: false, letsInStranger: false },
};

describe.each(NAT_TYPES)('a %s NAT', (type) => {
  const { endpointIndependentMapping, letsInOtherPort, letsInStranger } = DEFINITIONS[type];

  test('maps by destination or not, as defined', () => {
    const nat = new Nat(OUTSIDE, { type });
    const first = nat.outbound(host, friend, 0);
    expect(first.ip).toEqual(OUTSIDE);
    expect(nat.outbound(host, friend, 1)).toEqual(first);
    const other = nat.outbound(host, stranger, 2);
    expect(other.port === first.port).toBe(endpointIndependentMapping);
  });

  test('lets in who may come in, and nobody before something went out', () => {
    const nat = new Nat(OUTSIDE, { type });
    expect(nat.inbound(friend, 20_001, 0)).toBeUndefined();
    const { port } = nat.outbound(host, friend, 0);
    expect(nat.inbound(friend, port, 1)).toEqual(host);
    expect(nat.inbound(friendElsewhere, port, 1)).toEqual(letsInOtherPort ? host : undefined);
    expect(nat.inbound(stranger, port, 1)).toEqual(letsInStranger ? host : undefined);
  });

  test('forgets a mapping that nothing went out by, whatever came in', () => {
    const nat = new Nat(OUTSIDE, { type, idleMs: 30_000 });
    const { port } = nat.outbound(host, friend, 0);
    expect(nat.inbound(friend, port, 29_000)).toEqual(host);
    expect(nat.inbound(friend, port, 30_001)).toBeUndefined();
    expect(nat.outbound(host, friend, 31_000).port).not.toBe(port);
  });

  test('keeps a mapping that is used', () => {
    const nat = new Nat(OUTSIDE, { type, idleMs: 30_000 });
    const { port } = nat.outbound(host, friend, 0);
    for (let at = 20_000; at <= 200_000; at += 20_000)
      expect(nat.outbound(host, friend, at).port).toBe(port);
    expect(nat.inbound(friend, port, 229_000)).toEqual(host);
  });

  test('keeps machines apart', () => {
    const nat = new Nat(OUTSIDE, { type });
    const [one, two] = [nat.outbound(host, friend, 0), nat.outbound(second, friend, 0)];
    expect(nat.inbound(friend, one.port, 1)).toEqual(host);
    expect(nat.inbound(friend, two.port, 1)).toEqual(second);
  });
});

describe('two machines behind one NAT', () => {
  const exchange = (hairpin: boolean) => {
    const clock = new VirtualClock(0);
    const arrived: Address[] = [];
    const network = new SimNetwork({ ...CALM, jitterMs: 0 }, seededRandom(1), clock, (_, to) =>
      arrived.push(to),
    );
    const nat = new Nat(OUTSIDE, { type: 'full cone', hairpin });
    network.putBehind(nat, host.ip);
    network.putBehind(nat, second.ip);
    network.send(host, friend, Uint8Array.of(1)); // opens 20001
    network.send(second, { ip: OUTSIDE, port: 20_001 }, Uint8Array.of(2));
    network.send(second, host, Uint8Array.of(3));
    while (clock.step(1000));
    return arrived;
  };

  test('reach each other by the outer address only if it does hairpinning, by the private one always', () => {
    expect(exchange(false)).toEqual([friend, host]);
    expect(exchange(true)).toEqual([friend, host, host]);
  });

  test('are not reached by their private address from elsewhere', () => {
    const clock = new VirtualClock(0);
    const arrived: Address[] = [];
    const network = new SimNetwork(CALM, seededRandom(1), clock, (_, to) => arrived.push(to));
    network.putBehind(new Nat(OUTSIDE, { type: 'full cone' }), host.ip);
    network.send(friend, host, Uint8Array.of(1));
    while (clock.step(1000));
    expect(arrived).toEqual([]);
    expect(network.lost).toBe(1);
  });
});
