import { OPUS_PAYLOAD_TYPE } from '../audio/rtp.ts';
import type { Library } from './libdatachannel.ts';
import { MAX_CONTROL_BYTES } from './limits.ts';
import { AUDIO_MID, OPUS_FORMAT } from './sdp.ts';

/**
 * One connection of the library with its track and its channel, made safe: what ends the process
 * when it is done in another order, without a handler or with an exception (webrtc-sip.md 3) is
 * done right here, once.
 */

type PeerConnection = InstanceType<Library['PeerConnection']>;
type Track = InstanceType<Library['Track']>;
type DataChannel = ReturnType<PeerConnection['createDataChannel']>;
export type PeerConfig = Pick<
  ConstructorParameters<Library['PeerConnection']>[1],
  'iceServers' | 'bindAddress'
>;
export type ControlMessage = string | Buffer | ArrayBuffer;

/** Called on the main thread; until, and for a moment after, `close`. */
export interface PeerHandlers {
  /** All candidates of ours are in `localDescription`. */
  onGathered(): void;
  onCandidate(line: string): void;
  onTrackOpen(): void;
  onPacket(packet: Buffer): void;
  onControl(message: ControlMessage): void;
  /** Control frames can be sent from now on. */
  onChannelOpen(): void;
  /** The far side closed the channel, or we did. */
  onChannelClosed(): void;
  onFailed(message: string): void;
  /** The far side opened a channel that nobody agreed on; it was closed. */
  onStrangeChannel(): void;
}

/**
 * Objects that the library has not called closed yet. It calls into a wrapper that was collected
 * before that, and so would `cleanup`: its list of wrappers loses only those whose closed callback
 * is set and has run. Both end the process.
 */
const retained = new Set<object>();

/** How many objects of the library are not closed: 3 per connection. */
export function openObjects(): number {
  return retained.size;
}

export class NativePeer {
  readonly #pc: PeerConnection;
  readonly #track: Track;
  readonly #channel: DataChannel;
  readonly #closed: Promise<void>;

  /** @throws {Error} in the library's words, for a config that it does not like */
  constructor(library: Library, config: PeerConfig, ssrc: number, handlers: PeerHandlers) {
    const pc = new library.PeerConnection('doorward', {
      ...config,
      // The library would negotiate on its own and answer without our SSRC.
      disableAutoNegotiation: true,
      maxMessageSize: MAX_CONTROL_BYTES,
    });
    const audio = new library.Audio(AUDIO_MID, 'SendRecv');
    audio.addOpusCodec(OPUS_PAYLOAD_TYPE, OPUS_FORMAT);
    audio.addSSRC(ssrc, 'doorward', 'voice', 'voice');
    // Before setRemoteDescription, and without onTrack: two wrappers of one track silence each
    // other.
    const track = pc.addTrack(audio);
    const channel = pc.createDataChannel('control', { negotiated: true, id: 0 });

    const pcClosed = new Promise<void>((resolve) => {
      retained.add(pc);
      pc.onStateChange(
        callback((state: string) => {
          if (state === 'closed') release(pc, resolve);
          if (state === 'failed' || state === 'closed') handlers.onFailed(`connection ${state}`);
        }),
      );
    });
    const trackClosed = retainUntilClosed(track);
    const channelClosed = retainUntilClosed(channel, () => handlers.onChannelClosed());
    this.#closed = Promise.all([pcClosed, trackClosed, channelClosed]).then(() => {});

    pc.onGatheringStateChange(
      callback((state: string) => {
        if (state === 'complete') handlers.onGathered();
      }),
    );
    pc.onLocalCandidate(callback((line: string) => handlers.onCandidate(line)));
    pc.onDataChannel(
      callback((strange: DataChannel) => {
        void retainUntilClosed(strange);
        strange.close();
        handlers.onStrangeChannel();
      }),
    );
    track.onOpen(callback(() => handlers.onTrackOpen()));
    track.onMessage(callback((packet: Buffer) => handlers.onPacket(packet)));
    channel.onOpen(callback(() => handlers.onChannelOpen()));
    channel.onMessage(callback((message: ControlMessage) => handlers.onControl(message)));
    this.#pc = pc;
    this.#track = track;
    this.#channel = channel;
  }

  // These throw an Error in the library's words: broken SDP, wrong state, closed meanwhile.

  offer(): void {
    this.#pc.setLocalDescription('offer');
  }

  answer(offer: string): void {
    this.#pc.setRemoteDescription(offer, 'offer');
    this.#pc.setLocalDescription('answer');
  }

  accept(answer: string): void {
    this.#pc.setRemoteDescription(answer, 'answer');
  }

  /** After the remote description. @param line `candidate:…` */
  addCandidate(line: string): void {
    this.#pc.addRemoteCandidate(`a=${line}`, AUDIO_MID);
  }

  localDescription(): { readonly type: string; readonly sdp: string } {
    const description = this.#pc.localDescription();
    if (description === null) throw new Error('no local description');
    return description;
  }

  /** Types of the chosen candidate pair. */
  path(): { readonly local: string; readonly remote: string } | undefined {
    const pair = this.#pc.getSelectedCandidatePair();
    return pair === null ? undefined : { local: pair.local.type, remote: pair.remote.type };
  }

  // These say false when there is nothing open to send on.

  sendPacket(packet: Uint8Array): boolean {
    const { buffer, byteOffset, length } = packet;
    return sent(() => this.#track.sendMessageBinary(Buffer.from(buffer, byteOffset, length)));
  }

  sendControl(frame: Uint8Array): boolean {
    return sent(() => this.#channel.isOpen() && this.#channel.sendMessageBinary(frame));
  }

  /**
   * Close channel, track and connection, in this order: any other leaks 37 kB. Not from inside a
   * handler.
   * @returns when the library has called all three closed
   */
  close(): Promise<void> {
    for (const part of [this.#channel, this.#track, this.#pc]) {
      try {
        part.close();
      } catch {
        // Closed already; the library says so by throwing.
      }
    }
    return this.#closed;
  }
}

function retainUntilClosed(part: Track | DataChannel, onClosed = () => {}): Promise<void> {
  return new Promise((resolve) => {
    retained.add(part);
    part.onClosed(
      callback(() => {
        release(part, resolve);
        onClosed();
      }),
    );
  });
}

function release(part: object, resolve: () => void): void {
  retained.delete(part);
  resolve();
}

function sent(send: () => boolean): boolean {
  try {
    return send();
  } catch {
    return false; // closed under our hands; the event that says so is on its way
  }
}

/**
 * Every callback of the library goes through here. An exception that reached it would abort the
 * process; one of ours is a bug, and is thrown where Node can show it.
 */
function callback<Arguments extends unknown[]>(
  handle: (...values: Arguments) => void,
): (...values: Arguments) => void {
  return (...values) => {
    try {
      handle(...values);
    } catch (error) {
      setImmediate(() => {
        throw error;
      });
    }
  };
}
