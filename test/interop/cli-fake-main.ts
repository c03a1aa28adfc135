import { AgentError } from '../../agent/base/errors.ts';
import { openPrivateFolder } from '../../agent/base/store.ts';
import type { Config } from '../../agent/config/config.ts';
import { type ControlPeer, ControlServer } from '../../agent/control/server.ts';
import type { CallEvent, CallPhase } from '../../agent/events.ts';
import type { Station, StationDeps } from '../../agent/station.ts';
import { fakeHandlers, STATION_ID } from '../control/fake-station.ts';

/**
 * `main.ts` with an assembly that has everything but the station: real process, real socket, and a callee that answers by
 * itself and says back what it hears. The node's name is what goes wrong: `hangs` never stops, `port` is in use.
 */
async function runStation(config: Config, deps: StationDeps): Promise<Station> {
  if (config.node === 'port') {
    throw new AgentError(
      'port-in-use',
      'UDP port 127.0.0.1:4222 is in use',
      'name another with dht.port',
    );
  }
  await openPrivateFolder(config.state);
  deps.onProgress('making keys');

  const call = (phase: CallPhase) => ({
    callId: 'c1',
    direction: 'outgoing' as const,
    phase,
    peer: 'echo',
    accountId: STATION_ID,
    sinceUnixMs: deps.clock.unixMs(),
  });
  let talking: ControlPeer | undefined;
  const end = (reason: 'hangup' | 'shutdown') => {
    if (talking === undefined) return;
    talking.onAudio(undefined);
    talking = undefined;
    server.broadcast({ type: 'call.ended', call: call('idle'), reason, durationS: 1 });
  };
  const emit = (type: 'call.ringing' | 'call.answered', phase: CallPhase) => {
    server.broadcast({ type, call: call(phase) } satisfies CallEvent);
  };
  const server = new ControlServer({
    path: config.control,
    logger: deps.logger,
    handlers: {
      ...fakeHandlers(),
      status: async () => {
        const status = await fakeHandlers().status({}, undefined as never);
        return { ...status, pid: process.pid, state: config.state };
      },
      call: async ({ for_ms }, client) => {
        talking = client;
        client.onAudio((pcm) => client.sendAudio(pcm));
        client.onClose(() => end('hangup'));
        setTimeout(() => emit('call.ringing', 'ringing'), 10);
        setTimeout(() => emit('call.answered', 'active'), 30);
        if (for_ms !== undefined) setTimeout(() => end('hangup'), 30 + for_ms);
        return { code: 'accepted', message: 'dialing', data: { call_id: 'c1' } };
      },
      send: async ({ to, text }) => {
        const record = { messageId: 'm1', peer: to, accountId: STATION_ID, text, unixMs: 0 };
        server.broadcast({ type: 'message', message: { ...record, state: 'delivered' } });
        return { code: 'accepted', message: 'queued', data: { message_id: 'm1' } };
      },
      hangup: async () => {
        end('hangup');
        return { code: 'ok', message: 'hung up' };
      },
    },
  });
  await server.start();
  return {
    ready: {
      mode: 'station',
      id: STATION_ID,
      dht: '127.0.0.1:46501',
      mqtt: 'off',
      sound: 'echo',
    },
    stop: async () => {
      if (config.node === 'hangs') await new Promise(() => {});
      end('shutdown');
      await server.stop();
    },
  };
}

const argv = process.argv.slice(2);
if (argv[0] === 'run') {
  const { runCommand } = await import('../../agent/run.ts');
  const assembly = async () => runStation;
  process.exit(await runCommand(argv.slice(1), { station: assembly, dhtOnly: assembly }));
}
const { cliProcess } = await import('../../agent/cli/process.ts');
process.exitCode = await cliProcess(argv);
