import type { Stats } from 'node:fs';
import { access, constants, type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AgentError, DecodeError, errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from './device.ts';
import { MAX_RECORDING_S, MAX_UNWRITTEN_S, MAX_WAV_INPUT_BYTES } from './limits.ts';
import { type FrameSink, NOWHERE } from './paced-session.ts';
import { parseWav, WAV_HEADER_BYTES, type Wav, wavHeader } from './wav.ts';

/** Driver for WAV files. */

/** @throws {AgentError} `audio-unusable` when it cannot be read, is no WAV file we can play, or too large */
export async function readWavFile(path: string): Promise<Wav> {
  let bytes: Uint8Array;
  try {
    bytes = await readBounded(path);
  } catch (error) {
    if (error instanceof AgentError) throw error;
    throw unusable(
      `${path} cannot be read: ${reason(error)}`,
      'name a WAV file that exists',
      error,
    );
  }
  try {
    return parseWav(bytes);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw unusable(
      `${path} ${error.message}`,
      `convert it: sox ${path} -r 48000 -c 1 -b 16 good.wav`,
      error,
    );
  }
}

async function readBounded(path: string): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > MAX_WAV_INPUT_BYTES) {
      throw unusable(
        `${path} is larger than ${MAX_WAV_INPUT_BYTES / 1024 / 1024} MB`,
        'give a shorter one, or convert it to 48 kHz mono',
      );
    }
    return await file.readFile();
  } finally {
    await file.close();
  }
}

function unusable(message: string, hint: string, cause?: unknown): AgentError {
  return new AgentError('audio-unusable', message, hint, { cause });
}

function reason(error: unknown): string {
  switch (errorCode(error)) {
    case 'ENOENT':
      return 'there is no such file or folder';
    case 'EACCES':
      return 'permission denied';
    case 'EISDIR':
      return 'it is a folder';
    case 'ENOTDIR':
      return 'a part of its path is no folder';
    default:
      return errorText(error);
  }
}

function unwritable(path: string, error: unknown): AgentError {
  return unusable(
    `${path} cannot be written: ${reason(error)}`,
    'name a file in a folder that doorward may write',
    error,
  );
}

/**
 * Find out at start, not in a call, that a recording cannot be made.
 * @throws {AgentError} `audio-unusable`
 */
export async function checkRecordable(path: string): Promise<void> {
  try {
    const found = await lookAt(path);
    if (found?.isDirectory() === true) {
      throw Object.assign(new Error('a folder'), { code: 'EISDIR' });
    }
    await access(found === undefined ? dirname(path) : path, constants.W_OK);
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** @returns undefined when there is nothing yet */
async function lookAt(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * A sink for what is heard in one call: the file at `path`, or nowhere.
 * @throws {AgentError} `audio-unusable`
 */
export async function openRecording(path: string | undefined, log: Logger): Promise<FrameSink> {
  if (path === undefined) return NOWHERE;
  return WavFileSink.create(path, (error) => {
    log.warn('the recording ends early', { path, reason: errorText(error) });
  });
}

const FRAME_BYTES = 2 * FRAME_SAMPLES;
const FRAMES_PER_SECOND = SAMPLE_RATE_HZ / FRAME_SAMPLES;

/**
 * Records 48 kHz mono, one write per second. After each the sizes in the header are brought up to date, sound first, so
 * that a file cut off by a crash is a valid one that lacks the last second. A disk that fails or is too slow costs
 * sound, counted, never the call.
 */
export class WavFileSink implements FrameSink {
  readonly #file: FileHandle;
  readonly #onFailure: (error: unknown) => void;
  /** A second of sound being filled, then handed to the disk whole. */
  #second = new Uint8Array(FRAMES_PER_SECOND * FRAME_BYTES);
  #filled = 0;
  #acceptedBytes = 0;
  #writtenBytes = 0;
  #unwritten = 0;
  #writing: Promise<void> = Promise.resolve();
  #hasFailed = false;
  #isClosed = false;
  droppedFrames = 0;

  private constructor(file: FileHandle, onFailure: (error: unknown) => void) {
    this.#file = file;
    this.#onFailure = onFailure;
  }

  /**
   * Replaces what was at `path`. The file is for its owner alone: it holds what people said.
   * @param onFailure called once when writing fails later on: the recording ends there
   * @throws {AgentError} `audio-unusable` when it cannot be made
   */
  static async create(path: string, onFailure: (error: unknown) => void): Promise<WavFileSink> {
    try {
      const file = await open(path, 'w', 0o600);
      return new WavFileSink(file, onFailure);
    } catch (error) {
      throw unwritable(path, error);
    }
  }

  write(pcm: Int16Array): void {
    const isFull =
      this.#acceptedBytes >= MAX_RECORDING_S * SAMPLE_RATE_HZ * 2 ||
      this.#unwritten >= MAX_UNWRITTEN_S;
    if (this.#isClosed || this.#hasFailed || isFull) {
      this.droppedFrames++;
      return;
    }
    // Samples are little-endian in the file and on every board we run on.
    this.#second.set(new Uint8Array(pcm.buffer, pcm.byteOffset, FRAME_BYTES), this.#filled);
    this.#filled += FRAME_BYTES;
    this.#acceptedBytes += FRAME_BYTES;
    if (this.#filled === this.#second.length) this.#flush();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#flush();
    await this.#writing;
    try {
      await this.#file.close();
    } catch (error) {
      this.#fail(error);
    }
  }

  #flush(): void {
    const sound = this.#second.subarray(0, this.#filled);
    // A new array per second: the disk keeps the old one until it is done.
    this.#second = new Uint8Array(this.#second.length);
    this.#filled = 0;
    this.#unwritten++;
    this.#writing = this.#writing.then(() => this.#append(sound));
  }

  async #append(sound: Uint8Array): Promise<void> {
    try {
      if (this.#hasFailed) return;
      await this.#writeAll(sound, WAV_HEADER_BYTES + this.#writtenBytes);
      this.#writtenBytes += sound.length;
      await this.#writeAll(wavHeader(SAMPLE_RATE_HZ, this.#writtenBytes), 0);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#unwritten--;
    }
  }

  #fail(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#onFailure(error);
  }

  async #writeAll(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(
        bytes,
        done,
        bytes.length - done,
        position + done,
      );
      done += bytesWritten;
    }
  }
}
