import { AgentError } from '../base/errors.ts';
import { type NativeLibrary, openLibrary } from '../base/native.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from './device.ts';
import { MAX_OPUS_PACKET_BYTES } from './limits.ts';
import { OPUS_SETTINGS, type OpusBackend, type OpusCodec } from './opus.ts';

/** Driver for Debian's libopus. Names and numbers: opus_defines.h and opus.h of libopus 1.3.1. */

const OPUS_OK = 0;
const OPUS_APPLICATION_VOIP = 2048;
const OPUS_SIGNAL_VOICE = 3001;

const ENCODER_SETTINGS: readonly (readonly [name: string, request: number, value: number])[] = [
  ['OPUS_SET_BITRATE', 4002, OPUS_SETTINGS.bitrate],
  ['OPUS_SET_COMPLEXITY', 4010, OPUS_SETTINGS.complexity],
  ['OPUS_SET_INBAND_FEC', 4012, 1],
  ['OPUS_SET_PACKET_LOSS_PERC', 4014, OPUS_SETTINGS.expectedLossPct],
  ['OPUS_SET_DTX', 4016, 0],
  ['OPUS_SET_SIGNAL', 4024, OPUS_SIGNAL_VOICE],
];

/** Pointers are handed through as koffi gives them: bigint on every platform. */
type Pointer = bigint;

/** The functions we call. Buffers go in by address and are read or written before the call returns. */
interface LibopusFunctions {
  readonly versionString: () => string;
  readonly strerror: (code: number) => string;
  readonly encoderCreate: (
    rateHz: number,
    channels: number,
    application: number,
    error: Int32Array,
  ) => Pointer;
  readonly encoderCtl: (encoder: Pointer, request: number, type: 'int', value: number) => number;
  readonly encode: (
    encoder: Pointer,
    pcm: Int16Array,
    samples: number,
    out: Uint8Array,
    outBytes: number,
  ) => number;
  readonly encoderDestroy: (encoder: Pointer) => void;
  readonly decoderCreate: (rateHz: number, channels: number, error: Int32Array) => Pointer;
  readonly decode: (
    decoder: Pointer,
    packet: Uint8Array | null,
    bytes: number,
    out: Int16Array,
    samples: number,
    fec: number,
  ) => number;
  readonly decoderDestroy: (decoder: Pointer) => void;
}

function bind(library: NativeLibrary): LibopusFunctions {
  return {
    versionString: library.func('opus_get_version_string', 'str', []),
    strerror: library.func('opus_strerror', 'str', ['int']),
    encoderCreate: library.func('opus_encoder_create', 'void *', ['int', 'int', 'int', 'void *']),
    encoderCtl: library.func('int opus_encoder_ctl(void *st, int request, ...)'),
    encode: library.func('opus_encode', 'int', ['void *', 'void *', 'int', 'void *', 'int']),
    encoderDestroy: library.func('opus_encoder_destroy', 'void', ['void *']),
    decoderCreate: library.func('opus_decoder_create', 'void *', ['int', 'int', 'void *']),
    decode: library.func('opus_decode', 'int', ['void *', 'void *', 'int', 'void *', 'int', 'int']),
    decoderDestroy: library.func('opus_decoder_destroy', 'void', ['void *']),
  };
}

/** @throws {AgentError} `native-unavailable`, naming the Debian package, when libopus or koffi is missing */
export function openLibopus(): OpusBackend {
  const opus = bind(openLibrary('opus'));
  return { description: opus.versionString(), open: () => new LibopusCodec(opus) };
}

class LibopusCodec implements OpusCodec {
  readonly #opus: LibopusFunctions;
  readonly #packet = new Uint8Array(MAX_OPUS_PACKET_BYTES);
  #handles: { readonly encoder: Pointer; readonly decoder: Pointer } | undefined;

  /** @throws {AgentError} `codec-failed` when libopus has no memory or refuses a setting */
  constructor(opus: LibopusFunctions) {
    this.#opus = opus;
    const error = new Int32Array(1);
    const encoder = opus.encoderCreate(SAMPLE_RATE_HZ, 1, OPUS_APPLICATION_VOIP, error);
    this.#check('opus_encoder_create', error[0] ?? OPUS_OK);
    try {
      for (const [name, request, value] of ENCODER_SETTINGS) {
        this.#check(name, opus.encoderCtl(encoder, request, 'int', value));
      }
      const decoder = opus.decoderCreate(SAMPLE_RATE_HZ, 1, error);
      this.#check('opus_decoder_create', error[0] ?? OPUS_OK);
      this.#handles = { encoder, decoder };
    } catch (failure) {
      opus.encoderDestroy(encoder);
      throw failure;
    }
  }

  encode(pcm: Int16Array): Uint8Array {
    // C reads and writes FRAME_SAMPLES whatever the array holds: a shorter one must never get there.
    if (pcm.length !== FRAME_SAMPLES) throw new RangeError(`${pcm.length} samples are no frame`);
    const { encoder } = this.#open();
    const bytes = this.#opus.encode(
      encoder,
      pcm,
      FRAME_SAMPLES,
      this.#packet,
      MAX_OPUS_PACKET_BYTES,
    );
    this.#check('opus_encode', bytes);
    return this.#packet.subarray(0, bytes);
  }

  decode(packet: Uint8Array, out: Int16Array): boolean {
    // A packet of no bytes would mean "conceal" to libopus.
    return packet.length > 0 && this.#decode(packet, out, 0) === FRAME_SAMPLES;
  }

  recover(next: Uint8Array, out: Int16Array): boolean {
    return next.length > 0 && this.#decode(next, out, 1) === FRAME_SAMPLES;
  }

  conceal(out: Int16Array): void {
    this.#check('opus_decode', this.#decode(null, out, 0));
  }

  close(): void {
    if (this.#handles === undefined) return;
    const { encoder, decoder } = this.#handles;
    this.#handles = undefined;
    this.#opus.encoderDestroy(encoder);
    this.#opus.decoderDestroy(decoder);
  }

  /** @returns samples written to `out`, or a negative error code */
  #decode(packet: Uint8Array | null, out: Int16Array, fec: number): number {
    if (out.length !== FRAME_SAMPLES) throw new RangeError(`${out.length} samples are no frame`);
    const { decoder } = this.#open();
    return this.#opus.decode(decoder, packet, packet?.length ?? 0, out, FRAME_SAMPLES, fec);
  }

  #open() {
    if (this.#handles === undefined) throw new Error('Opus codec used after close');
    return this.#handles;
  }

  #check(what: string, code: number): void {
    if (code >= OPUS_OK) return;
    throw new AgentError('codec-failed', `${what}: ${this.#opus.strerror(code)}`);
  }
}
