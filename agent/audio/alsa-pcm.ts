import { koffi, type NativeLibrary, openLibrary } from '../base/native.ts';
import { SAMPLE_RATE_HZ } from './device.ts';
import { type Pcm, type PcmDirection, PcmError } from './pcm.ts';

/**
 * Driver for libasound through koffi: one direction of one card, never blocking. Names and numbers: alsa/pcm.h of
 * libasound 1.2.8. Every negative return is an errno; a handle is used only after `snd_pcm_open` gave 0, because libasound
 * aborts the process on a null one.
 */

const STREAM: Record<PcmDirection, number> = { playback: 0, capture: 1 };
const SND_PCM_NONBLOCK = 1;
const SND_PCM_FORMAT_S16_LE = 2;
const SND_PCM_ACCESS_RW_INTERLEAVED = 3;
const CHANNELS = 1;
const SOFT_RESAMPLE = 1;

/** Size of the buffer we ask for; the card may round it. Six frames: three that wait, three that a stall is made up with. */
const BUFFER_US = 120_000;

type Handle = bigint;
type Call = ReturnType<NativeLibrary['func']>;

interface AlsaFunctions {
  readonly open: Call;
  readonly setParams: Call;
  readonly getParams: Call;
  readonly availUpdate: Call;
  readonly readi: Call;
  readonly writei: Call;
  readonly start: Call;
  readonly prepare: Call;
  readonly drop: Call;
  readonly close: Call;
  readonly strerror: Call;
}

export class Alsa {
  readonly #alsa: AlsaFunctions;

  private constructor(alsa: AlsaFunctions) {
    this.#alsa = alsa;
  }

  /** @throws {AgentError} `native-unavailable`, naming the Debian package, when libasound or koffi is missing */
  static load(): Alsa {
    const library = openLibrary('alsa');
    silence(library);
    return new Alsa({
      open: library.func('snd_pcm_open', 'int', ['void *', 'str', 'int', 'int']),
      setParams: library.func('snd_pcm_set_params', 'int', [
        'void *',
        'int',
        'int',
        'uint',
        'uint',
        'int',
        'uint',
      ]),
      getParams: library.func('snd_pcm_get_params', 'int', ['void *', 'void *', 'void *']),
      availUpdate: library.func('snd_pcm_avail_update', 'long', ['void *']),
      readi: library.func('snd_pcm_readi', 'long', ['void *', 'void *', 'ulong']),
      writei: library.func('snd_pcm_writei', 'long', ['void *', 'void *', 'ulong']),
      start: library.func('snd_pcm_start', 'int', ['void *']),
      prepare: library.func('snd_pcm_prepare', 'int', ['void *']),
      drop: library.func('snd_pcm_drop', 'int', ['void *']),
      close: library.func('snd_pcm_close', 'int', ['void *']),
      strerror: library.func('snd_strerror', 'str', ['int']),
    });
  }

  /** What an errno means. */
  describe(errno: number): string {
    return this.#alsa.strerror(-errno);
  }

  /**
   * Open one direction of `card` (an ALSA PCM name: `default`, `plughw:CARD=Device`) off the event loop: some cards and
   * plugins take their time.
   * @throws {PcmError}
   */
  async open(card: string, direction: PcmDirection): Promise<Pcm> {
    const alsa = this.#alsa;
    // Native memory: C writes the handle there from another thread.
    const slot = koffi().alloc('void *', 1);
    let handle: Handle;
    try {
      const code = await offLoop(alsa.open, slot, card, STREAM[direction], SND_PCM_NONBLOCK);
      if (code < 0) throw new PcmError(-code, this.describe(-code));
      handle = koffi().decode(slot, 'void *');
    } finally {
      koffi().free(slot);
    }
    const code = await offLoop(
      alsa.setParams,
      handle,
      SND_PCM_FORMAT_S16_LE,
      SND_PCM_ACCESS_RW_INTERLEAVED,
      CHANNELS,
      SAMPLE_RATE_HZ,
      SOFT_RESAMPLE,
      BUFFER_US,
    );
    const sizes = new BigUint64Array(2);
    const sized = code < 0 ? code : alsa.getParams(handle, sizes.subarray(0), sizes.subarray(1));
    if (sized < 0) {
      await offLoop(alsa.close, handle);
      throw new PcmError(-sized, this.describe(-sized));
    }
    // An unsigned long: 4 bytes on armhf, where the upper half of the slot stays 0.
    return new AlsaPcm(alsa, handle, Number(sizes[0]));
  }
}

class AlsaPcm implements Pcm {
  readonly #alsa: AlsaFunctions;
  readonly #handle: Handle;
  readonly bufferSamples: number;

  constructor(alsa: AlsaFunctions, handle: Handle, bufferSamples: number) {
    this.#alsa = alsa;
    this.#handle = handle;
    this.bufferSamples = bufferSamples;
  }

  available(): number {
    return Number(this.#alsa.availUpdate(this.#handle));
  }

  read(out: Int16Array): number {
    return Number(this.#alsa.readi(this.#handle, out, out.length));
  }

  write(pcm: Int16Array): number {
    return Number(this.#alsa.writei(this.#handle, pcm, pcm.length));
  }

  start(): number {
    return this.#alsa.start(this.#handle);
  }

  prepare(): number {
    return this.#alsa.prepare(this.#handle);
  }

  async close(): Promise<void> {
    // Without the drop a close would play what waits, on some plugins for ever.
    this.#alsa.drop(this.#handle);
    await offLoop(this.#alsa.close, this.#handle);
  }
}

/** Run a call in the thread pool. */
function offLoop(call: Call, ...args: unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error: unknown, result: number) => {
      if (error === null || error === undefined) resolve(result);
      else reject(error);
    });
  });
}

/**
 * libasound writes several lines to stderr for every card that does not open; we say it in one, in our log. Its handler must
 * be a C function and ours may not be JavaScript: one that takes no arguments, does nothing and is always there serves,
 * because on Linux the caller cleans up the arguments.
 */
function silence(library: NativeLibrary): void {
  const handler = library.symbol('snd_asoundlib_version');
  library.func('snd_lib_error_set_handler', 'int', ['void *'])(handler);
}
