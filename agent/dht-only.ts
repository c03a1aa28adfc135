import { join } from 'node:path';
import { openPrivateFolder } from './base/store.ts';
import { VERSION } from './base/version.ts';
import type { Config } from './config/config.ts';
import type { StatusResult } from './control/protocol.ts';
import { ControlServer } from './control/server.ts';
import type { DhtState } from './dht/events.ts';
import { INFOHASH_BYTES, InfoHash } from './dht/infohash.ts';
import { savedNodeId } from './dht/state-keeper.ts';
import { DhtNode } from './dht/udp.ts';
import { DhtDesk } from './dht-desk.ts';
import { dhtSettings } from './dht-settings.ts';
import { flatten } from './flatten.ts';
import { SignatureVerifier } from './identity/signature.ts';
import { createValuePolicy } from './identity/value-policy.ts';
import type { Station, StationDeps } from './station.ts';
import { Stops } from './stops.ts';

/**
 * The assembly of `doorward run --dht-only`: a public node of the DHT with a control socket. It has no identity, and loads
 * nothing that calls, sound, MQTT and contacts are made of.
 * @throws {AgentError} see `RunStation`
 */
export async function runDhtOnly(config: Config, deps: StationDeps): Promise<Station> {
  const { clock, random, logger: log, systemd, isForOneCommand } = deps;
  const stops = new Stops(log);
  const startedAt = clock.now();
  try {
    const desk = new DhtDesk();
    let dhtState: DhtState = { state: 'disconnected', peers4: 0, peers6: 0 };
    const verifier = new SignatureVerifier();
    const stateFile = isForOneCommand ? undefined : await openState(config);
    const savedId = stateFile === undefined ? undefined : await savedNodeId(stateFile);
    const dht = new DhtNode({
      id: savedId ?? new InfoHash(random.bytes(INFOHASH_BYTES)),
      ...dhtSettings(config),
      ...(stateFile !== undefined && { stateFile }),
      policy: createValuePolicy(verifier),
      onState: (state) => {
        dhtState = state;
        control.broadcast({ type: 'dht.state', ...state });
      },
      log: log.child('dht'),
      clock,
      random,
    });
    const address = () => `${config.dht.bind}:${dht.port}`;
    const status = (): StatusResult => ({
      mode: 'dht-only',
      pid: process.pid,
      version: VERSION,
      node: config.node,
      uptime_s: Math.round((clock.now() - startedAt) / 1000),
      state: config.state,
      dht: { id: dht.id.hex, address: address(), network: config.dht.network, ...dhtState },
      memory: { rss_bytes: process.memoryUsage.rss() },
      stats: {
        dht: flatten(dht.stats()),
        control: flatten(control.stats()),
        dhtDesk: flatten(desk.stats()),
      },
    });
    const control = new ControlServer({
      path: config.control,
      handlers: {
        version: async () => ({ version: VERSION, node: process.version }),
        status: async () => status(),
        ...desk.handlers,
      },
      logger: log.child('control'),
    });
    await control.start();
    stops.add(() => control.stop());
    await dht.start();
    stops.add(() => dht.stop());
    desk.ready({
      dht,
      clock,
      random,
      verify: (value) => verifier.verify(value),
      identity: undefined,
    });

    // It asks from a timer: that the event loop runs is all there is to know.
    const unwatch = systemd.runWatchdog(clock, () => true);
    stops.add(async () => {
      unwatch();
      systemd.stopping();
    });
    systemd.ready(`DHT node ${dht.id.hex}, ${address()}`);
    return {
      ready: { mode: 'dht-only', id: dht.id.hex, dht: address() },
      stop: () => stops.run(),
    };
  } catch (error) {
    await stops.run();
    throw error;
  }
}

/** @returns the path of the state file, in a folder that can be written. @throws {AgentError} `store-unusable` */
async function openState({ state }: Config): Promise<string> {
  await openPrivateFolder(state);
  // Not the file of a station that uses the same folder: two nodes must not have one id.
  return join(state, 'dht-only.state');
}
