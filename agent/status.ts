import type { AudioDevice, AudioState } from './audio/device.ts';
import type { Clock, Millis } from './base/clock.ts';
import { VERSION } from './base/version.ts';
import type { CallDriver } from './call/call-driver.ts';
import type { Config } from './config/config.ts';
import type { StatusResult } from './control/protocol.ts';
import { toWire } from './control/wire-case.ts';
import type { DhtState } from './dht/events.ts';
import type { DhtNode } from './dht/udp.ts';
import { flatten } from './flatten.ts';
import type { MqttPart } from './mqtt-part.ts';

export interface StatusSources {
  readonly config: Config;
  readonly accountId: string;
  readonly startedAt: Millis;
  readonly clock: Clock;
  readonly dht: Pick<DhtNode, 'id' | 'port' | 'stats'>;
  readonly dhtState: () => DhtState;
  readonly mqtt: Pick<MqttPart, 'status' | 'stats'>;
  readonly device: Pick<AudioDevice, 'description'>;
  readonly audioState: () => AudioState;
  readonly calls: Pick<CallDriver, 'snapshots' | 'stats'>;
  /** Whatever has counters. */
  readonly parts: Readonly<Record<string, { stats(): object }>>;
}

/** `doorward status`: one snapshot of every part, sizes beside their limits. */
export function stationStatus(sources: StatusSources): () => StatusResult {
  const { config, accountId, startedAt, clock, dht, mqtt, device, calls, parts } = sources;
  return () => {
    const { state, peers4, peers6 } = sources.dhtState();
    const stats = Object.entries(parts).map(([name, part]) => [name, flatten(part.stats())]);
    return {
      mode: 'station',
      pid: process.pid,
      version: VERSION,
      node: config.node,
      id: accountId,
      uptime_s: Math.round((clock.now() - startedAt) / 1000),
      state: config.state,
      dht: {
        id: dht.id.hex,
        address: `${config.dht.bind}:${dht.port}`,
        network: config.dht.network,
        state,
        peers4,
        peers6,
      },
      mqtt: mqtt.status(),
      audio: { description: device.description, state: sources.audioState() },
      calls: calls.snapshots().map(toWire),
      memory: { rss_bytes: process.memoryUsage.rss() },
      stats: {
        ...Object.fromEntries(stats),
        dht: flatten(dht.stats()),
        calls: flatten(calls.stats()),
        mqtt: mqtt.stats(),
      },
    };
  };
}
