import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { type Address, formatIp, parseIp, sameIp } from '../base/address.ts';
import { BoundedMap } from '../base/bounded.ts';
import { type Clock, WakeUp } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type Family, familyOf } from './addresses.ts';
import type { InfoHash } from './infohash.ts';
import {
  DISCOVERY_GROUP,
  DISCOVERY_PORT,
  PeerDiscovery,
  type PeerFound,
} from './peer-discovery.ts';

/** A machine has a few interfaces, and a few things go wrong with each. */
const TROUBLES_REMEMBERED = 32;

/** One of the DHT's own sockets: its port is announced, on the interfaces that it is bound to. */
export interface BoundFamily {
  readonly ip: Uint8Array;
  readonly port: number;
}

export interface LocalPeersOptions {
  readonly id: InfoHash;
  readonly network: number;
  readonly families: ReadonlyMap<Family, BoundFamily>;
  /** false: look for others, but do not tell of us. */
  readonly announces: boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onFound: (peer: PeerFound) => void;
}

/**
 * Driver of peer discovery: a multicast socket for each family and the one timer. It shares port 8888 with other programs
 * of this machine. A machine without network, or with port 8888 taken, is told once in the log; it finds nobody, and that is all.
 */
export class LocalPeers {
  readonly #options: LocalPeersOptions;
  readonly #sockets = new Map<Family, Socket>();
  readonly #engine: PeerDiscovery;
  readonly #wakeUp: WakeUp;
  #stopped = false;
  /** What was told in the log, so that it is told once. */
  readonly #told = new BoundedMap<string, true>(TROUBLES_REMEMBERED);

  constructor(options: LocalPeersOptions) {
    const { id, network, families, announces, clock } = options;
    this.#options = options;
    const ports = new Map([...families].map(([family, { port }]) => [family, port] as const));
    this.#engine = new PeerDiscovery({ id, network, ports, announces }, clock.now());
    this.#wakeUp = new WakeUp(clock, () => {
      this.#engine.timeout(clock.now());
      this.#drain();
    });
  }

  async start(): Promise<void> {
    for (const family of this.#options.families.keys()) {
      const socket = createSocket({
        type: family === 4 ? 'udp4' : 'udp6',
        ipv6Only: family === 6,
        reuseAddr: true,
        // Addresses are always numbers. Called back at once, so that a datagram leaves by the interface that was just set.
        lookup: (hostname, _options, callback) => callback(null, hostname, family),
      });
      try {
        // Before the call: with a lookup that answers at once it may be listening when the call returns.
        const listening = once(socket, 'listening');
        socket.bind({ port: DISCOVERY_PORT, exclusive: true });
        await listening;
      } catch (error) {
        socket.close();
        this.#complain(family, `UDP port ${DISCOVERY_PORT}: ${errorText(error)}`);
        continue;
      }
      if (this.#stopped) {
        socket.close();
        return;
      }
      socket.on('message', this.#onMessage);
      socket.on('error', (error) => this.#complain(family, errorText(error)));
      this.#sockets.set(family, socket);
    }
    this.#drain();
  }

  /** Asking is for those who know nobody. */
  setConnected(isConnected: boolean): void {
    this.#engine.setConnected(isConnected, this.#options.clock.now());
    this.#drain();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wakeUp.disarm();
    const sockets = [...this.#sockets.values()];
    this.#sockets.clear();
    await Promise.all(sockets.map((socket) => new Promise<void>((done) => socket.close(done))));
  }

  readonly #onMessage = (packet: Uint8Array, { address, port }: RemoteInfo): void => {
    const ip = parseIp(address.replace(/%.*$/, ''));
    if (ip === undefined) return;
    this.#engine.receive(packet, { ip, port }, this.#options.clock.now());
    this.#drain();
  };

  #drain(): void {
    for (let output = this.#engine.poll(); output !== undefined; output = this.#engine.poll()) {
      if (output.type === 'event') this.#options.onFound(output.event);
      else this.#send(output.packet, output.to);
    }
    if (this.#sockets.size > 0) this.#wakeUp.arm(this.#engine.nextTimeout());
  }

  #send(packet: Uint8Array, to: Address): void {
    const family = familyOf(to);
    const socket = this.#sockets.get(family);
    if (socket === undefined) return;
    if (to !== DISCOVERY_GROUP[family]) {
      // To somebody who asked. If it cannot be reached it asks again.
      socket.send(packet, to.port, formatIp(to.ip), () => {});
      return;
    }
    try {
      const links = this.#links(family);
      if (links.length === 0) this.#complain(family, 'no network interface is up');
      for (const link of links) this.#sendToGroup(socket, packet, to, link);
    } catch (error) {
      // A sandbox without netlink keeps the list of interfaces from us.
      this.#complain(family, errorText(error));
    }
  }

  /** Join the group on `link`, if that is not done yet, and send to those who are there. */
  #sendToGroup(socket: Socket, packet: Uint8Array, group: Address, link: string): void {
    const ip = formatIp(group.ip);
    try {
      socket.addMembership(ip, link);
    } catch {
      // Already joined, mostly. Where it cannot be joined, sending says so.
    }
    const family = familyOf(group);
    try {
      socket.setMulticastInterface(link);
      socket.send(packet, group.port, ip, (error) => {
        if (error !== null) this.#complain(family, `${link}: ${errorText(error)}`);
      });
    } catch (error) {
      // It went away since it was listed; the others remain.
      this.#complain(family, `${link}: ${errorText(error)}`);
    }
  }

  /** The interfaces of now, as the calls want them named: of IPv4 by their address, of IPv6 by their name. */
  #links(family: Family): string[] {
    const bound = this.#options.families.get(family)?.ip ?? new Uint8Array(0);
    const isAny = bound.every((byte) => byte === 0);
    const links = new Set<string>();
    for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
      for (const { address, internal, family: itsFamily } of addresses) {
        const ip = parseIp(address);
        if (internal || itsFamily !== `IPv${family}` || ip === undefined) continue;
        if (isAny || sameIp(ip, bound)) links.add(family === 4 ? address : `::%${name}`);
      }
    }
    return [...links];
  }

  #complain(family: Family, why: string): void {
    const trouble = `${family} ${why}`;
    if (this.#told.has(trouble)) return;
    this.#told.set(trouble, true);
    this.#options.log.notice('no nodes of the local network are looked for', { family, why });
  }

  stats() {
    return this.#engine.stats();
  }
}
