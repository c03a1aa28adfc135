import type { Config } from './config/config.ts';
import type { DhtNodeOptions } from './dht/udp.ts';

/** The section `dht` of the configuration, as the node takes it. */
export function dhtSettings({
  dht,
}: Config): Pick<
  DhtNodeOptions,
  'network' | 'bind' | 'port' | 'bootstrap' | 'rateLimit' | 'peerDiscovery' | 'republish' | 'client'
> {
  return {
    network: dht.network,
    bind: dht.bind6 === undefined ? [dht.bind] : [dht.bind, dht.bind6],
    port: dht.port,
    bootstrap: dht.bootstrap,
    rateLimit: dht.rateLimit,
    peerDiscovery: dht.peerDiscovery,
    republish: dht.republish,
    client: dht.client,
  };
}
