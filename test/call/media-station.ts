import { OPUS_PAYLOAD_TYPE } from '../../agent/audio/rtp.ts';
import { systemClock } from '../../agent/base/clock.ts';
import { type Logger, silentLogger } from '../../agent/base/log.ts';
import { systemRandom } from '../../agent/base/random.ts';
import type { CallPolicy } from '../../agent/call/admission.ts';
import { CallDriver } from '../../agent/call/call-driver.ts';
import { Calls } from '../../agent/call/calls.ts';
import type { MediaConnection } from '../../agent/call/media.ts';
import type { DeviceRef } from '../../agent/call/ring-group.ts';
import { WebRtcTransport } from '../../agent/call/webrtc.ts';
import type { CallEvent, SecurityEvent } from '../../agent/events.ts';

export function device(digit: string): DeviceRef {
  return { accountId: digit.repeat(40), deviceId: digit.repeat(64) };
}

export interface MediaStationOptions {
  readonly own: DeviceRef;
  readonly send: (to: DeviceRef, bytes: Uint8Array) => void;
  readonly log?: Logger;
}

/**
 * A station's calls with real media on loopback; whoever makes it carries the signals. It answers
 * by itself.
 */
export class MediaStation {
  readonly driver: CallDriver;
  readonly events: (CallEvent | SecurityEvent)[] = [];
  readonly #waiting = new Set<() => void>();
  #pacer: NodeJS.Timeout | undefined;
  connection: MediaConnection | undefined;
  /** RTP packets heard, whole. */
  readonly heard: Uint8Array[] = [];

  constructor({ own, send, log = silentLogger }: MediaStationOptions) {
    const policy: CallPolicy = { decide: () => 'answer', nameOf: () => 'peer' };
    this.driver = new CallDriver({
      calls: new Calls(own, policy, systemRandom),
      transport: new WebRtcTransport({
        iceServers: [],
        bindAddress: '127.0.0.1',
        clock: systemClock,
        random: systemRandom,
      }),
      clock: systemClock,
      log,
      onEvent: (event) => {
        this.events.push(event);
        for (const check of this.#waiting) check();
      },
      signalling: {
        send,
        findDevices: (accountId, onDevice, onDone) => {
          setImmediate(() => {
            onDevice(device(accountId.charAt(0)));
            onDone();
          });
          return { cancel: () => {} };
        },
      },
      voice: {
        start: (_callId, connection) => this.#startVoice(connection),
        stop: () => clearInterval(this.#pacer),
        quality: () => undefined,
      },
    });
  }

  /** The first event of `type` after this call, or one that is there already. */
  event<Type extends (CallEvent | SecurityEvent)['type']>(
    type: Type,
  ): Promise<Extract<CallEvent | SecurityEvent, { type: Type }>> {
    return new Promise((resolve) => {
      const check = () => {
        const event = this.events.find((candidate) => candidate.type === type);
        if (event === undefined) return;
        this.#waiting.delete(check);
        resolve(event as Extract<CallEvent | SecurityEvent, { type: Type }>);
      };
      this.#waiting.add(check);
      check();
    });
  }

  #startVoice(connection: MediaConnection): void {
    this.connection = connection;
    connection.onRtp((packet) => this.heard.push(packet));
    let sequence = 0;
    this.#pacer = setInterval(() => {
      connection.sendRtp(rtpPacket(connection.localSsrc, sequence));
      sequence++;
    }, 20);
  }
}

/**
 * 20 ms of Opus as RTP (RFC 3550 section 5.1): 12 bytes of header, 60 that say which packet it is.
 */
export function rtpPacket(ssrc: number, sequence: number): Uint8Array {
  const packet = new Uint8Array(72).fill(sequence & 255, 12);
  const view = new DataView(packet.buffer);
  packet[0] = 0x80;
  packet[1] = OPUS_PAYLOAD_TYPE;
  view.setUint16(2, sequence & 0xffff);
  view.setUint32(4, sequence * 960);
  view.setUint32(8, ssrc);
  return packet;
}

/** Two stations in this process; signals take `delayMs`. */
export function pair(delayMs: number): { a: MediaStation; b: MediaStation; sent: Uint8Array[] } {
  const sent: Uint8Array[] = [];
  const [refA, refB] = [device('a'), device('b')];
  const a: MediaStation = new MediaStation({
    own: refA,
    send: (_to, bytes) => {
      sent.push(bytes);
      setTimeout(() => b.driver.receiveSignal(bytes, refA), delayMs);
    },
  });
  const b: MediaStation = new MediaStation({
    own: refB,
    send: (_to, bytes) => {
      sent.push(bytes);
      setTimeout(() => a.driver.receiveSignal(bytes, refB), delayMs);
    },
  });
  return { a, b, sent };
}
