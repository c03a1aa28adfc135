import { join } from 'node:path';
import type { AudioDevice, AudioState } from './audio/device.ts';
import { loadOpus } from './audio/load-opus.ts';
import { openAudioDevice } from './audio/open-device.ts';
import { Ringer } from './audio/ringer.ts';
import { parseIp } from './base/address.ts';
import { doneWithin, type Millis, readClock } from './base/clock.ts';
import { errorText } from './base/errors.ts';
import { type Logger, shortId } from './base/log.ts';
import { openPrivateFolder } from './base/store.ts';
import { CallDriver } from './call/call-driver.ts';
import { Calls } from './call/calls.ts';
import { WebRtcTransport } from './call/webrtc.ts';
import { CallVoices } from './call-voice.ts';
import { carryOut } from './commands.ts';
import type { Config } from './config/config.ts';
import { ContactStore } from './contact/contact-store.ts';
import { Contacts, decide } from './contact/contacts.ts';
import { openMessageStore } from './contact/message-store.ts';
import { Messages } from './contact/messages.ts';
import { ControlServer } from './control/server.ts';
import { ControlDesk } from './control-handlers.ts';
import type { DhtState } from './dht/events.ts';
import { InfoHash } from './dht/infohash.ts';
import { DhtNode } from './dht/udp.ts';
import { DhtDesk } from './dht-desk.ts';
import { dhtIdentity } from './dht-identity.ts';
import { dhtSettings } from './dht-settings.ts';
import type { AgentEvent } from './events.ts';
import { iceServers } from './ice-servers.ts';
import { openIdentity } from './identity/keystore.ts';
import { SecureDht } from './identity/secure-dht.ts';
import { SignatureVerifier } from './identity/signature.ts';
import { createValuePolicy } from './identity/value-policy.ts';
import { MessageDesk } from './message-desk.ts';
import { type MqttPart, startMqtt } from './mqtt-part.ts';
import { SealedPost } from './sealed-post.ts';
import type { Station, StationDeps } from './station.ts';
import { stationStatus } from './status.ts';
import { Stops } from './stops.ts';

/** At the end: how long the last signals may take to reach a node of the DHT. */
const FLUSH_MS: Millis = 500;

/**
 * THE assembly: every part is made here, its events are routed here, and it is started and stopped in the right order.
 * @throws {AgentError} see `RunStation`
 */
export async function runStation(config: Config, deps: StationDeps): Promise<Station> {
  const { clock, random, logger: log, systemd, onProgress } = deps;
  const stops = new Stops(log);

  try {
    await openPrivateFolder(config.state);

    // First, because it also finds out whether a station runs here already.
    const desk = new ControlDesk();
    const dhtDesk = new DhtDesk();
    const control = new ControlServer({
      path: config.control,
      handlers: { ...desk.handlers, ...dhtDesk.handlers },
      logger: log.child('control'),
    });
    await control.start();
    stops.add(() => control.stop());

    const identity = await openIdentity({
      state: config.state,
      clock,
      random,
      onProgress: ({ made, of, elapsedMs }) =>
        onProgress(
          `making the identity: ${made} of ${of} RSA-4096 keys, ${(elapsedMs / 1000).toFixed(1)} s`,
        ),
      onNotice: (sentence) => log.warn(sentence),
    });
    stops.add(async () => identity.devicePrivateKey.close());

    const contacts = new Contacts(identity.accountId);
    for (const contact of config.contacts) contacts.add(contact, 'config');
    const contactStore = new ContactStore(config.state, clock);
    for (const notice of await contactStore.load(contacts)) log.warn(notice);

    let dhtState: DhtState = { state: 'disconnected', peers4: 0, peers6: 0 };
    let audioState: AudioState = 'ok';
    let mqtt: MqttPart | undefined;
    const dispatch = (event: AgentEvent) => {
      if (event.type === 'dht.state') dhtState = event;
      if (event.type === 'audio.state') audioState = event.state;
      if (event.type === 'call.incoming' && !event.autoAnswer && hasSpeaker) ringer.ring();
      if (event.type === 'call.phase' && event.call.phase !== 'incoming') void ringer.silence();
      logEvent(log, event);
      desk.onEvent(event);
      control.broadcast(event);
      mqtt?.publish(event);
    };

    const verifier = new SignatureVerifier();
    const dht = new DhtNode({
      // The node id of a node with an identity (opendht.md 2).
      id: InfoHash.of(`node:${identity.device.shortId.hex}`),
      ...dhtSettings(config),
      policy: createValuePolicy(verifier),
      stateFile: join(config.state, 'dht.state'),
      onState: (state) => dispatch({ type: 'dht.state', ...state }),
      log: log.child('dht'),
      clock,
      random,
    });
    const secureDht = new SecureDht({
      dht,
      identity,
      random,
      now: () => clock.now(),
      unixMs: () => clock.unixMs(),
      isKnownAccount: (accountId) => contacts.byAccount(accountId) !== undefined,
      verifier,
    });
    const post = new SealedPost(secureDht, identity.device, log.child('post'));

    const device: AudioDevice = await openAudioDevice(config.audio, { log: log.child('audio') });
    const ringer = new Ringer(device, log.child('audio'));
    // Any other device is a file or nothing: ringing into it would empty the recording of the last call.
    const hasSpeaker = config.audio.device === 'alsa' && device.state === 'ok';
    /** The station's own device, taken over from the ringing tone. */
    const voiceDevice: AudioDevice = {
      description: device.description,
      state: device.state,
      open: async () => {
        await ringer.silence();
        return device.open();
      },
    };
    const voices = new CallVoices({
      loadCodec: loadOpus,
      device: (callId) => desk.streamOf(callId) ?? voiceDevice,
      clock,
      random,
      log: log.child('audio'),
      onAudioState: (state) => {
        if (state !== audioState) dispatch({ type: 'audio.state', state });
      },
    });

    const own = { accountId: identity.accountId, deviceId: identity.device.deviceId };
    const policy = {
      decide: (accountId: string) => decide(contacts.byAccount(accountId), 'ring'),
      nameOf: (accountId: string) => contacts.byAccount(accountId)?.name ?? 'unknown',
    };
    const calls = new CallDriver({
      calls: new Calls(own, policy, random, readClock(clock)),
      transport: new WebRtcTransport({
        iceServers: iceServers(config.ice),
        ...mediaAddress(config),
        clock,
        random,
      }),
      signalling: post,
      voice: voices,
      onEvent: dispatch,
      clock,
      log: log.child('call'),
    });

    const messageStore = openMessageStore(config.state, clock);
    const history = await messageStore.load();
    if (history.notice !== undefined) log.warn(history.notice);
    const messages = new MessageDesk({
      messages: new Messages({ random, history: history.value?.messages ?? [] }),
      store: messageStore,
      post,
      clock,
      log: log.child('messages'),
      onEvent: dispatch,
    });

    await dht.start();
    stops.add(() => dht.stop());
    stops.add(() => messages.stop());
    stops.add(async () => secureDht.close());
    mqtt = await startMqtt(config, {
      identity,
      clock,
      random,
      logger: log.child('mqtt'),
      handle: (command) => carryOut({ contacts, calls, messages }, command),
    });
    stops.add(async () => mqtt?.stop());
    // What was known before there was anybody to tell: the DHT may be connected by now.
    dispatch({ type: 'audio.state', state: device.state });
    dispatch({ type: 'dht.state', ...dhtState });
    stops.add(async () => {
      await calls.shutdown();
      await Promise.all([
        voices.settled(),
        ringer.silence(),
        doneWithin(post.flushed(), FLUSH_MS, clock),
      ]);
    });

    // Only now: the house hears of every call and text that is taken.
    post.listen({
      onSignal: (bytes, from) => calls.receiveSignal(bytes, from),
      onText: (message, from) => {
        const contact = contacts.byAccount(from.accountId);
        // Strangers are not told that they are: private mode.
        if (contact === undefined) return log.debug('a text of a stranger was dropped');
        messages.receive({ peer: contact.name, ...from }, message);
      },
    });
    secureDht.publish().catch((error: unknown) => {
      log.error('this station cannot be found by others', { why: errorText(error) });
    });

    const status = stationStatus({
      config,
      accountId: identity.accountId,
      startedAt: clock.now(),
      clock,
      dht,
      dhtState: () => dhtState,
      mqtt,
      device,
      audioState: () => audioState,
      calls,
      parts: { secureDht, post, voices, messages, contacts, control, dhtDesk },
    });
    dhtDesk.ready({
      dht,
      clock,
      random,
      verify: (value) => verifier.verify(value),
      identity: dhtIdentity({ secureDht, contacts }),
    });
    desk.ready({ ...own, clock, contacts, contactStore, calls, messages, status });

    const unwatch = systemd.runWatchdog(clock, livelinessCheck(voices));
    stops.add(async () => {
      unwatch();
      systemd.stopping();
      dispatch({ type: 'system', kind: 'stopping' }); // while there is somebody to tell
    });
    const dhtAddress = `${config.dht.bind}:${dht.port}`;
    systemd.ready(`station ${shortId(identity.accountId)}, DHT ${dhtAddress}`);
    dispatch({ type: 'system', kind: 'started' });

    return {
      ready: {
        mode: 'station',
        id: identity.accountId,
        dht: dhtAddress,
        mqtt: mqtt.description,
        sound: device.description,
      },
      stop: () => stops.run(),
    };
  } catch (error) {
    await stops.run();
    throw error;
  }
}

/** A station that listens on one address only keeps its media there too; one that listens everywhere lets ICE choose. */
function mediaAddress({ dht }: Config): { bindAddress?: string } {
  const ip = parseIp(dht.bind);
  return ip === undefined || ip.every((byte) => byte === 0) ? {} : { bindAddress: dht.bind };
}

/**
 * For the watchdog: it asks from a timer, so the event loop runs; and in a call frames must have been said since it asked
 * last, or the sound path hangs.
 */
function livelinessCheck(voices: CallVoices): () => boolean {
  let before = voices.stats();
  return () => {
    const now = voices.stats();
    const stuck = before['voices'] === 1 && now['voices'] === 1 && before['sent'] === now['sent'];
    before = now;
    return !stuck;
  };
}

function logEvent(log: Logger, event: AgentEvent): void {
  switch (event.type) {
    case 'call.incoming':
    case 'call.ringing':
    case 'call.answered':
      log.info(event.type, { call: event.call.callId, peer: event.call.peer });
      break;
    case 'call.ended':
    case 'call.missed':
    case 'call.rejected':
    case 'call.failed':
      log.info(event.type, {
        call: event.call.callId,
        peer: event.call.peer,
        reason: event.reason,
        seconds: event.durationS,
      });
      break;
    case 'message':
      log.info(`message ${event.message.state}`, { peer: event.message.peer });
      break;
    case 'security':
      log.notice(event.kind, { count: event.count });
      break;
    case 'audio.state':
    case 'dht.state':
    case 'system':
      log.debug(event.type, { state: 'state' in event ? event.state : event.kind });
      break;
    case 'call.phase':
      break; // the events above tell the story
    default:
      event satisfies never;
  }
}
